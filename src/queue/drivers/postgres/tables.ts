/** The tables of queues in PostgreSQL, what a server must be like, and what its failures mean here. */
import type { PoolClient } from 'pg'
import { isSteadError, messageOf } from '../../../base/index.ts'
import type { Durability } from '../../driver.ts'
import { failure } from '../../errors.ts'

const version = 1

/** States as in the ledger: 0 ready, 1 delayed, 2 held, 3 dead, 4 behind an earlier message of its key. */
function tablesOf(schema: string): string {
  return `
    CREATE SCHEMA IF NOT EXISTS ${schema};
    CREATE TABLE ${schema}.queues (name text PRIMARY KEY);
    CREATE TABLE ${schema}.messages (
      seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, queue text NOT NULL, id text NOT NULL, state smallint NOT NULL,
      priority smallint NOT NULL, attempts integer NOT NULL DEFAULT 0, at timestamptz NOT NULL, token bigint,
      key text, headers text, cause text, text_body text, body bytea, generation integer NOT NULL,
      sent_at timestamptz NOT NULL DEFAULT clock_timestamp()
    ) WITH (fillfactor = 70);
    CREATE INDEX ready ON ${schema}.messages (queue, priority DESC, seq) WHERE state = 0;
    CREATE INDEX timed ON ${schema}.messages (queue, at) WHERE state IN (1, 2);
    CREATE INDEX dead ON ${schema}.messages (queue, seq) WHERE state = 3;
    CREATE INDEX keyed ON ${schema}.messages (queue, key, seq) WHERE key IS NOT NULL AND state <> 3;
    CREATE TABLE ${schema}.dedup (
      queue text NOT NULL, key text NOT NULL, id text NOT NULL, until timestamptz NOT NULL, PRIMARY KEY (queue, key)
    );
    CREATE INDEX dedup_until ON ${schema}.dedup (until);
    CREATE SEQUENCE ${schema}.tokens;
    CREATE TABLE ${schema}.head (one boolean PRIMARY KEY CHECK (one), version integer NOT NULL, generation integer NOT NULL);
    INSERT INTO ${schema}.head VALUES (true, ${version}, 0);`
}

/** What a server says of itself. */
export interface ServerFacts {
  readonly version: string
  readonly durability: Durability
}

/** Makes the tables where they are not there and checks the server. Throws as `openPostgresQueues` says. */
export async function prepareTables(client: PoolClient, schema: string, generation: number): Promise<ServerFacts> {
  await client.query('BEGIN')
  // Many that open a new schema at once make it once.
  await client.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 7))', [`stead queues ${schema}`])
  const { rows: found } = await client.query<{ readonly head: string | null; readonly messages: string | null }>(
    'SELECT to_regclass($1)::text AS head, to_regclass($2)::text AS messages',
    [`${schema}.head`, `${schema}.messages`],
  )
  if (found[0]?.head === null && found[0].messages === null) await client.query(tablesOf(schema))
  const { rows } = await client.query<{ readonly version: number; readonly generation: number }>(
    `SELECT version, generation FROM ${schema}.head`,
  )
  const head = rows[0]
  if (head === undefined || head.version > version) {
    const message = `the schema ${schema} has queue version ${head?.version ?? '?'}, and this program knows up to ${version}`
    throw failure('newer-version', message, 'Run the newer release again.')
  }
  if (head.generation > generation) {
    const message = `the schema ${schema} has generation ${head.generation} of the data, and is opened for ${generation}`
    throw failure('stale-generation', message, 'The data went on without this process: start it anew.')
  }
  if (head.generation < generation) await client.query(`UPDATE ${schema}.head SET generation = $1`, [generation])
  await client.query('COMMIT')
  return factsOf(client)
}

async function factsOf(client: PoolClient): Promise<ServerFacts> {
  const { rows } = await client.query<Record<string, string>>(
    `SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,
       current_setting('synchronous_commit') AS commit, current_setting('synchronous_standby_names') AS standbys`,
  )
  const facts = rows[0] ?? {}
  const kept = facts['fsync'] === 'on' && facts['commit'] !== 'off'
  const replicated = kept && facts['standbys'] !== '' && ['on', 'remote_apply'].includes(facts['commit'] ?? '')
  return { version: facts['version'] ?? '', durability: replicated ? 'replicated' : kept ? 'fsync' : 'buffered' }
}

/** What the client threw, as an error of queues. `unknown`: whether something may have been committed. */
export function postgresFailure(error: unknown, place: string, unknown: boolean): unknown {
  if (isSteadError(error)) return error
  const message = messageOf(error)
  // What the server says has a severity; the client and the system throw plain errors; anything else is a bug of ours.
  const said = error instanceof Error && 'severity' in error
  const code = said && 'code' in error ? String(error.code) : ''
  if (!said && !(error instanceof Error && error.constructor === Error)) return error
  if (['28P01', '28000', '42501', '3D000'].includes(code)) {
    return failure(
      'not-authorized',
      `${place} refuses: ${message}`,
      'Look at the user, its password and rights, and at the name of the database.',
      error,
    )
  }
  if (code === '53100') return failure('disk-full', `the disk of ${place} is full`, 'Make room, then try again.', error)
  if (['3F000', '42P01', '42703', '42P07'].includes(code)) {
    return failure(
      'foreign',
      `the tables of ${place} are not those of queues: ${message}`,
      'Give them a schema of their own.',
      error,
    )
  }
  // Serialization, deadlock, lock timeout: nothing was done. So it is with a server that shuts down or was not reached.
  if (!said || /^(?:40|55P03|57|53|08)/.test(code)) {
    return unknown && !/^(?:40|55P03)/.test(code)
      ? failure('outcome-unknown', `${place} did not answer to a commit: ${message}`, 'It may have happened.', error)
      : failure('unavailable', `${place} does not answer: ${message}`, 'See whether it runs and can be reached.', error)
  }
  return error
}
