/**
 * When an instance gets no requests because those it had failed, pure.
 *
 *   closed --failures in a row, or a share of them--> open --its time is over--> half-open --the probe is answered--> closed
 *                                                       ^---------the probe fails, for twice the time---------'
 *
 * Invariants: half-open lets one request through at a time; a request that was sent before the last change of state says
 * nothing any more; the time grows with each opening up to a limit and is short again after a calm of that length.
 */
import { SlidingShare } from './window.ts'

export interface BreakerLimits {
  /** Failures in a row that open it. */
  readonly ejectFailures: number
  /** Share of failures that opens it, when the window has at least `ejectRequestsMin` requests. */
  readonly ejectShare: number
  readonly ejectRequestsMin: number
  readonly ejectWindowMs: number
  /** How long it is open the first time, and at most. */
  readonly ejectMs: number
  readonly ejectMsMax: number
}

export type BreakerPhase = 'closed' | 'open' | 'half-open'

/** A request that was let through; to be ended once. */
export interface Ticket {
  readonly era: number
  /** It decides whether the instance is back. */
  readonly probe: boolean
}

/** `dropped`: nobody knows, because the client left or the gateway cut it. */
export type Verdict = 'answered' | 'failed' | 'dropped'

export class Breaker {
  readonly #limits: BreakerLimits
  readonly #window: SlidingShare
  #open = false
  #openUntilMs = 0
  #era = 0
  #probing = false
  #inARow = 0
  #openings = 0
  #closedAtMs = 0

  constructor(limits: BreakerLimits) {
    this.#limits = limits
    this.#window = new SlidingShare(limits.ejectWindowMs)
  }

  phase(nowMs: number): BreakerPhase {
    if (!this.#open) return 'closed'
    return nowMs < this.#openUntilMs ? 'open' : 'half-open'
  }

  /** Requests it lets through now. */
  room(nowMs: number): number {
    const phase = this.phase(nowMs)
    if (phase === 'closed') return Number.POSITIVE_INFINITY
    return phase === 'half-open' && !this.#probing ? 1 : 0
  }

  /** A request goes to the instance, whatever `room` says: when too few are left all are asked. */
  begin(nowMs: number): Ticket {
    const probe = this.phase(nowMs) === 'half-open' && !this.#probing
    if (probe) this.#probing = true
    return { era: this.#era, probe }
  }

  /** How it went. `dice` (0 to 1) spreads the times of several gateways: up to a quarter is taken off. */
  end(ticket: Ticket, verdict: Verdict, nowMs: number, dice: number): void {
    if (ticket.era !== this.#era) return
    if (ticket.probe) this.#probing = false
    if (verdict === 'dropped') return
    if (verdict === 'answered') return this.#answered(nowMs)
    if (this.#open) {
      if (ticket.probe) this.#trip(nowMs, dice)
      return
    }
    this.#inARow += 1
    this.#window.add(nowMs, 1, 1)
    const { all, marked } = this.#window.total(nowMs)
    const { ejectFailures, ejectRequestsMin, ejectShare } = this.#limits
    if (this.#inARow >= ejectFailures || (all >= ejectRequestsMin && marked >= ejectShare * all))
      this.#trip(nowMs, dice)
  }

  #answered(nowMs: number): void {
    this.#inARow = 0
    if (!this.#open) return this.#window.add(nowMs, 1, 0)
    this.#open = false
    this.#closedAtMs = nowMs
    this.#change()
  }

  #trip(nowMs: number, dice: number): void {
    const { ejectMs, ejectMsMax } = this.#limits
    if (!this.#open && nowMs - this.#closedAtMs > ejectMsMax) this.#openings = 0
    const growth = 2 ** Math.min(this.#openings, 30)
    this.#openings += 1
    this.#open = true
    this.#openUntilMs = nowMs + Math.min(ejectMs * growth, ejectMsMax) * (1 - dice / 4)
    this.#change()
  }

  #change(): void {
    this.#era += 1
    this.#probing = false
    this.#inARow = 0
    this.#window.clear()
  }
}
