/**
 * What becomes of a message whose handler has failed: a pure function of the policy, the attempt and the dice. With
 * `attemptsMax` of k, a handler is started exactly k times, however the tries ended; then the message is dead.
 */
import { checkNumber, checkOptions, delayMsMax } from './limits.ts'
import { failure } from './errors.ts'

/** How often and how soon to try again. */
export interface RetryPolicy {
  /** Starts of a handler for one message, the first included. */
  readonly attemptsMax: number
  /** The delay after the first failure. */
  readonly firstDelayMs: number
  /** What each further delay is longer by. */
  readonly factor: number
  readonly delayMsMax: number
  /** The share of each delay that is left to chance, 0 to 1, so that failures do not come back together. */
  readonly jitter: number
}

export const defaultRetry: RetryPolicy = {
  attemptsMax: 5,
  firstDelayMs: 1000,
  factor: 4,
  delayMsMax: 300_000,
  jitter: 0.2,
}

const retryOptions: ReadonlySet<string> = new Set(Object.keys(defaultRetry))

/** The policy with what is not given taken from the defaults. Throws `queue.bad-input`. */
export function retryPolicy(given: Partial<RetryPolicy> = {}): RetryPolicy {
  checkOptions('retry', given, retryOptions)
  const policy = { ...defaultRetry, ...given }
  checkNumber('retry.attemptsMax', policy.attemptsMax, 1, 1_000_000)
  checkNumber('retry.firstDelayMs', policy.firstDelayMs, 0, delayMsMax)
  checkNumber('retry.delayMsMax', policy.delayMsMax, 0, delayMsMax)
  if (!(policy.factor >= 1 && policy.factor <= 100)) {
    throw failure('bad-input', `retry.factor is ${policy.factor}`, 'It must be between 1 and 100.')
  }
  if (!(policy.jitter >= 0 && policy.jitter <= 1)) {
    throw failure('bad-input', `retry.jitter is ${policy.jitter}`, 'It must be between 0 and 1.')
  }
  return policy
}

/** What to do with a message that failed in its `attempt`; `chance` is in [0, 1). Null: it has been tried often enough. */
export function retryDelayMs(policy: RetryPolicy, attempt: number, chance: number): number | null {
  if (attempt >= policy.attemptsMax) return null
  const fullMs = Math.min(policy.firstDelayMs * policy.factor ** (attempt - 1), policy.delayMsMax)
  return Math.round(fullMs * (1 - policy.jitter * chance))
}
