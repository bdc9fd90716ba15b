/**
 * The sweep: what a crash, or a receiver that was away, has left in the ledger is done now, or named. Safe at any time and by
 * several at once, because all it does is `run`.
 *
 * Invariants: what is possibly sent is sent again only to a receiver that knows a key again; what was planned by data that
 * was gone back from is never sent; everything that is not done is in the report with the reason.
 */
import { isSteadError } from '../base/index.ts'
import { pending, run } from './effects.ts'
import type { EffectsDatabase, RunOptions, Send } from './effects.ts'
import type { Effect } from './effect.ts'

/** How effects of one kind are done. */
export interface Handler {
  readonly send: Send
  /** As in `RunOptions`, and to be said: a sweep is what meets it. */
  readonly possiblySent: 'send-again' | 'leave'
}

/** Why an effect was left as it is. */
export type LeftBecause = 'abandoned' | 'failed' | 'no-handler' | 'possibly-sent' | 'under-way'

export interface SweepReport {
  readonly sent: readonly string[]
  readonly left: readonly { readonly key: string; readonly because: LeftBecause }[]
  /** True when there is more than one sweep goes through. */
  readonly more: boolean
}

/** Most effects of one sweep. */
export const sweepMax = 10_000

/** Goes through all that is not settled, one after another. Handlers by kind; one of `mail:undo` undoes a `mail`. */
export async function sweep(
  database: EffectsDatabase,
  handlers: Readonly<Record<string, Handler>>,
  options: Pick<RunOptions, 'staleMs'> = {},
): Promise<SweepReport> {
  const sent: string[] = []
  const left: { readonly key: string; readonly because: LeftBecause }[] = []
  let afterKey = ''
  while (sent.length + left.length < sweepMax) {
    const page = await pending(database, { afterKey, limit: 100 })
    for (const effect of page) {
      const because = await settle(database, effect, handlers, options)
      if (because === null) sent.push(effect.key)
      else left.push({ key: effect.key, because })
    }
    const last = page.at(-1)
    if (last === undefined) return { sent, left, more: false }
    afterKey = last.key
  }
  return { sent, left, more: true }
}

/** Does one effect; null when it is sent, or why it is not. */
async function settle(
  database: EffectsDatabase,
  { key, kind, state, abandonedByGeneration }: Effect,
  handlers: Readonly<Record<string, Handler>>,
  options: Pick<RunOptions, 'staleMs'>,
): Promise<LeftBecause | null> {
  if (abandonedByGeneration !== null) return 'abandoned'
  if (state === 'failed') return 'failed'
  const handler = Object.hasOwn(handlers, kind) ? handlers[kind] : undefined
  if (handler === undefined) return 'no-handler'
  const { send, possiblySent } = handler
  if (state === 'sending' && possiblySent === 'leave') return 'possibly-sent'
  try {
    const after = await run(database, key, send, { ...options, possiblySent })
    return after.state === 'sent' || after.state === 'compensated' ? null : 'under-way'
  } catch (error) {
    if (!isSteadError(error)) throw error
    if (error.code === 'effects.not-sent') return 'failed'
    if (error.code === 'effects.possibly-sent') return 'possibly-sent'
    if (error.code === 'effects.abandoned') return 'abandoned'
    throw error
  }
}
