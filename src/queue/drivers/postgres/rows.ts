/** Rows of the tables in PostgreSQL as messages. */
import { assert } from '../../../base/index.ts'
import type { Held, Seen } from '../../driver.ts'
import { headersOf, text } from '../ledger/rows.ts'

/** The columns that a message is made of. */
export const messageColumns =
  'seq, id, priority, attempts, key, headers, text_body, body, (extract(epoch FROM sent_at) * 1000)::float8 AS sent_at_ms'

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
    sentAtMs: Math.floor(Number(row['sent_at_ms'])),
  }
}

export function heldOf(row: Record<string, unknown>, generation: number): Held {
  return { ...messageOf(row), receipt: `${generation}.${Number(row['seq'])}.${Number(row['token'])}` }
}

export function seenOf(row: Record<string, unknown>): Seen {
  return { ...messageOf(row), cause: typeof row['cause'] === 'string' ? row['cause'] : null }
}
