/**
 * What differs between two states of a bucket, by their indexes alone: exact, because an entity tag names content. Neither is
 * live; both are opened, so that what a crash has left in a log is in them.
 */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { openPlace } from '../embedded/place.ts'

/** Objects that are named one by one; of more there is a number. */
const namedMax = 20

/** One object, or under the bucket's name all that are not named. */
export interface ComparedItem {
  readonly name: string
  readonly added: number
  readonly removed: number
  readonly changed: number
}

export interface Compared {
  readonly items: readonly ComparedItem[]
  /** Versions that were made and replaced in between, a sentence; null where there are none. */
  readonly older: string | null
}

const current = 'bucket = :bucket AND latest = 1 AND marker = 0'
const same = (other: string): string =>
  `EXISTS (SELECT 1 FROM ${other}.versions o WHERE o.bucket = v.bucket AND o.key = v.key AND o.latest = 1 AND o.marker = 0)`
const differs = `o.etag <> v.etag OR o.bytes <> v.bytes OR o.tags <> v.tags
  OR json_extract(o.info, '$.headers') IS NOT json_extract(v.info, '$.headers')
  OR json_extract(o.info, '$.metadata') IS NOT json_extract(v.info, '$.metadata')`

const kinds = {
  added: `FROM main.versions v WHERE ${current} AND NOT ${same('before')}`,
  removed: `FROM before.versions v WHERE ${current} AND NOT ${same('main')}`,
  changed: `FROM main.versions v JOIN before.versions o ON o.bucket = v.bucket AND o.key = v.key AND o.latest = 1
    AND o.marker = 0 WHERE v.bucket = :bucket AND v.latest = 1 AND v.marker = 0 AND (${differs})`,
} as const

/** Compares two data directories. Throws what `openEmbeddedObjects` does. */
export function compareBuckets(bucket: string, before: string, after: string): Compared {
  for (const dir of [before, after]) openPlace(dir).db.close()
  const db = new DatabaseSync(join(after, 'index.db'))
  try {
    db.prepare('ATTACH ? AS before').run(join(before, 'index.db'))
    const count = (sql: string): number => Number(db.prepare(`SELECT count(*) AS n ${sql}`).get({ bucket })?.['n'])
    const counts = { added: count(kinds.added), removed: count(kinds.removed), changed: count(kinds.changed) }
    const items: ComparedItem[] = []
    const rest = { ...counts }
    for (const kind of ['added', 'removed', 'changed'] as const) {
      const left = namedMax - items.length
      const keys = db.prepare(`SELECT v.key ${kinds[kind]} ORDER BY v.key LIMIT ${left}`).all({ bucket })
      const none = { added: 0, removed: 0, changed: 0 }
      items.push(...keys.map(({ key }) => ({ name: String(key), ...none, [kind]: 1 })))
      rest[kind] -= keys.length
    }
    if (rest.added + rest.removed + rest.changed > 0) items.push({ name: bucket, ...rest })
    const gone = count(
      `FROM main.versions v WHERE bucket = :bucket AND latest = 0 AND marker = 0 AND NOT EXISTS
       (SELECT 1 FROM before.versions o WHERE o.bucket = v.bucket AND o.key = v.key AND o.version = v.version)`,
    )
    const older = gone === 0 ? null : `${bucket} also has ${gone} versions that were written and replaced in between.`
    return { items, older }
  } finally {
    db.close()
  }
}
