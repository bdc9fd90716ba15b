/** Rows of names as databases give them: metadata is JSON in a text, and PostgreSQL's client gives large numbers as text. */
import type { NamedRow } from './names.ts'

/** An object of a row with the columns of the table of names. */
export function describedOf(row: Readonly<Record<string, unknown>>): NamedRow {
  const text = (column: string): string => String(row[column])
  return {
    key: text('key'),
    blob: text('blob'),
    sha256: text('sha256'),
    bytes: Number(row['bytes']),
    modifiedMs: Number(row['modified_ms']),
    contentType: text('content_type'),
    metadata: metadataOf(text('metadata')),
  }
}

function metadataOf(text: string): Readonly<Record<string, string>> {
  const parsed: unknown = JSON.parse(text)
  if (typeof parsed !== 'object' || parsed === null) return {}
  return Object.fromEntries(Object.entries(parsed).map(([name, value]) => [name, String(value)]))
}
