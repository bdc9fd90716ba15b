/** Rows of the tables in PostgreSQL as messages. */
import { assert } from '../../../base/index.ts'
import type { Body, Held, Seen } from '../../driver.ts'
import { headersOf, text } from '../ledger/rows.ts'

/** The columns that a message is made of. */
export const messageColumns =
  'seq, id, priority, attempts, key, headers, text_body, body, floor(extract(epoch FROM sent_at) * 1000)::bigint AS sent_at_ms'

const noHeaders: Readonly<Record<string, string>> = Object.freeze({})

function bodyOf(row: Record<string, unknown>): Body {
  const body = row['text_body'] ?? row['body']
  assert(typeof body === 'string' || body instanceof Uint8Array, 'a body is neither text nor bytes')
  return body
}

function messageOf(row: Record<string, unknown>): Omit<Held, 'receipt'> {
  return {
    id: text(row['id']),
    body: bodyOf(row),
    headers: typeof row['headers'] === 'string' ? headersOf(row['headers']) : {},
    key: typeof row['key'] === 'string' ? row['key'] : null,
    priority: Number(row['priority']),
    attempt: Number(row['attempts']),
    sentAtMs: Number(row['sent_at_ms']),
  }
}

/** What a receipt names. */
export interface Holding {
  readonly generation: number
  readonly seq: string
  readonly token: string
  /** Whether the message has an ordering key. */
  readonly isKeyed: boolean
}

/** The same of a message that is held, with what is a number in one text: each column costs the client its own. */
export const heldColumns = `concat_ws(' ', seq, token, attempts, priority, floor(extract(epoch FROM sent_at) * 1000)::bigint) AS numbers,
  id, key, headers, text_body, body`

export function heldOf(row: Record<string, unknown>, generation: number): Held {
  const [seq = '', token = '', attempts, priority, sentAtMs] = text(row['numbers']).split(' ')
  const key = typeof row['key'] === 'string' ? row['key'] : null
  return {
    receipt: `${generation}.${seq}.${token}.${key === null ? 0 : 1}`,
    id: text(row['id']),
    body: bodyOf(row),
    headers: typeof row['headers'] === 'string' ? headersOf(row['headers']) : noHeaders,
    key,
    priority: Number(priority),
    attempt: Number(attempts),
    sentAtMs: Number(sentAtMs),
  }
}

export function holdingOf(receipt: string): Holding {
  const [generation = '', seq = '', token = '', keyed] = receipt.split('.')
  return { generation: Number(generation), seq, token, isKeyed: keyed !== '0' }
}

export function seenOf(row: Record<string, unknown>): Seen {
  return { ...messageOf(row), cause: typeof row['cause'] === 'string' ? row['cause'] : null }
}
