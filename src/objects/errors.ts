/** The errors of object storage as a library: every code, with whether trying again can help. README.md says when. */
import { SteadError } from '../base/index.ts'

/** What can go wrong; the error's code is `objects.` and this. */
export type ObjectsFailure =
  | 'bad-input'
  | 'cannot-open'
  | 'closed'
  | 'corrupt'
  | 'denied'
  | 'disk-full'
  | 'foreign'
  | 'in-transaction'
  | 'in-use'
  | 'newer-version'
  | 'no-bucket'
  | 'not-durable'
  | 'refused'
  | 'too-large'
  | 'unavailable'
  | 'unsupported'

/** Those that pass when something recovers; the others stay until somebody changes something. */
const passing: readonly ObjectsFailure[] = ['disk-full', 'in-use', 'unavailable']

/** The error for a foreseen failure of object storage. */
export function failure(kind: ObjectsFailure, message: string, hint: string, cause?: unknown): SteadError {
  const retry = passing.includes(kind) ? 'later' : 'never'
  return new SteadError({ code: `objects.${kind}`, message, hint, retry, cause })
}
