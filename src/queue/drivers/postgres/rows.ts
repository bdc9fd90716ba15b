/** Rows of the tables in PostgreSQL as messages. */
import { assert } from '../../../base/index.ts'
import type { Held, Seen } from '../../driver.ts'
import { headersOf, text } from '../ledger/rows.ts'

/** The columns that a message is made of. */
export const messageColumns =
  'seq, id, priority, attempts, key, headers, text_body, body, floor(extract(epoch FROM sent_at) * 1000)::bigint AS sent_at_ms'

function messageOf(row: Record<string, unknown>): Omit<Held, 'receipt'> {
  const body = row['text_body'] ?? row['body']
  assert(typeof body === 'string' || body instanceof Uint8Array, 'a body is neither text nor bytes')
  return {
    id: text(row['id']),
    body,
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
  readonly seq: number
  readonly token: number
  /** Whether the message has an ordering key. */
  readonly keyed: boolean
}

export function heldOf(row: Record<string, unknown>, generation: number): Held {
  const message = messageOf(row)
  const keyed = message.key === null ? 0 : 1
  return { ...message, receipt: `${generation}.${String(row['seq'])}.${String(row['token'])}.${keyed}` }
}

export function holdingOf(receipt: string): Holding {
  const [generation = 0, seq = 0, token = 0, keyed = 1] = receipt.split('.').map(Number)
  return { generation, seq, token, keyed: keyed === 1 }
}

export function seenOf(row: Record<string, unknown>): Seen {
  return { ...messageOf(row), cause: typeof row['cause'] === 'string' ? row['cause'] : null }
}
