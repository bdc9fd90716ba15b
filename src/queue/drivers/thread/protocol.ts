/**
 * What a program's thread and the thread of a driver say to each other. Errors travel as data and are made anew. Messages travel as
 * columns, without what most of them have not: copying a list of text costs a tenth of copying as many objects.
 */
import { SteadError } from '../../../base/index.ts'
import type { Retry } from '../../../base/index.ts'
import type { Capabilities } from '../../capability.ts'
import type {
  Body,
  Counts,
  Decision,
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

/** What few messages have: null where there is none of it. */
type Rare<Whole, Common extends keyof Whole> = Omit<Whole, Common> | null

type RareOutgoing = Rare<Outgoing, 'id' | 'body'>
type RareHeld = Rare<Held, 'receipt' | 'id' | 'body' | 'attempt' | 'sentAtMs'>

export interface PackedOutgoing {
  readonly ids: readonly string[]
  readonly bodies: readonly Body[]
  readonly rare: readonly RareOutgoing[]
}

export interface PackedHeld {
  readonly receipts: readonly string[]
  readonly ids: readonly string[]
  readonly bodies: readonly Body[]
  readonly attempts: readonly number[]
  readonly sentAtMs: readonly number[]
  readonly rare: readonly RareHeld[]
}

/** The decisions; null for `ack`. */
export interface PackedSettlements {
  readonly receipts: readonly string[]
  readonly others: readonly (Exclude<Decision, { readonly kind: 'ack' }> | null)[]
}

/** One call of a driver's method; `id` names the call. */
export type Call =
  | { readonly id: number; readonly method: 'declare' | 'counts' | 'remove'; readonly queue: string }
  | { readonly id: number; readonly method: 'send'; readonly queue: string; readonly messages: PackedOutgoing }
  | { readonly id: number; readonly method: 'receive'; readonly queue: string; readonly want: Want }
  | {
      readonly id: number
      readonly method: 'settle'
      readonly queue: string
      readonly settlements: PackedSettlements
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
  /** Accepted, under its own id. */
  | Durability
  | { readonly ok: true; readonly id: string; readonly duplicate: boolean; readonly durability: Durability }
  | { readonly ok: false; readonly plain: PlainError }

export type PlainSettleOutcome = 'done' | 'lost' | { readonly plain: PlainError }

export type Answer =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'sent'; readonly outcomes: readonly PlainSendOutcome[] }
  | { readonly kind: 'held'; readonly held: PackedHeld }
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

/** `ids`: of the messages that were sent, in their order. */
export function plainSent(outcomes: readonly SendOutcome[], ids: readonly string[]): readonly PlainSendOutcome[] {
  return outcomes.map((outcome, index) => {
    if (!outcome.ok) return { ok: false, plain: plainOf(outcome.error) }
    return outcome.duplicate || outcome.id !== ids[index] ? outcome : outcome.durability
  })
}

export function sentOf(outcomes: readonly PlainSendOutcome[], messages: readonly Outgoing[]): readonly SendOutcome[] {
  return outcomes.map((outcome, index) => {
    if (typeof outcome !== 'string') return outcome.ok ? outcome : { ok: false, error: errorOf(outcome.plain) }
    return { ok: true, id: messages[index]?.id ?? '', duplicate: false, durability: outcome }
  })
}

export function plainSettled(outcomes: readonly SettleOutcome[]): readonly PlainSettleOutcome[] {
  return outcomes.map((outcome) => (typeof outcome === 'string' ? outcome : { plain: plainOf(outcome.error) }))
}

export function settledOf(outcomes: readonly PlainSettleOutcome[]): readonly SettleOutcome[] {
  return outcomes.map((outcome) => (typeof outcome === 'string' ? outcome : { error: errorOf(outcome.plain) }))
}

const noHeaders: Readonly<Record<string, string>> = Object.freeze({})

function isEmpty(headers: Readonly<Record<string, string>>): boolean {
  for (const _name in headers) return false
  return true
}

export function packOutgoing(messages: readonly Outgoing[]): PackedOutgoing {
  return {
    ids: messages.map(({ id }) => id),
    bodies: messages.map(({ body }) => whole(body)),
    rare: messages.map(({ headers, key, priority, delayMs, dedup }) => {
      const isPlain = key === null && priority === 0 && delayMs === 0 && dedup === null && isEmpty(headers)
      return isPlain ? null : { headers, key, priority, delayMs, dedup }
    }),
  }
}

export function unpackOutgoing({ ids, bodies, rare }: PackedOutgoing): readonly Outgoing[] {
  return ids.map((id, index) => {
    const { headers, key, priority, delayMs, dedup } = rare[index] ?? plainOutgoing
    return { id, body: bodies[index] ?? '', headers, key, priority, delayMs, dedup }
  })
}

const plainOutgoing = { headers: noHeaders, key: null, priority: 0, delayMs: 0, dedup: null }

export function packHeld(held: readonly Held[]): PackedHeld {
  return {
    receipts: held.map(({ receipt }) => receipt),
    ids: held.map(({ id }) => id),
    bodies: held.map(({ body }) => whole(body)),
    attempts: held.map(({ attempt }) => attempt),
    sentAtMs: held.map((one) => one.sentAtMs),
    rare: held.map(({ headers, key, priority }) =>
      key === null && priority === 0 && isEmpty(headers) ? null : { headers, key, priority },
    ),
  }
}

export function unpackHeld({ receipts, ids, bodies, attempts, sentAtMs, rare }: PackedHeld): readonly Held[] {
  return receipts.map((receipt, index) => {
    const { headers, key, priority } = rare[index] ?? plainHeld
    return {
      receipt,
      id: ids[index] ?? '',
      body: bodies[index] ?? '',
      headers,
      key,
      priority,
      attempt: attempts[index] ?? 1,
      sentAtMs: sentAtMs[index] ?? 0,
    }
  })
}

const plainHeld = { headers: noHeaders, key: null, priority: 0 }

export function packSettlements(settlements: readonly Settlement[]): PackedSettlements {
  return {
    receipts: settlements.map(({ receipt }) => receipt),
    others: settlements.map(({ decision }) => (decision.kind === 'ack' ? null : decision)),
  }
}

export function unpackSettlements({ receipts, others }: PackedSettlements): readonly Settlement[] {
  return receipts.map((receipt, index) => ({ receipt, decision: others[index] ?? ack }))
}

const ack: Decision = { kind: 'ack' }

/** A body that is a part of a larger buffer takes all of it along: it is copied out first. */
function whole(body: Body): Body {
  return typeof body === 'string' || body.byteLength === body.buffer.byteLength ? body : new Uint8Array(body)
}
