/** Rows of the ledger's tables as messages; a column of an unexpected type is a damaged file, not a guess. */
import { assert } from '../../../base/index.ts'
import type { Held, Seen } from '../../driver.ts'

export function text(value: unknown): string {
  assert(typeof value === 'string', 'a column is not text')
  return value
}

export function integer(value: unknown): number {
  assert(typeof value === 'number', 'a column is not a number')
  return value
}

/** The message of a row, with the attempts that were made. */
export function heldOf(row: Record<string, unknown>): Omit<Held, 'receipt'> {
  const { body } = row
  assert(typeof body === 'string' || body instanceof Uint8Array, 'a body is neither text nor bytes')
  return {
    id: text(row.id),
    body,
    headers: typeof row.headers === 'string' ? headersOf(row.headers) : {},
    key: typeof row.key === 'string' ? row.key : null,
    priority: integer(row.priority),
    attempt: integer(row.attempts),
    sentAtMs: integer(row.sent_at_ms),
  }
}

/** The same for one that is only looked at. */
export function seenOf(row: Record<string, unknown>): Seen {
  return { ...heldOf(row), cause: typeof row.cause === 'string' ? row.cause : null }
}

/** Headers from their JSON. */
export function headersOf(json: string): Record<string, string> {
  const value: unknown = JSON.parse(json)
  assert(typeof value === 'object' && value !== null, 'headers are not an object')
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, String(item)]))
}
