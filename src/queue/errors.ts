/** The errors of queues: every code, with whether trying again can help. README.md says when each is thrown. */
import { SteadError, isSteadError, messageOf } from '../base/index.ts'

/** What can go wrong; the error's code is `queue.` and this. */
export type QueueFailure =
  | 'already-settled'
  | 'bad-input'
  | 'cannot-open'
  | 'closed'
  | 'corrupt'
  | 'disk-full'
  | 'forbidden'
  | 'foreign'
  | 'full'
  | 'handler-timeout'
  | 'in-use'
  | 'invalid-message'
  | 'lease-lost'
  | 'missing-client'
  | 'newer-version'
  | 'no-reply'
  | 'no-such-queue'
  | 'not-authorized'
  | 'not-durable'
  | 'outcome-unknown'
  | 'overloaded'
  | 'rejected'
  | 'stale-generation'
  | 'too-large'
  | 'unavailable'
  | 'unsupported'

/** Those that pass when something recovers; the others stay until somebody changes something. */
const passing: readonly QueueFailure[] = [
  'disk-full',
  'full',
  'in-use',
  'no-reply',
  'outcome-unknown',
  'overloaded',
  'unavailable',
]

/** The error for a foreseen failure of a queue. */
export function failure(kind: QueueFailure, message: string, hint: string, cause?: unknown): SteadError {
  const retry = passing.includes(kind) ? 'later' : 'never'
  return new SteadError({ code: `queue.${kind}`, message, hint, retry, cause })
}

/** Whether the same call may be made again a little later. */
export function mayPass(error: unknown): boolean {
  return isSteadError(error) && error.retry === 'later'
}

/** The error of a holder whose lease is over: somebody else has the message, or may have it. */
export function leaseLost(queue: string): SteadError {
  return failure(
    'lease-lost',
    `the lease on this message of the queue ${queue} is over; another consumer has it, or will`,
    'Let this result go. Give a longer leaseMs or timeoutMs if handlers need more time.',
  )
}

/** The refusal of a client library that is not installed. */
export function missingClient(driver: string, name: string, cause: unknown): SteadError {
  const message = `queues on ${driver} need the package ${name}, which is not installed: ${messageOf(cause).split('\n')[0] ?? ''}`
  return failure('missing-client', message, `Install it: npm install ${name}`, cause)
}
