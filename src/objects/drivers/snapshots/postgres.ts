/**
 * Names in a PostgreSQL database of the app, through any client with `query(text, values)` that answers `{ rows }`, in the
 * tables `stead.object_*`. Each call is one statement, so a pool will do. What a pin is made for is locked until the pin is
 * committed: whoever takes the last name away meanwhile comes after it.
 */
import { messageOf } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import type { NameCondition, NamedRow, NameOutcome, Names } from './names.ts'
import { describedOf } from './rows.ts'

/** A client of PostgreSQL that is handed in: `pg`'s Pool or Client. */
export interface NamesClient {
  query(text: string, values: unknown[]): Promise<{ readonly rows: readonly object[] }>
  /** As pg's clients have it: `I` outside of a transaction, `T` and `E` inside, null before the first answer. */
  getTransactionStatus?(): string | null
}

// One statement, so one transaction: of those who make them at once each waits for the one before.
const schema = `
  do $stead$ begin
  perform pg_advisory_xact_lock(7598862);
  if to_regclass('stead.object_unused') is null then
    create schema if not exists stead;
    create table if not exists stead.object_names (
      bucket text not null, key text collate "C" not null, blob text not null, sha256 text not null, bytes bigint not null,
      modified_ms bigint not null, content_type text not null, metadata text not null, primary key (bucket, key)
    );
    create index if not exists object_names_by_blob on stead.object_names (bucket, blob);
    create index if not exists object_names_by_digest on stead.object_names (bucket, sha256);
    create table if not exists stead.object_pins (
      id text primary key, bucket text not null, blob text not null, since_ms bigint not null
    );
    create index if not exists object_pins_by_blob on stead.object_pins (bucket, blob);
    create table if not exists stead.object_unused (
      bucket text not null, blob text not null, since_ms bigint not null, primary key (bucket, blob)
    );
  end if;
  end $stead$`

const isUnused = `not exists (select from stead.object_names n where n.bucket = $1 and n.blob = b.blob)
  and not exists (select from stead.object_pins p where p.bucket = $1 and p.blob = b.blob)`

/** Makes the driver for a bucket in a database. */
export function postgresNames(client: NamesClient, bucket: string): Names {
  const query = async (text: string, ...values: unknown[]): Promise<readonly Readonly<Record<string, unknown>>[]> => {
    const status = client.getTransactionStatus?.() ?? 'I'
    if (status !== 'I') {
      const hint = 'Give the names a connection or a pool of their own.'
      throw failure('in-transaction', 'a transaction is open on the connection of the names', hint)
    }
    try {
      return (await client.query(text, values)).rows.map((row) => ({ ...row }))
    } catch (error) {
      throw databaseFailure(error)
    }
  }
  const blobsOf = (rows: readonly Readonly<Record<string, unknown>>[]): string[] => rows.map(({ blob }) => String(blob))

  return {
    async createTables() {
      await query(schema)
    },
    async hasTables() {
      const [row] = await query(`select to_regclass('stead.object_unused')::text as name`)
      return typeof row?.['name'] === 'string'
    },
    async weakness() {
      const text = `select name from pg_settings where name in ('fsync', 'synchronous_commit') and setting = 'off' limit 1`
      const [off] = await query(text)
      return off === undefined ? undefined : `${String(off['name'])} is off`
    },
    async pin(id, fresh, sha256, nowMs) {
      const text = `with found as (
          select blob from stead.object_names where bucket = $2 and sha256 = $3 limit 1 for share
        ) insert into stead.object_pins (id, bucket, blob, since_ms)
          values ($1, $2, coalesce((select blob from found), $4), $5) returning blob`
      const [row] = await query(text, id, bucket, sha256 ?? null, fresh, nowMs)
      return String(row?.['blob'])
    },
    async name(pin, row, condition): Promise<NameOutcome> {
      const [found] = await query(naming(condition), ...namingValues(pin, bucket, row, condition))
      if (Number(found?.['pins']) === 0) return 'unpinned'
      return Number(found?.['named']) > 0 ? 'named' : 'lost'
    },
    async unpin(id) {
      await query('delete from stead.object_pins where id = $1', id)
    },
    async find(key) {
      const [row] = await query('select * from stead.object_names where bucket = $1 and key = $2', bucket, key)
      return row === undefined ? undefined : describedOf(row)
    },
    async rows(from, inclusive, limit) {
      const after = inclusive ? '>=' : '>'
      const text = `select * from stead.object_names where bucket = $1 and key ${after} $2 order by key limit $3`
      return (await query(text, bucket, from, limit)).map(describedOf)
    },
    async remove(key) {
      await query('delete from stead.object_names where bucket = $1 and key = $2', bucket, key)
    },

    async dropPins(beforeMs) {
      await query('delete from stead.object_pins where bucket = $1 and since_ms < $2', bucket, beforeMs)
    },
    async unused(blobs) {
      return blobsOf(await query(`select b.blob from unnest($2::text[]) b (blob) where ${isUnused}`, bucket, blobs))
    },
    async note(blobs, nowMs) {
      const text = `insert into stead.object_unused (bucket, blob, since_ms)
        select $1, blob, $3 from unnest($2::text[]) b (blob) on conflict do nothing`
      await query(text, bucket, blobs, nowMs)
    },
    async noted(untilMs, limit) {
      const text = `select b.blob from stead.object_unused b where b.bucket = $1 and b.since_ms <= $2 and ${isUnused}
        order by b.since_ms, b.blob limit $3`
      return blobsOf(await query(text, bucket, untilMs, limit))
    },
    async forget(blobs) {
      await query('delete from stead.object_unused where bucket = $1 and blob = any($2::text[])', bucket, blobs)
    },
  }
}

/** The statement that takes a pin away and names what it held. */
function naming(condition: NameCondition): string {
  const columns = '(bucket, key, blob, sha256, bytes, modified_ms, content_type, metadata)'
  const insert = `insert into stead.object_names ${columns}
    select $2, $3, blob, $4, $5::bigint, $6::bigint, $7, $8 from pin on conflict (bucket, key) do`
  const change = {
    always: `${insert} update set blob = excluded.blob, sha256 = excluded.sha256, bytes = excluded.bytes,
      modified_ms = excluded.modified_ms, content_type = excluded.content_type, metadata = excluded.metadata`,
    absent: `${insert} nothing`,
    match: `update stead.object_names n set blob = pin.blob, sha256 = $4, bytes = $5::bigint, modified_ms = $6::bigint,
      content_type = $7, metadata = $8 from pin where n.bucket = $2 and n.key = $3 and n.sha256 = $9`,
  }[condition.kind]
  return `with pin as (delete from stead.object_pins where id = $1 and bucket = $2 returning blob),
    named as (${change} returning 1)
    select (select count(*) from pin) as pins, (select count(*) from named) as named`
}

function namingValues(
  pin: string,
  bucket: string,
  { key, sha256, bytes, modifiedMs, contentType, metadata }: Omit<NamedRow, 'blob'>,
  condition: NameCondition,
): readonly unknown[] {
  const values = [pin, bucket, key, sha256, bytes, modifiedMs, contentType, JSON.stringify(metadata)]
  return condition.kind === 'match' ? [...values, condition.sha256] : values
}

/** States that pass: connections, resources, conflicts, and what an operator does to a server. */
const passing = /^(08|40|53|57)/

/** What passes, as an error of the room; anything else as it is. */
function databaseFailure(error: unknown): unknown {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
  const isServers = /^[0-9A-Z]{5}$/.test(code)
  if (isServers && !passing.test(code)) return error
  const hint = 'Try again when it answers.'
  return failure('unavailable', `the database of the names does not answer: ${messageOf(error)}`, hint, error)
}
