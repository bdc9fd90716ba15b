/** The errors of this room, made in one place. README.md says when each is thrown. */
import { type Retry, SteadError } from '../base/index.ts'

/** What can go wrong; the error's code is `effects.` and this. */
export type EffectFailure =
  | 'abandoned'
  | 'bad-effect'
  | 'in-transaction'
  | 'key-taken'
  | 'no-transaction'
  | 'not-durable'
  | 'not-sent'
  | 'nothing-to-decide'
  | 'nothing-to-undo'
  | 'possibly-sent'
  | 'unknown-key'

/** The error for a foreseen failure of the ledger. */
export function failure(
  kind: EffectFailure,
  message: string,
  hint: string,
  more: { readonly retry?: Retry; readonly cause?: unknown } = {},
): SteadError {
  return new SteadError({ code: `effects.${kind}`, message, hint, ...more })
}

/**
 * What a `send` throws when it knows that nothing has happened outside: the receiver said no, or was never reached. Every
 * other error means that it may have happened, for a connection that breaks says nothing about what went before.
 */
export function notSent(reason: string, cause?: unknown): SteadError {
  return failure('not-sent', reason, 'Mend what was refused, then run the effect again: it keeps its key.', {
    retry: 'later',
    cause,
  })
}
