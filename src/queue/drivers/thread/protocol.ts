/** What a program's thread and the thread of a driver say to each other. Errors travel as data and are made anew. */
import { SteadError } from '../../../base/index.ts'
import type { Retry } from '../../../base/index.ts'
import type { Capabilities } from '../../capability.ts'
import type {
  Counts,
  Durability,
  Held,
  Outgoing,
  Seen,
  SendOutcome,
  SettleOutcome,
  Settlement,
  Shelf,
  Want,
} from '../../driver.ts'
import type { DriverLimits } from '../../limits.ts'

/** One call of a driver's method; `id` names the call. */
export type Call =
  | { readonly id: number; readonly method: 'declare' | 'counts' | 'remove'; readonly queue: string }
  | { readonly id: number; readonly method: 'send'; readonly queue: string; readonly messages: readonly Outgoing[] }
  | { readonly id: number; readonly method: 'receive'; readonly queue: string; readonly want: Want }
  | {
      readonly id: number
      readonly method: 'settle'
      readonly queue: string
      readonly settlements: readonly Settlement[]
    }
  | {
      readonly id: number
      readonly method: 'peek'
      readonly queue: string
      readonly shelf: Shelf
      readonly max: number
    }
  | {
      readonly id: number
      readonly method: 'redrive'
      readonly queue: string
      readonly max: number
      readonly ids: readonly string[] | null
    }
  | { readonly id: number; readonly method: 'purge'; readonly queue: string; readonly shelf: Shelf }
  | { readonly id: number; readonly method: 'close' }

export type ToThread = Call | { readonly method: 'stop-waiting'; readonly id: number }

/** A `SteadError` as data. */
export interface PlainError {
  readonly code: string
  readonly message: string
  readonly hint: string | null
  readonly retry: Retry
}

export type PlainSendOutcome =
  | { readonly ok: true; readonly id: string; readonly duplicate: boolean; readonly durability: Durability }
  | { readonly ok: false; readonly plain: PlainError }

export type PlainSettleOutcome = 'done' | 'lost' | { readonly plain: PlainError }

export type Answer =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'sent'; readonly outcomes: readonly PlainSendOutcome[] }
  | { readonly kind: 'held'; readonly held: readonly Held[] }
  | { readonly kind: 'settled'; readonly outcomes: readonly PlainSettleOutcome[] }
  | { readonly kind: 'counts'; readonly counts: Counts }
  | { readonly kind: 'seen'; readonly seen: readonly Seen[] }
  | { readonly kind: 'number'; readonly count: number }
  | { readonly kind: 'failed'; readonly plain: PlainError }

export type FromThread =
  | {
      readonly kind: 'open'
      readonly name: string
      readonly server: string
      readonly capabilities: Capabilities
      readonly limits: DriverLimits
    }
  | { readonly kind: 'cannot-open'; readonly plain: PlainError }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answer }

export function plainOf(error: SteadError): PlainError {
  return { code: error.code, message: error.message, hint: error.hint ?? null, retry: error.retry }
}

export function errorOf({ code, message, hint, retry }: PlainError): SteadError {
  return new SteadError({ code, message, retry, ...(hint === null ? {} : { hint }) })
}

export function plainSent(outcomes: readonly SendOutcome[]): readonly PlainSendOutcome[] {
  return outcomes.map((outcome) => (outcome.ok ? outcome : { ok: false, plain: plainOf(outcome.error) }))
}

export function sentOf(outcomes: readonly PlainSendOutcome[]): readonly SendOutcome[] {
  return outcomes.map((outcome) => (outcome.ok ? outcome : { ok: false, error: errorOf(outcome.plain) }))
}

export function plainSettled(outcomes: readonly SettleOutcome[]): readonly PlainSettleOutcome[] {
  return outcomes.map((outcome) => (typeof outcome === 'string' ? outcome : { plain: plainOf(outcome.error) }))
}

export function settledOf(outcomes: readonly PlainSettleOutcome[]): readonly SettleOutcome[] {
  return outcomes.map((outcome) => (typeof outcome === 'string' ? outcome : { error: errorOf(outcome.plain) }))
}
