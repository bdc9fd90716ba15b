/**
 * Listing a bucket: keys in the order of their bytes, grouped at a delimiter. A group is passed over by a seek, not read, so a
 * page costs what it shows.
 */
import { behind, groupOf, startOf } from '../../grouping.ts'
import type { Index } from './commits.ts'
import { listedColumns, listedOf, versionColumns, versionOf } from './records.ts'
import type { ListedVersion, VersionRecord } from './records.ts'

/** Keys, groups or versions in one page. */
export const pageMax = 1000
/** Rows that are read at once: few behind a group, where the next one is likely to be another group, then more and more. */
const batchMin = 1
const batchMax = pageMax + 1

export interface ListOptions {
  readonly bucket: string
  readonly prefix: string
  readonly delimiter: string
  readonly limit: number
}

/** One page. `next` is where the following one begins; undefined at the end. */
export interface Page<Item> {
  readonly items: readonly Item[]
  readonly prefixes: readonly string[]
  readonly next: Place | undefined
}

/** The last that was shown: a key with its version's number, or a group. */
export interface Place {
  readonly key: string
  /** 0: go on behind the key. */
  readonly seq: number
  readonly version?: string
}

/** Current objects after a key (or after the group that it names). */
export function listObjects(index: Index, options: ListOptions, after: string): Page<ListedVersion> {
  return walk(options, { ...startOf(options, after), seq: 0 }, (from, limit) =>
    index
      .values(
        `SELECT ${listedColumns} FROM versions WHERE bucket = ? AND latest = 1 AND marker = 0 AND
         (key > ? OR (key = ? AND ?)) AND key >= ? ORDER BY key LIMIT ?`,
        options.bucket,
        from.key,
        from.key,
        from.inclusive && from.seq === 0 ? 1 : 0,
        from.key,
        limit,
      )
      .map(listedOf),
  )
}

/** All versions and markers after a key and the number of one of its versions, newest first within a key. */
export function listVersions(index: Index, options: ListOptions, after: Place): Page<VersionRecord> {
  const begin = startOf(options, after.key)
  const from = after.seq > 0 && !begin.inclusive ? { ...after, inclusive: true } : { ...begin, seq: 0 }
  return walk(options, from, (at, limit) =>
    index
      .all(
        `SELECT ${versionColumns} FROM versions WHERE bucket = ? AND
         (key > ? OR (key = ? AND ? AND seq < ?)) AND key >= ? ORDER BY key, seq DESC LIMIT ?`,
        options.bucket,
        at.key,
        at.key,
        at.inclusive ? 1 : 0,
        at.seq > 0 ? at.seq : Number.MAX_SAFE_INTEGER,
        at.key,
        limit,
      )
      .map(versionOf),
  )
}

type ListedName = Pick<VersionRecord, 'key' | 'seq' | 'version'>

interface From {
  readonly key: string
  /** Only those of `key` with a smaller number; 0 for all. */
  readonly seq: number
  readonly inclusive: boolean
}

function walk<Item extends ListedName>(
  options: ListOptions,
  start: From,
  read: (from: From, limit: number) => readonly Item[],
): Page<Item> {
  const { prefix, delimiter, limit } = options
  const items: Item[] = []
  const prefixes: string[] = []
  let last: Place | undefined
  let from = start
  let batch = Math.min(limit + 1, delimiter === '' ? batchMax : batchMin)
  const full = (): boolean => items.length + prefixes.length >= limit
  for (;;) {
    const rows = read(from, batch)
    let jumped = false
    for (const row of rows) {
      if (!row.key.startsWith(prefix)) return { items, prefixes, next: undefined }
      if (full()) return { items, prefixes, next: limit === 0 ? undefined : last }
      const group = groupOf(row.key, prefix, delimiter)
      if (group === undefined) {
        items.push(row)
        last = { key: row.key, seq: row.seq, version: row.version }
        from = { key: row.key, seq: row.seq, inclusive: true }
      } else {
        prefixes.push(group)
        last = { key: group, seq: 0 }
        from = { ...behind(group), seq: 0 }
        jumped = true
        break
      }
    }
    if (!jumped && rows.length < batch) return { items, prefixes, next: undefined }
    batch = jumped ? batchMin : Math.min(batch * 4, batchMax)
  }
}
