/**
 * An effect on the outside world (a mail, a payment, a call) as data: what an app says of it, the states it goes through,
 * and the limits of its fields.
 *
 * ```
 * planned ──> sending ──> sent ──> compensated
 *    ^         │   ^
 *    └─(never) v   │
 *            failed┘
 * ```
 * Invariants: `sent` is never taken back, but by an effect of its own that undoes it; an effect that was once `sending` is
 * never `planned` again; the key of an effect is the key its receiver is given, at every attempt.
 */
import type { Json } from '../base/index.ts'
import { failure } from './errors.ts'

/**
 * - `planned`: written down, nothing has been tried.
 * - `sending`: an attempt was begun and has not been heard of: it is possibly sent.
 * - `sent`: a receiver has answered that it took it, once at least.
 * - `failed`: it is known not to have taken effect; it may be run again.
 * - `compensated`: sent, or possibly, and then undone by an effect of its own.
 */
export type EffectState = 'planned' | 'sending' | 'sent' | 'failed' | 'compensated'

/** What an app writes down before it does it. */
export interface EffectPlan {
  /** Says which effect it is, across retries, crashes and releases: `order-17/confirmation`. At most 200 characters. */
  readonly key: string
  /** What kind it is, as in `mail`: chooses the handler of a sweep. At most 100 characters. */
  readonly kind: string
  /** For a person who reads a report. At most 500 characters. */
  readonly what: string
  /** All that is needed to do it, because after a crash nothing else is left. At most 64 KiB as JSON. */
  readonly payload?: Json
  /** What undoes it, for a person. At most 500 characters. */
  readonly compensation?: string
}

/** An effect as the ledger has it. Times are milliseconds since 1970, of the database's clock. */
export interface Effect {
  readonly key: string
  readonly kind: string
  readonly what: string
  readonly payload: Json
  readonly compensation: string | null
  readonly state: EffectState
  /** Generation of the data in which it was planned. */
  readonly generation: number
  readonly createdAtMs: number
  /** When the attempt that is under way began; null when none is. */
  readonly sendingAtMs: number | null
  readonly sentAtMs: number | null
  /** Attempts begun so far. */
  readonly attempts: number
  /** What the receiver answered, or `{ error }`. */
  readonly result: Json
  /** The generation that went back to before it was planned, and so knows nothing of it; null where the data knows it. */
  readonly abandonedByGeneration: number | null
}

const limits = { key: 200, kind: 100, what: 500, compensation: 500 } as const

/** Largest payload and result, in bytes of JSON. */
export const jsonBytesMax: number = 64 * 1024

const undoSuffix = ':undo'
const nul = String.raw`\u0000`

/** Checks what an app says of an effect. Throws `effects.bad-effect`. */
export function checkPlan(plan: EffectPlan): void {
  for (const field of ['key', 'kind', 'what', 'compensation'] as const) {
    const value = plan[field]
    if (value === undefined && field === 'compensation') continue
    if (typeof value !== 'string' || value === '' || value.length > limits[field] || /\p{Cc}/u.test(value)) {
      const wanted = `1 to ${limits[field]} characters without control characters`
      throw failure('bad-effect', `the ${field} of the effect ${shown(plan.key)} is not ${wanted}`, 'Shorten it.')
    }
  }
  for (const field of ['key', 'kind'] as const)
    if (plan[field].endsWith(undoSuffix))
      throw failure(
        'bad-effect',
        `the ${field} ${shown(plan[field])} ends in ${undoSuffix}`,
        'compensate() makes those.',
      )
  const json = JSON.stringify(plan.payload ?? null)
  // PostgreSQL's jsonb cannot hold it; what goes into one ledger is to go into the other.
  if (json.includes(nul))
    throw failure('bad-effect', `the payload of the effect ${shown(plan.key)} holds a character NUL`, 'Leave it out.')
  const bytes = Buffer.byteLength(json)
  if (bytes > jsonBytesMax)
    throw failure(
      'bad-effect',
      `the payload of the effect ${shown(plan.key)} has ${bytes} bytes, and ${jsonBytesMax} are the most`,
      'Keep what is large in a table of your own, and its key here.',
    )
}

/** The effect that undoes another: an effect too, with a key of its own that follows from the other's. */
export function undoOf(effect: Effect): EffectPlan {
  return {
    key: effect.key + undoSuffix,
    kind: effect.kind + undoSuffix,
    what: effect.compensation ?? `undo: ${effect.what}`.slice(0, limits.what),
    payload: effect.payload,
  }
}

/** The key of the effect that this one undoes; null when it undoes none. */
export function undoneBy({ key, kind }: Pick<Effect, 'key' | 'kind'>): string | null {
  return key.endsWith(undoSuffix) && kind.endsWith(undoSuffix) ? key.slice(0, -undoSuffix.length) : null
}

/** A receiver's answer as it is kept: what is too long is left out, since an effect that was sent must be marked. */
export function keptResult(result: Json): Json {
  const json = JSON.stringify(result)
  const bytes = Buffer.byteLength(json)
  return bytes <= jsonBytesMax && !json.includes(nul) ? result : { omitted: `${bytes} bytes` }
}

function shown(text: unknown): string {
  return JSON.stringify(text)?.slice(0, 60) ?? 'undefined'
}
