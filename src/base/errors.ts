/**
 * The one error type of the project. An error is written for the person who gets it: what happened and where
 * (`message`, one sentence), what to do (`hint`), a stable `code` to look up or branch on, and whether trying again
 * can help (`retry`). Compare codes, never classes: two copies of this file may live in one process.
 */

/** Whether trying the same thing again can help: `never`, `now` (a race was lost), or `later` (something must recover). */
export type Retry = 'never' | 'now' | 'later'

export interface SteadErrorInit {
  /** Stable, dotted, lower case: the room first, as in `store.lease-lost`. */
  readonly code: string
  /** One sentence that names the part and the place. */
  readonly message: string
  /** What the reader can do about it. */
  readonly hint?: string
  /** Defaults to `never`. */
  readonly retry?: Retry
  readonly cause?: unknown
}

/** A failure that was foreseen. Printed as a sentence and a hint; anything else that is thrown is a bug and prints a stack. */
export class SteadError extends Error {
  override readonly name: string = 'SteadError'
  readonly code: string
  readonly hint: string | undefined
  readonly retry: Retry

  constructor(init: SteadErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause })
    this.code = init.code
    this.hint = init.hint
    this.retry = init.retry ?? 'never'
  }
}

/** True for a foreseen failure, also one made by another copy of this library. */
export function isSteadError(error: unknown): error is SteadError {
  return error instanceof Error && error.name === 'SteadError' && 'code' in error && 'retry' in error
}

/** The text of anything that was thrown, for use inside a sentence. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** What went wrong and what to do about it, in one line. */
export function sentencesOf(error: unknown): string {
  const message = messageOf(error)
  if (!isSteadError(error) || error.hint === undefined) return message
  return `${message}${message.endsWith('.') ? '' : '.'} ${error.hint}`
}

/** The `code` of a Node system error (`ENOENT`, `EADDRINUSE`), or undefined. */
export function systemCodeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** Throws when something that cannot happen has happened: a bug, not a user's mistake. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}
