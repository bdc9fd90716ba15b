/**
 * What a program's thread and the thread of a driver say to each other. Errors travel as data and are made anew. Messages travel as
 * columns, without what most of them have not, and what all of them have is said once: copying a list of text costs a tenth of copying as
 * many objects.
 */
import { assert, SteadError } from '../../../base/index.ts'
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

/** One value for each message, or one for all of them. */
export type Column<Value> = { readonly all: Value } | { readonly each: readonly Value[] }

function columnOf<Value>(values: readonly Value[]): Column<Value> {
  const [first] = values
  return first !== undefined && values.every((value) => value === first) ? { all: first } : { each: values }
}

function valueAt<Value>(column: Column<Value>, index: number): Value | undefined {
  return 'all' in column ? column.all : column.each[index]
}

/** What few messages have: null where there is none of it. */
type Rare<Whole, Common extends keyof Whole> = Omit<Whole, Common> | null

type RareOutgoing = Rare<Outgoing, 'id' | 'body'>
type RareHeld = Rare<Held, 'receipt' | 'id' | 'body' | 'attempt' | 'sentAtMs'>

export interface PackedOutgoing {
  readonly ids: readonly string[]
  readonly bodies: readonly Body[]
  readonly rare: Column<RareOutgoing>
}

export interface PackedHeld {
  readonly receipts: readonly string[]
  readonly ids: readonly string[]
  readonly bodies: readonly Body[]
  readonly attempts: Column<number>
  readonly sentAtMs: Column<number>
  readonly rare: Column<RareHeld>
}

/** The decisions; null for `ack`. */
export interface PackedSettlements {
  readonly receipts: readonly string[]
  readonly others: Column<Exclude<Decision, { readonly kind: 'ack' }> | null>
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
  | { readonly kind: 'sent'; readonly outcomes: Column<PlainSendOutcome> }
  | { readonly kind: 'held'; readonly held: PackedHeld }
  | { readonly kind: 'settled'; readonly outcomes: Column<PlainSettleOutcome> }
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
export function plainSent(outcomes: readonly SendOutcome[], ids: readonly string[]): Column<PlainSendOutcome> {
  assert(outcomes.length === ids.length, 'not one outcome for each message')
  return columnOf(
    outcomes.map((outcome, index): PlainSendOutcome => {
      if (!outcome.ok) return { ok: false, plain: plainOf(outcome.error) }
      return outcome.duplicate || outcome.id !== ids[index] ? outcome : outcome.durability
    }),
  )
}

export function sentOf(outcomes: Column<PlainSendOutcome>, messages: readonly Outgoing[]): readonly SendOutcome[] {
  return messages.map(({ id }, index) => {
    const outcome = valueAt(outcomes, index)
    assert(outcome !== undefined, 'a message without an outcome')
    if (typeof outcome !== 'string') return outcome.ok ? outcome : { ok: false, error: errorOf(outcome.plain) }
    return { ok: true, id, duplicate: false, durability: outcome }
  })
}

/** `count`: of the settlements. */
export function plainSettled(outcomes: readonly SettleOutcome[], count: number): Column<PlainSettleOutcome> {
  assert(outcomes.length === count, 'not one outcome for each settlement')
  return columnOf(
    outcomes.map((outcome) => (typeof outcome === 'string' ? outcome : { plain: plainOf(outcome.error) })),
  )
}

export function settledOf(
  outcomes: Column<PlainSettleOutcome>,
  settlements: readonly Settlement[],
): readonly SettleOutcome[] {
  return settlements.map((_, index) => {
    const outcome = valueAt(outcomes, index)
    assert(outcome !== undefined, 'a settlement without an outcome')
    return typeof outcome === 'string' ? outcome : { error: errorOf(outcome.plain) }
  })
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
    rare: columnOf(
      messages.map(({ headers, key, priority, delayMs, dedup }) => {
        const isPlain = key === null && priority === 0 && delayMs === 0 && dedup === null && isEmpty(headers)
        return isPlain ? null : { headers, key, priority, delayMs, dedup }
      }),
    ),
  }
}

export function unpackOutgoing({ ids, bodies, rare }: PackedOutgoing): readonly Outgoing[] {
  return ids.map((id, index) => {
    const { headers, key, priority, delayMs, dedup } = valueAt(rare, index) ?? plainOutgoing
    return { id, body: bodies[index] ?? '', headers, key, priority, delayMs, dedup }
  })
}

const plainOutgoing = { headers: noHeaders, key: null, priority: 0, delayMs: 0, dedup: null }

export function packHeld(held: readonly Held[]): PackedHeld {
  return {
    receipts: held.map(({ receipt }) => receipt),
    ids: held.map(({ id }) => id),
    bodies: held.map(({ body }) => whole(body)),
    attempts: columnOf(held.map(({ attempt }) => attempt)),
    sentAtMs: columnOf(held.map((one) => one.sentAtMs)),
    rare: columnOf(
      held.map(({ headers, key, priority }) =>
        key === null && priority === 0 && isEmpty(headers) ? null : { headers, key, priority },
      ),
    ),
  }
}

export function unpackHeld({ receipts, ids, bodies, attempts, sentAtMs, rare }: PackedHeld): readonly Held[] {
  return receipts.map((receipt, index) => {
    const { headers, key, priority } = valueAt(rare, index) ?? plainHeld
    return {
      receipt,
      id: ids[index] ?? '',
      body: bodies[index] ?? '',
      headers,
      key,
      priority,
      attempt: valueAt(attempts, index) ?? 1,
      sentAtMs: valueAt(sentAtMs, index) ?? 0,
    }
  })
}

const plainHeld = { headers: noHeaders, key: null, priority: 0 }

export function packSettlements(settlements: readonly Settlement[]): PackedSettlements {
  return {
    receipts: settlements.map(({ receipt }) => receipt),
    others: columnOf(settlements.map(({ decision }) => (decision.kind === 'ack' ? null : decision))),
  }
}

export function unpackSettlements({ receipts, others }: PackedSettlements): readonly Settlement[] {
  return receipts.map((receipt, index) => ({ receipt, decision: valueAt(others, index) ?? ack }))
}

const ack: Decision = { kind: 'ack' }

/** A body that is a part of a larger buffer takes all of it along: it is copied out first. */
function whole(body: Body): Body {
  return typeof body === 'string' || body.byteLength === body.buffer.byteLength ? body : new Uint8Array(body)
}
