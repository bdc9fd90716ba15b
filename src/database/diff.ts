/**
 * What differs between two states of a database, table by table.
 *
 * Rows are told apart by primary key and compared by a digest of their content; where the two states have no primary key
 * in common, a row is its content, and a change counts as one removed and one added. A column that only one state has
 * counts where it holds something. Memory is bounded: both sides are read in order of the key's digest and merged.
 * What is not compared is said (`gaps`).
 */
import type { ResourceDiff } from '../provider/index.ts'
import type { Session } from './drivers/connection.ts'
import { gapsBetween } from './gaps.ts'
import { diffLedgers } from './ledger.ts'
import { quoteName, quoteText } from './names.ts'

interface Table {
  readonly schema: string
  readonly name: string
  readonly partitioned: boolean
  readonly columns: readonly string[]
  readonly key: readonly string[]
}

/** A row as two digests. */
export interface RowDigest {
  readonly key: string
  readonly content: string
}

/** How many rows were added, removed and changed. */
export interface RowCounts {
  readonly added: number
  readonly removed: number
  readonly changed: number
}

/** Batches of rows, ordered by key. */
export type RowBatches = AsyncIterable<readonly RowDigest[]>

const batchRows = 5_000

/** Compares two sessions' databases. Tables with more than `rowsMax` rows are only counted, and the answer says so. */
export async function diffDatabases(before: Session, after: Session, rowsMax: number): Promise<ResourceDiff> {
  const [tablesBefore, tablesAfter] = [await tablesOf(before), await tablesOf(after)]
  const names = [...new Set([...tablesBefore.keys(), ...tablesAfter.keys()])].sort()
  const items: ResourceDiff['items'][number][] = []
  let exact = true
  for (const name of names) {
    const [tableBefore, tableAfter] = [tablesBefore.get(name), tablesAfter.get(name)]
    const countBefore = tableBefore === undefined ? 0 : await countRows(before, tableBefore)
    const countAfter = tableAfter === undefined ? 0 : await countRows(after, tableAfter)
    let counts: RowCounts = {
      added: Math.max(0, countAfter - countBefore),
      removed: Math.max(0, countBefore - countAfter),
      changed: 0,
    }
    if (tableBefore !== undefined && tableAfter !== undefined) {
      if (Math.max(countBefore, countAfter) > rowsMax) exact = false
      else counts = await compareRows(rowsOf(before, tableBefore, tableAfter), rowsOf(after, tableAfter, tableBefore))
    }
    if (counts.added + counts.removed + counts.changed > 0) items.push({ name, ...counts })
  }
  const ledger = await diffLedgers(before, after)
  const gaps = [...(await gapsBetween(before, after))]
  if (ledger !== null && ledger.more > 0) gaps.push(`${ledger.more} more effects are in the ledger.`)
  return {
    items,
    exact,
    ...(ledger === null ? {} : { effects: ledger.entries }),
    ...(gaps.length === 0 ? {} : { gaps }),
  }
}

/** Merges two ordered streams of rows and counts what differs. Equal keys pair up one to one. */
export async function compareRows(before: RowBatches, after: RowBatches): Promise<RowCounts> {
  const [left, right] = [cursorOver(before), cursorOver(after)]
  let [a, b] = [await left(), await right()]
  let [added, removed, changed] = [0, 0, 0]
  while (a !== null || b !== null) {
    if (a !== null && (b === null || a.key < b.key)) {
      removed++
      a = await left()
    } else if (b !== null && (a === null || b.key < a.key)) {
      added++
      b = await right()
    } else {
      if (a?.content !== b?.content) changed++
      a = await left()
      b = await right()
    }
  }
  return { added, removed, changed }
}

/** One row after the other; null at the end. Waits only between batches. */
function cursorOver(batches: RowBatches): () => RowDigest | null | Promise<RowDigest | null> {
  const iterator = batches[Symbol.asyncIterator]()
  let batch: readonly RowDigest[] = []
  let index = 0
  const refill = async (): Promise<RowDigest | null> => {
    const next = await iterator.next()
    if (next.done === true) return null
    batch = next.value
    index = 1
    return batch[0] ?? (await refill())
  }
  return () => batch[index++] ?? refill()
}

async function tablesOf(session: Session): Promise<ReadonlyMap<string, Table>> {
  const tables = await session.query<{ [Key in keyof Table]: Table[Key] }>(`
    select n.nspname as schema, c.relname as name, c.relkind = 'p' as partitioned,
      array(select a.attname::text from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by 1) as columns,
      array(select a.attname::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid
        where i.indrelid = c.oid and i.indisprimary
          and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1]) order by 1) as key
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not c.relispartition
      and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'stead')`)
  return new Map(
    tables.map((table) => [table.schema === 'public' ? table.name : `${table.schema}.${table.name}`, table]),
  )
}

/** The table in a query: all partitions, but not the tables that inherit from it, which are listed themselves. */
function sourceOf(table: Table): string {
  return `${table.partitioned ? '' : 'only '}${quoteName(table.schema)}.${quoteName(table.name)}`
}

async function countRows(session: Session, table: Table): Promise<number> {
  const [row] = await session.query<{ count: string }>(`select count(*) as count from ${sourceOf(table)}`)
  return Number(row?.count ?? 0)
}

async function* rowsOf(session: Session, table: Table, other: Table): AsyncGenerator<readonly RowDigest[]> {
  const content = contentOf(table, other)
  const sameKey = table.key.length > 0 && table.key.join('\0') === other.key.join('\0')
  const key = sameKey ? `row(${table.key.map(quoteName).join(', ')})::text` : content
  await session.query('begin')
  await session.query(
    `declare stead_rows no scroll cursor for
       select md5(${key}) as key, md5(${content}) as content from ${sourceOf(table)} order by md5(${key}) collate "C"`,
  )
  for (;;) {
    const rows = await session.query<{ key: string; content: string }>(`fetch ${batchRows} from stead_rows`)
    if (rows.length === 0) break
    yield rows
  }
  await session.query('rollback')
}

/** A row's content as text: the columns that both states have, and of the others those that hold something. */
function contentOf(table: Table, other: Table): string {
  const shared = table.columns.filter((column) => other.columns.includes(column))
  const own = table.columns.filter((column) => !other.columns.includes(column))
  const extras = own.map((column) => `coalesce(${quoteText(`+${column}=`)} || ${quoteName(column)}::text, '')`)
  return [`row(${shared.map(quoteName).join(', ')})::text`, ...extras].join(' || ')
}
