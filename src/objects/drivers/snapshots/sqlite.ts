/**
 * Names in an SQLite database of the app, through `node:sqlite`, in the tables `stead_object_*`. SQLite has one writer at a
 * time, so what a transaction has seen is so until it ends.
 */
import type { DatabaseSync, SQLInputValue, SQLOutputValue } from 'node:sqlite'
import { messageOf } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import type { NameCondition, NamedRow, NameOutcome, Names } from './names.ts'
import { describedOf } from './rows.ts'

const schema = `
  create table if not exists stead_object_names (
    bucket text not null, key text not null, blob text not null, sha256 text not null, bytes integer not null,
    modified_ms integer not null, content_type text not null, metadata text not null, primary key (bucket, key)
  ) strict, without rowid;
  create index if not exists stead_object_names_by_blob on stead_object_names (bucket, blob);
  create index if not exists stead_object_names_by_digest on stead_object_names (bucket, sha256);
  create table if not exists stead_object_pins (
    id text primary key, bucket text not null, blob text not null, since_ms integer not null
  ) strict, without rowid;
  create index if not exists stead_object_pins_by_blob on stead_object_pins (bucket, blob);
  create table if not exists stead_object_unused (
    bucket text not null, blob text not null, since_ms integer not null, primary key (bucket, blob)
  ) strict, without rowid;
`

const isUnused = `not exists (select 1 from stead_object_names n where n.bucket = ?1 and n.blob = b.blob)
  and not exists (select 1 from stead_object_pins p where p.bucket = ?1 and p.blob = b.blob)`

/** Makes the driver for a bucket in a database. */
export function sqliteNames(db: DatabaseSync, bucket: string): Names {
  const all = (text: string, ...values: SQLInputValue[]): Record<string, SQLOutputValue>[] =>
    db.prepare(text).all(...values)
  /** One transaction of our own. */
  const transaction = async <T>(work: () => T): Promise<T> => {
    refuseOpen(db)
    try {
      db.exec('begin immediate')
      try {
        const result = work()
        db.exec('commit')
        return result
      } finally {
        if (db.isTransaction) db.exec('rollback')
      }
    } catch (error) {
      throw databaseFailure(error)
    }
  }
  const read = async <T>(work: () => T): Promise<T> => {
    try {
      return work()
    } catch (error) {
      throw databaseFailure(error)
    }
  }

  function put(row: Omit<NamedRow, 'blob'>, blob: string, condition: NameCondition): boolean {
    const { key, sha256, bytes, modifiedMs, contentType, metadata } = row
    const values = [bucket, key, blob, sha256, bytes, modifiedMs, contentType, JSON.stringify(metadata)]
    if (condition.kind === 'match') {
      const text = `update stead_object_names set blob = ?3, sha256 = ?4, bytes = ?5, modified_ms = ?6, content_type = ?7,
        metadata = ?8 where bucket = ?1 and key = ?2 and sha256 = ?9 returning 1`
      return all(text, ...values, condition.sha256).length > 0
    }
    const conflict =
      condition.kind === 'absent'
        ? 'nothing'
        : `update set blob = excluded.blob, sha256 = excluded.sha256, bytes = excluded.bytes,
           modified_ms = excluded.modified_ms, content_type = excluded.content_type, metadata = excluded.metadata`
    const text = `insert into stead_object_names (bucket, key, blob, sha256, bytes, modified_ms, content_type, metadata)
      values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) on conflict (bucket, key) do ${conflict} returning 1`
    return all(text, ...values).length > 0
  }

  return {
    createTables: () => transaction(() => db.exec(schema)),
    hasTables: () => read(() => all(`select 1 from sqlite_schema where name = 'stead_object_unused'`).length > 0),
    weakness: () =>
      read(() => {
        const level = Number(Object.values(db.prepare('pragma synchronous').get() ?? {})[0])
        return level >= 2 ? undefined : 'pragma synchronous is not FULL'
      }),
    pin: (id, fresh, sha256, nowMs) =>
      transaction(() => {
        const text = 'select blob from stead_object_names where bucket = ? and sha256 = ? limit 1'
        const blob = sha256 === undefined ? fresh : String(all(text, bucket, sha256)[0]?.['blob'] ?? fresh)
        all('insert into stead_object_pins (id, bucket, blob, since_ms) values (?, ?, ?, ?)', id, bucket, blob, nowMs)
        return blob
      }),
    name: (pin, row, condition) =>
      transaction((): NameOutcome => {
        const [pinned] = all('delete from stead_object_pins where id = ? and bucket = ? returning blob', pin, bucket)
        if (pinned === undefined) return 'unpinned'
        return put(row, String(pinned['blob']), condition) ? 'named' : 'lost'
      }),
    unpin: (id) => transaction(() => void all('delete from stead_object_pins where id = ?', id)),
    find: (key) =>
      read(() => {
        const [row] = all('select * from stead_object_names where bucket = ? and key = ?', bucket, key)
        return row === undefined ? undefined : describedOf(row)
      }),
    rows: (from, inclusive, limit) =>
      read(() => {
        const after = inclusive ? '>=' : '>'
        const text = `select * from stead_object_names where bucket = ? and key ${after} ? order by key limit ?`
        return all(text, bucket, from, limit).map(describedOf)
      }),
    remove: (key) =>
      transaction(() => void all('delete from stead_object_names where bucket = ? and key = ?', bucket, key)),

    dropPins: (beforeMs) =>
      transaction(() => void all('delete from stead_object_pins where bucket = ? and since_ms < ?', bucket, beforeMs)),
    unused: (blobs) =>
      read(() => {
        const text = `select b.blob from (select value as blob from json_each(?2)) b where ${isUnused}`
        return all(text, bucket, JSON.stringify(blobs)).map(({ blob }) => String(blob))
      }),
    note: (blobs, nowMs) =>
      transaction(() => {
        const text = `insert into stead_object_unused (bucket, blob, since_ms)
          select ?1, value, ?3 from json_each(?2) where true on conflict do nothing`
        all(text, bucket, JSON.stringify(blobs), nowMs)
      }),
    noted: (untilMs, limit) =>
      read(() => {
        const text = `select b.blob from stead_object_unused b where b.bucket = ?1 and b.since_ms <= ?2 and ${isUnused}
          order by b.since_ms, b.blob limit ?3`
        return all(text, bucket, untilMs, limit).map(({ blob }) => String(blob))
      }),
    forget: (blobs) =>
      transaction(() => {
        const text = 'delete from stead_object_unused where bucket = ? and blob in (select value from json_each(?))'
        all(text, bucket, JSON.stringify(blobs))
      }),
  }
}

/** A statement of ours in a transaction of somebody else would be undone with it after it was answered. */
function refuseOpen(db: DatabaseSync): void {
  if (!db.isTransaction) return
  const hint = 'Give the names a connection of their own.'
  throw failure('in-transaction', 'a transaction is open on the connection of the names', hint)
}

/** What passes, as an error of the room; anything else as it is. */
function databaseFailure(error: unknown): unknown {
  const code =
    error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : 0
  if (code === 5 || code === 6) {
    const hint = 'Try again; a longer timeout of the connection waits for the other writer.'
    return failure('unavailable', `the database of the names is busy: ${messageOf(error)}`, hint, error)
  }
  if (code === 13)
    return failure('disk-full', 'the disk of the database of the names is full', 'Make room, then try again.', error)
  return error
}
