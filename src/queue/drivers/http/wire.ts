/**
 * What goes over the HTTP interface of queues as JSON, read and written for both sides. Reading checks every field and its
 * limit; what is wrong is told as `queue.bad-input` with the name of the field, one message of a batch apart from the others.
 */
import { isSteadError } from '../../../base/index.ts'
import type { SteadError } from '../../../base/index.ts'
import type {
  Body,
  Decision,
  Held,
  Outgoing,
  Seen,
  SendOutcome,
  Settlement,
  SettleOutcome,
  Want,
} from '../../driver.ts'
import { failure } from '../../errors.ts'
import {
  batchMax,
  causeMax,
  checkHeaders,
  checkKey,
  checkNumber,
  checkSize,
  dedupMsMax,
  delayMsMax,
  leaseMsMax,
  priorityMax,
  waitMsMax,
} from '../../limits.ts'

export type Wire = Readonly<Record<string, unknown>>

export function isRecord(value: unknown): value is Wire {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function bad(what: string, hint: string): SteadError {
  return failure('bad-input', what, hint)
}

/** The value as an object with no fields but these. */
function recordOf(what: string, value: unknown, fields: readonly string[]): Wire {
  if (!isRecord(value)) throw bad(`${what} is not an object`, `It has: ${fields.join(', ')}.`)
  const unknown = Object.keys(value).find((name) => !fields.includes(name))
  if (unknown === undefined) return value
  throw bad(`${what} has a field ${JSON.stringify(unknown.slice(0, 80))}`, `It may have: ${fields.join(', ')}.`)
}

/** A whole number within its bounds; `otherwise` where the field is not there. */
function numberIn<T>(record: Wire, name: string, bounds: readonly [number, number], otherwise: T): number | T {
  const value = record[name]
  if (value === undefined || value === null) return otherwise
  if (typeof value !== 'number') throw bad(`${name} is not a number`, 'Write it without quotes.')
  checkNumber(name, value, ...bounds)
  return value
}

function textIn<T>(record: Wire, name: string, otherwise: T): string | T {
  const value = record[name]
  if (value === undefined || value === null) return otherwise
  if (typeof value !== 'string') throw bad(`${name} is not a text`, 'Write it in quotes.')
  return value
}

/** A list of at most `batchMax`. */
export function listIn(record: Wire, name: string): readonly unknown[] {
  const value = record[name]
  if (!Array.isArray(value)) throw bad(`${name} is not a list`, `As in { "${name}": [...] }.`)
  checkSize(name, 'items', value.length, batchMax)
  return value
}

/** One of these words; the first where the field is not there. */
export function wordIn<T extends string>(record: Wire, name: string, words: readonly [T, ...T[]]): T {
  const value = record[name] ?? words[0]
  const found = words.find((word) => word === value)
  if (found === undefined) throw bad(`${name} is none of ${words.join(', ')}`, `Choose one, as in "${words[0]}".`)
  return found
}

const messageFields = ['id', 'value', 'text', 'base64', 'key', 'priority', 'delayMs', 'dedup', 'headers']

/** A message to send; `id` is its id where it says none. Throws `queue.bad-input` and `queue.too-large`. */
export function outgoingOf(item: unknown, id: string, bodyBytesMax: number): Outgoing {
  const record = recordOf('the message', item, messageFields)
  const body = bodyOf(record)
  checkSize('the message', 'bytes', typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength, bodyBytesMax)
  const own = textIn(record, 'id', id)
  checkKey('id', own)
  const key = textIn(record, 'key', null)
  if (key !== null) checkKey('ordering key', key)
  const headers = record['headers'] ?? {}
  if (!isRecord(headers)) throw bad('headers is not an object', 'As in { "headers": { "lang": "de" } }.')
  // Names and values are checked one by one, by the rules of the library.
  const entries = Object.entries(headers).map(([name, value]) => [name, value as string] as const)
  const sent = Object.fromEntries(entries)
  checkHeaders(sent)
  const priority = numberIn(record, 'priority', [0, priorityMax], 0)
  const delayMs = numberIn(record, 'delayMs', [0, delayMsMax], 0)
  return { id: own, body, key, priority, delayMs, dedup: dedupOf(record['dedup']), headers: sent }
}

/** `value` is any JSON and is kept as its text; `text` and `base64` are kept as they are. */
function bodyOf(record: Wire): Body {
  const given = ['value', 'text', 'base64'].filter((name) => record[name] !== undefined)
  if (given.length !== 1) {
    const hint = 'Give one of value (any JSON), text, or base64 (bytes).'
    throw bad(`the message has ${given.length === 0 ? 'no body' : `the bodies ${given.join(' and ')}`}`, hint)
  }
  if (record['value'] !== undefined) return JSON.stringify(record['value'])
  const text = textIn(record, 'text', null)
  if (text !== null) return text
  const base64 = textIn(record, 'base64', '')
  const bytes = Buffer.from(base64, 'base64')
  if (bytes.toString('base64') === base64) return bytes
  throw bad('base64 cannot be read', 'The alphabet has + and /, and = fills the end.')
}

function dedupOf(value: unknown): Outgoing['dedup'] {
  if (value === undefined || value === null) return null
  const record = recordOf('dedup', value, ['key', 'ms'])
  const key = textIn(record, 'key', '')
  checkKey('dedup key', key)
  return { key, ms: numberIn(record, 'ms', [1, dedupMsMax], 300_000) }
}

/** The body of a message on the wire: text as text, bytes as base64. */
function wireBody(body: Body): Wire {
  return typeof body === 'string' ? { text: body } : { base64: Buffer.from(body).toString('base64') }
}

/** A message as it is sent. */
export function wireOutgoing(message: Outgoing): Wire {
  const { body, dedup, ...rest } = message
  return { ...rest, ...wireBody(body), ...(dedup === null ? {} : { dedup }) }
}

/** A message as it is delivered or seen. */
export function wireMessage(message: Held | Seen): Wire {
  const { body, ...rest } = message
  return { ...rest, ...wireBody(body) }
}

/** The same, read by a client. */
export function seenOf(item: unknown): Seen {
  if (!isRecord(item)) throw failure('outcome-unknown', 'there is a message that is no object', 'Look at the server.')
  const headers = isRecord(item['headers']) ? item['headers'] : {}
  const text = textIn(item, 'text', null)
  return {
    id: textIn(item, 'id', ''),
    body: text ?? new Uint8Array(Buffer.from(textIn(item, 'base64', ''), 'base64')),
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)])),
    key: textIn(item, 'key', null),
    priority: Number(item['priority']),
    attempt: Number(item['attempt']),
    sentAtMs: Number(item['sentAtMs']),
    cause: textIn(item, 'cause', null),
  }
}

export function heldOf(item: unknown): Held {
  const { cause: _none, ...message } = seenOf(item)
  return { ...message, receipt: isRecord(item) ? textIn(item, 'receipt', '') : '' }
}

/** The name that a receiver gave its wait, to end it by; null for none. */
export function waitNameOf(body: unknown): string | null {
  const name = isRecord(body) ? textIn(body, 'wait', null) : null
  if (name !== null) checkKey('name of the wait', name)
  return name
}

/** What a receiver wants; `leaseMs` is the lease where it says none. */
export function wantOf(body: unknown, leaseMs: number): Want {
  const record = recordOf('the body', body ?? {}, ['max', 'waitMs', 'leaseMs', 'wait'])
  return {
    max: numberIn(record, 'max', [1, batchMax], 1),
    waitMs: numberIn(record, 'waitMs', [0, waitMsMax], 0),
    leaseMs: numberIn(record, 'leaseMs', [50, leaseMsMax], leaseMs),
    keepMs: 0,
  }
}

/** What a holder decides. `by-policy`: give it back, and let the policy of the queue say for how long, or that it is dead. */
export type WireDecision = Decision | { readonly kind: 'by-policy'; readonly cause: string | null }

const settleFields = ['receipt', 'decision', 'delayMs', 'countAsFailure', 'cause', 'leaseMs']

export function settlementOf(item: unknown): { readonly receipt: string; readonly decision: WireDecision } {
  const record = recordOf('the settlement', item, settleFields)
  const receipt = textIn(record, 'receipt', '')
  const cause = textIn(record, 'cause', null)
  if (cause !== null) checkSize('cause', 'characters', cause.length, causeMax)
  switch (wordIn(record, 'decision', ['ack', 'retry', 'reject', 'extend'])) {
    case 'ack':
      return { receipt, decision: { kind: 'ack' } }
    case 'reject':
      return { receipt, decision: { kind: 'reject', cause: (cause ?? 'rejected').toWellFormed() } }
    case 'extend':
      return { receipt, decision: { kind: 'extend', leaseMs: numberIn(record, 'leaseMs', [1, leaseMsMax], 30_000) } }
    case 'retry': {
      const counted = record['countAsFailure'] ?? true
      if (typeof counted !== 'boolean') throw bad('countAsFailure is not true or false', 'Write it without quotes.')
      const delayMs = numberIn(record, 'delayMs', [0, delayMsMax], null)
      if (delayMs === null && counted) return { receipt, decision: { kind: 'by-policy', cause } }
      return { receipt, decision: { kind: 'retry', delayMs: delayMs ?? 0, countAsFailure: counted } }
    }
  }
}

/** A settlement as it is sent. */
export function wireSettlement({ receipt, decision }: Settlement): Wire {
  const { kind, ...rest } = decision
  return { receipt, decision: kind, ...rest }
}

/** What came of each, or the error that kept it from being tried. */
export function eachApart<T>(
  items: readonly unknown[],
  read: (item: unknown) => T,
): readonly ({ readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: SteadError })[] {
  return items.map((item) => {
    try {
      return { ok: true, value: read(item) }
    } catch (error) {
      if (!isSteadError(error)) throw error
      return { ok: false, error }
    }
  })
}

/** Outcomes of those that could be tried, put among the errors of those that could not. */
export function mergeOutcomes<Outcome extends SendOutcome | SettleOutcome>(
  read: readonly ({ readonly ok: true } | { readonly ok: false; readonly error: SteadError })[],
  outcomes: readonly Outcome[],
  failed: (error: SteadError) => Outcome,
): readonly Outcome[] {
  const left = outcomes.values()
  return read.map((item) => {
    if (!item.ok) return failed(item.error)
    const next = left.next()
    return next.done === true ? failed(failure('unavailable', 'there is no answer for it', 'Try again.')) : next.value
  })
}
