/** Cutting a stream of rows into a page: whole revisions only, bounded in number and bytes. For drivers that stream. */
import type { Row, RowPage } from './driver.ts'
import type { Head } from './draft.ts'
import { bytesOf, checkListBytes } from './limits.ts'
import { pageBytesMax } from './store.ts'

/** The page at the front of `rows`, which come in revision order and end at `head`. Reads one row more than it takes. */
export function pageOf(rows: Iterable<Row>, head: Head, limit: number): RowPage {
  const page: Row[] = []
  let bytes = 0
  let cursor = 0
  for (const row of rows) {
    const full = page.length >= limit || bytes >= pageBytesMax
    if (full && row.revision > cursor) return { rows: page, cursor, more: true }
    page.push(row)
    bytes += bytesOf(row)
    cursor = row.revision
  }
  return { rows: page, cursor: head.revision, more: false }
}

/** All of `rows`, unless they are more than a snapshot may hold. */
export function snapshotOf(rows: Iterable<Row>, prefix: string): readonly Row[] {
  const list: Row[] = []
  let bytes = 0
  for (const row of rows) {
    bytes += bytesOf(row)
    checkListBytes(prefix, bytes)
    list.push(row)
  }
  return list
}
