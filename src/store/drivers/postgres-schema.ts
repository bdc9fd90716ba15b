/** The tables of a PostgreSQL store and every statement on them. The schema carries its version; a newer one is refused. */
import type { QueryResultRow } from 'pg'
import type { Head } from '../draft.ts'
import { failure } from '../errors.ts'
import { operationsMax } from '../store.ts'
import type { Session } from './postgres-connections.ts'

const schemaVersion = 1

/** The row of `head`. */
export interface HeadRow extends QueryResultRow, Head {
  readonly version: number
}

/** The statements, for one schema. */
export interface Statements {
  readonly lockHead: string
  readonly loadRecords: string
  readonly loadLeases: string
  readonly saveRecords: string
  readonly saveLeases: string
  readonly removeLeases: string
  readonly findHorizon: string
  readonly forgetDeletions: string
  readonly saveHead: string
  readonly scrub: string
  readonly get: string
  readonly list: string
  readonly listSince: string
}

/** A schema's name, as the store takes it: it goes into statements and into the name of the NOTIFY channel. */
export function checkSchemaName(schema: string): void {
  if (/^[a-z_][a-z0-9_]{0,40}$/.test(schema)) return
  const hint = 'Use at most 41 lower-case letters, digits and "_".'
  throw failure('bad-input', `${JSON.stringify(schema)} cannot be the schema of a store`, hint)
}

/** The store's clock is the database's, and runs on inside a transaction. */
const nowMs = 'floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint'

/** All statements for the schema; its name has been checked. */
export function statements(schema: string): Statements {
  const head = `${schema}.head`
  const records = `${schema}.records`
  const leases = `${schema}.leases`
  return {
    // The queue of all writers. The row lock is held until the commit is visible, so the next one sees all before it.
    lockHead: `SELECT version, revision, horizon, tombstones, epoch FROM ${head} FOR UPDATE`,
    loadRecords: `SELECT key, revision, value IS NULL AS deleted FROM ${records} WHERE key = ANY($1)`,
    loadLeases: `
      WITH now AS MATERIALIZED (SELECT ${nowMs} AS ms)
      SELECT now.ms AS now_ms, (SELECT count(*) FROM ${leases} l, now WHERE l.expires_at_ms > now.ms) AS held,
        l.name, l.holder, l.epoch, l.expires_at_ms
      FROM now LEFT JOIN ${leases} l ON l.name = ANY($1)`,
    saveRecords: `
      INSERT INTO ${records} (key, value, revision) SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
      ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision`,
    saveLeases: `
      INSERT INTO ${leases} (name, holder, epoch, expires_at_ms)
      SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
      ON CONFLICT (name) DO UPDATE
      SET holder = excluded.holder, epoch = excluded.epoch, expires_at_ms = excluded.expires_at_ms`,
    removeLeases: `DELETE FROM ${leases} WHERE name = ANY($1) OR expires_at_ms <= $2`,
    findHorizon: `SELECT revision FROM ${records} WHERE value IS NULL ORDER BY revision DESC LIMIT 1 OFFSET $1`,
    forgetDeletions: `
      WITH forgotten AS (DELETE FROM ${records} WHERE value IS NULL AND revision <= $1 RETURNING 1)
      SELECT count(*) AS count FROM forgotten`,
    saveHead: `
      WITH saved AS (UPDATE ${head} SET revision = $1, horizon = $2, tombstones = $3, epoch = $4)
      SELECT pg_notify('${channelOf(schema)}', $5)`,
    scrub: `VACUUM (FULL) ${records}`,
    get: `SELECT key, value AS text, revision FROM ${records} WHERE key = $1 AND value IS NOT NULL`,
    // One statement is one snapshot: the rows and the revision they are of. Too much is counted and not sent.
    list: `
      WITH found AS (SELECT key, value, revision FROM ${records} WHERE key >= $1 AND key < $2 AND value IS NOT NULL),
        total AS (SELECT coalesce(sum(octet_length(key) + octet_length(value)), 0)::bigint AS bytes FROM found)
      SELECT head.revision AS head, total.bytes, found.key, found.value AS text, found.revision
      FROM ${head} head CROSS JOIN total LEFT JOIN found ON total.bytes <= $3 ORDER BY found.key`,
    // Whole revisions: \`cut\` is the one in which the page gets full. A revision has at most ${operationsMax} rows.
    listSince: `
      WITH candidate AS (
        SELECT key, value, revision FROM ${records} WHERE revision > $1 AND key >= $2 AND key < $3
        ORDER BY revision, key LIMIT $4::int + ${operationsMax}
      ), measured AS (
        SELECT *, row_number() OVER w AS count, sum(octet_length(key) + coalesce(octet_length(value), 0)) OVER w AS bytes
        FROM candidate WINDOW w AS (ORDER BY revision, key)
      ), cut AS (
        SELECT min(revision) AS revision FROM measured WHERE count >= $4 OR bytes >= $5
      )
      SELECT head.revision AS head, head.horizon, cut.revision AS cut,
        EXISTS (SELECT 1 FROM measured WHERE revision > cut.revision) AS more, m.key, m.value AS text, m.revision
      FROM ${head} head CROSS JOIN cut LEFT JOIN measured m ON m.revision <= coalesce(cut.revision, head.revision)
      ORDER BY m.revision, m.key`,
  }
}

/** Where commits on the schema are announced. */
export function channelOf(schema: string): string {
  return `${schema}_changed`
}

/** Makes the tables when they are not there, in the caller's transaction. Throws `store.newer-version`. */
export async function migrate(session: Session, schema: string, place: string): Promise<void> {
  // Two processes that open a new store at the same time make it one after the other.
  await session.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`stead store ${schema}`])
  const [found] = await session.query<{ tables: boolean; schema: boolean }>(
    'SELECT to_regclass($1) IS NOT NULL AS tables, to_regnamespace($2) IS NOT NULL AS schema',
    [`${schema}.head`, schema],
  )
  if (found?.tables) {
    const [head] = await session.query<HeadRow>(statements(schema).lockHead)
    knownHead(head, schema, place)
    return
  }
  // Who may not create schemas can still use one that was made for it.
  if (!found?.schema) await session.query(`CREATE SCHEMA ${schema}`)
  await session.query(`
    CREATE TABLE ${schema}.records (key text COLLATE "C" PRIMARY KEY, value text, revision bigint NOT NULL)`)
  await session.query(`CREATE INDEX records_by_revision ON ${schema}.records (revision, key)`)
  await session.query(`CREATE INDEX tombstones ON ${schema}.records (revision) WHERE value IS NULL`)
  await session.query(`
    CREATE TABLE ${schema}.leases (
      name text COLLATE "C" PRIMARY KEY, holder text NOT NULL, epoch bigint NOT NULL, expires_at_ms bigint NOT NULL)`)
  await session.query(`
    CREATE TABLE ${schema}.head (
      id int PRIMARY KEY CHECK (id = 1), version int NOT NULL, revision bigint NOT NULL, horizon bigint NOT NULL,
      tombstones bigint NOT NULL, epoch bigint NOT NULL)`)
  await session.query(`INSERT INTO ${schema}.head VALUES (1, ${schemaVersion}, 0, 0, 0, 0)`)
}

/** The head, unless a newer program has changed the tables, also while this one runs. */
export function knownHead(head: HeadRow | undefined, schema: string, place: string): Head {
  if (head === undefined) {
    throw failure('corrupt', `${place}: the head of ${schema} is missing`, 'Restore a checkpoint or a backup.')
  }
  if (head.version <= schemaVersion) return head
  const message = `${place}: ${schema} has store version ${head.version}, and this program knows up to ${schemaVersion}`
  throw failure('newer-version', message, 'Run the newer release again, or restore a copy from before its first start.')
}
