/** The errors of this room, made in one place so that each code has one sentence. No error ever holds a value. */
import { type Retry, SteadError } from '../base/index.ts'

/** A failure of the vault. `code` is without the room. */
export function failure(
  code: string,
  message: string,
  hint: string,
  more: { readonly retry?: Retry; readonly cause?: unknown } = {},
): SteadError {
  return new SteadError({ code: `secrets.${code}`, message, hint, ...more })
}
