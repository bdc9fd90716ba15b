/**
 * Whether a failed request may be sent again, pure. Only when the first time cannot have had an effect, only once, and not
 * so often that an outage becomes a flood: each route has a budget, a share of its requests and a floor.
 */
import type { Cause } from './problem.ts'
import { SlidingShare } from './window.ts'

export interface RetryLimits {
  /** Requests sent again, as a share of all in the window, and how many there may be whatever the share. */
  readonly retryShare: number
  readonly retryFloor: number
  readonly retryWindowMs: number
}

/** The second sendings of one route. */
export class RetryBudget {
  readonly #limits: RetryLimits
  readonly #window: SlidingShare

  constructor(limits: RetryLimits) {
    this.#limits = limits
    this.#window = new SlidingShare(limits.retryWindowMs)
  }

  /** A request came. */
  request(nowMs: number): void {
    this.#window.add(nowMs, 1, 0)
  }

  /** Takes one second sending out of the budget; false when it is used up. */
  spend(nowMs: number): boolean {
    const { all, marked } = this.#window.total(nowMs)
    if (marked >= this.#limits.retryFloor + this.#limits.retryShare * all) return false
    this.#window.add(nowMs, 0, 1)
    return true
  }
}

/** What is known of a request whose first sending failed. */
export interface Failure {
  readonly cause: Cause
  readonly method: string
  readonly attempts: number
  /** It had been written to a connection. */
  readonly sent: boolean
  /** The client has been given a part of an answer, or is gone. */
  readonly answered: boolean
  /** `taken`: a piece of its body has been read, and is not there a second time. */
  readonly body: 'none' | 'untouched' | 'taken'
  /** There is another instance. */
  readonly others: boolean
}

/** Methods that ask for nothing but an answer. A DELETE sent twice would tell its client that there was nothing to delete. */
const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * `free`: nothing had been sent, so it costs nobody anything. `budget`: if the budget has one. A safe request whose
 * connection closed may go to the same instance: perhaps it was only the kept connection that had grown too old.
 */
export function repeatable(failure: Failure): 'no' | 'free' | 'budget' {
  const { cause, method, attempts, sent, answered, body, others } = failure
  if (attempts > 1 || answered || cause === 'bad-request' || body === 'taken') return 'no'
  if (!sent) {
    if (!others) return 'no'
    return cause === 'refused' ? 'free' : 'budget'
  }
  return cause === 'reset' && body === 'none' && safeMethods.has(method) ? 'budget' : 'no'
}
