/**
 * What differs between the databases a ledger lies in: where the table is, how it is asked, and how time is written. All
 * the statements stand once, in `ledger.ts`; their parameters are `$1`, `$2` and so on.
 */

/** A value that goes into a statement. */
export type SqlValue = string | number | null

/** A row that comes out, whose columns are all text or null. */
export type TextRow = Readonly<Record<string, string | null>>

export interface LedgerDriver {
  /** The table, as statements name it. */
  readonly table: string
  /** Statements that make the table; they may be run by several at once. */
  readonly createTable: readonly string[]
  /** Whether the table is there. */
  exists(): Promise<boolean>
  /** The present moment, as a column of the table holds it. */
  readonly now: string
  /** The moment that many milliseconds ago, of a parameter. */
  ago(parameter: string): string
  /** A moment of a column as milliseconds since 1970, as text. */
  ms(column: string): string
  /** Whether a transaction is open on this connection; `unknown` where the client does not say. */
  transaction(): 'open' | 'none' | 'unknown'
  /** Why a commit on this connection would not be durable, as the end of a sentence; null when it would. */
  weakness(): Promise<string | null>
  query(text: string, values: readonly SqlValue[]): Promise<readonly TextRow[]>
}
