/** The errors of the store: every code, with whether trying again can help. README.md says when each is thrown. */
import { SteadError } from '../base/index.ts'

/** What can go wrong; the error's code is `store.` and this. */
export type StoreFailure =
  | 'bad-input'
  | 'cannot-open'
  | 'closed'
  | 'corrupt'
  | 'cursor-ahead'
  | 'cursor-too-old'
  | 'disk-full'
  | 'foreign'
  | 'in-use'
  | 'newer-version'
  | 'not-durable'
  | 'outcome-unknown'
  | 'overloaded'
  | 'too-large'
  | 'unavailable'

/** Those that pass when something recovers; the others stay until somebody changes something. */
const passing: readonly StoreFailure[] = ['disk-full', 'in-use', 'outcome-unknown', 'overloaded', 'unavailable']

/** The error for a foreseen failure of a store. */
export function failure(kind: StoreFailure, message: string, hint: string, cause?: unknown): SteadError {
  const retry = passing.includes(kind) ? 'later' : 'never'
  return new SteadError({ code: `store.${kind}`, message, hint, retry, cause })
}

/** The cursor is older than deletions that were forgotten, or newer than anything the store has given out. */
export function checkCursor(cursor: number, head: { readonly revision: number; readonly horizon: number }): void {
  const hint = 'Take a new snapshot with list() and go on from its revision.'
  if (cursor < head.horizon) {
    const message = `the cursor ${cursor} is too old: deletions up to revision ${head.horizon} have been forgotten`
    throw failure('cursor-too-old', message, hint)
  }
  if (cursor > head.revision) {
    const message = `the cursor ${cursor} is ahead of the store, which is at revision ${head.revision}: it has gone back to an older copy`
    throw failure('cursor-ahead', message, hint)
  }
}
