/** Why something does not run, as it stands in its status. Invariant: what to do about it, where that is known, is on the lines below the first. */
import { isSteadError, messageOf } from '../base/index.ts'

export function reasonOf(error: unknown): string {
  return isSteadError(error) && error.hint !== undefined ? `${error.message}\n${error.hint}` : messageOf(error)
}
