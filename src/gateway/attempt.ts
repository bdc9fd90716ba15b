/**
 * One sending of a request to an instance, and how it went. Invariant: each is judged once, for the instance's breaker, its
 * counters and those of its group; what is not judged when it ends was dropped, which says nothing about the instance.
 */
import type { Core } from './core.ts'
import type { Ticket, Verdict } from './breaker.ts'
import { countAttempt, outcomeOf } from './metrics.ts'
import type { AttemptOutcome } from './metrics.ts'
import type { RouteState } from './route-state.ts'
import type { Upstream } from './upstream.ts'

/** Answers by which an instance says itself that it cannot serve. */
const unavailable: ReadonlySet<number> = new Set([502, 503, 504])

export class Attempt {
  readonly upstream: Upstream
  readonly #core: Core
  readonly #state: RouteState
  readonly #ticket: Ticket
  readonly #startedMs: number
  #judged = false

  constructor(core: Core, state: RouteState, upstream: Upstream) {
    this.#core = core
    this.#state = state
    this.upstream = upstream
    this.#startedMs = core.clock.monotonicMs()
    this.#ticket = upstream.breaker.begin(this.#startedMs)
  }

  /** The head of an answer has come. */
  answered(status: number): void {
    this.#judge(outcomeOf(status), unavailable.has(status) ? 'failed' : 'answered')
  }

  /** No answer came, or none that could be read. */
  failed(): void {
    this.#judge('failed', 'failed')
  }

  /** It is over. */
  end(): void {
    this.#judge('aborted', 'dropped')
  }

  #judge(outcome: AttemptOutcome, verdict: Verdict): void {
    if (this.#judged) return
    this.#judged = true
    const { clock, ids } = this.#core
    const nowMs = clock.monotonicMs()
    const dice = verdict === 'failed' ? ids.below(1024) / 1024 : 0
    this.upstream.breaker.end(this.#ticket, verdict, nowMs, dice)
    const durationMs = nowMs - this.#startedMs
    countAttempt(this.upstream.counters, outcome, durationMs)
    const group = this.#state.groupCounters(this.upstream)
    if (group !== null) countAttempt(group, outcome, durationMs)
  }
}
