/**
 * Proves that a copy of the data can be used: a server starts on it, everything in it is read, and the app's own question
 * has an answer.
 *
 * Invariant: a page whose checksum does not hold is found wherever it lies in a table or an index, because every page of each
 * database is read through the server's own checks.
 */
import { SteadError } from '../base/index.ts'
import type { ProviderContext, Verification } from '../provider/index.ts'
import type { PostgresBinaries } from './binaries.ts'
import { refusalOf } from './drivers/connection.ts'
import type { Session } from './drivers/connection.ts'
import { maintenanceDatabase, shownName } from './names.ts'
import { ask, asReader } from './reader.ts'
import { chancePort, databaseOf, openServer, readerMemoryBytes, throwawaySettings } from './second.ts'
import { asAdmin } from './server.ts'
import type { Server } from './server.ts'

export interface VerifyOptions {
  readonly binaries: readonly PostgresBinaries[]
  /** Most time of one statement: of reading one table or index. */
  readonly statementTimeoutMs: number
}

/**
 * Checks the copy in `dataDir`. `probe` is one SELECT; it holds when it answers a row whose first value is neither null nor
 * false. Throws `database.corrupt` with the table or index, `database.probe-failed`, or what kept the server from starting.
 */
export async function verifyCopy(
  context: ProviderContext,
  probe: string | null,
  { binaries, statementTimeoutMs }: VerifyOptions,
): Promise<Verification> {
  const settings = { shared_buffers: '32MB', autovacuum: 'off', ...throwawaySettings }
  const how = { binaries, memoryBytes: readerMemoryBytes, settings, purpose: 'be verified' }
  await using server = await openServer(context, context.dataDir, chancePort(context.random), how)
  const checks = ['a server started on it and recovered']
  const databases = await asAdmin(server, maintenanceDatabase, (session) =>
    session.query<{ name: string; checksums: string }>(
      `select datname as name, current_setting('data_checksums') as checksums from pg_database where datallowconn order by 1`,
    ),
  )
  for (const { name } of databases) {
    checks.push(...(await checkDatabase(context.name, server, name, statementTimeoutMs)))
  }
  const isChecked = databases[0]?.checksums === 'on'
  checks.push(isChecked ? 'every page had the checksum it was written with' : 'the pages have no checksums')
  if (probe !== null) {
    await asReader(server, await databaseOf(context, server), context.random, { statementTimeoutMs }, (reader) =>
      checkProbe(reader, probe),
    )
    checks.push(`the probe holds: ${probe}`)
  }
  return { checks }
}

async function checkProbe(reader: Session, probe: string): Promise<void> {
  const [row] = await ask(reader, probe, { code: 'database.probe-failed', what: 'the probe failed' })
  const [first] = row === undefined ? [] : Object.values(row)
  if (first !== undefined && first !== null && first !== false) return
  throw new SteadError({
    code: 'database.probe-failed',
    message: `the probe does not hold: it answered ${row === undefined ? 'no row' : String(first)}`,
    hint: 'It holds when it answers a row whose first value is neither null nor false.',
  })
}

/** Reads every table and index of a database through the server's checks, and says so. */
async function checkDatabase(
  resource: string,
  server: Server,
  database: string,
  statementTimeoutMs: number,
): Promise<readonly string[]> {
  const limits = { statementTimeoutMs }
  return await asAdmin(
    server,
    database,
    async (session) => {
      const available = await session.query<{ name: string }>(
        `select name from pg_available_extensions where name in ('amcheck', 'pg_prewarm')`,
      )
      const has = (name: string): boolean => available.some((extension) => extension.name === name)
      for (const { name } of available) await session.query(`create extension if not exists ${name}`)
      const relations = await session.query<Relation>(relationsQuery)
      const unread: string[] = []
      for (const relation of relations) {
        const { kind, name } = relation
        const text = checkOf(relation, has('amcheck'), has('pg_prewarm'))
        if (text === null) {
          unread.push(name)
          continue
        }
        try {
          const [found] = await session.query<{ problem: string | null }>(text)
          if (found !== undefined && found.problem !== null)
            throw corrupt(resource, database, kind, name, found.problem)
        } catch (error) {
          const refusal = refusalOf(error)
          // Class XX: the data itself is not as it should be.
          if (refusal?.sqlState.startsWith('XX') !== true) throw error
          throw corrupt(resource, database, kind, name, refusal.message, error)
        }
      }
      const read = relations.filter(({ name }) => !unread.includes(name))
      const indexes = read.filter(({ kind }) => kind === 'index').length
      const deep = has('amcheck') ? 'and their structure holds' : 'without amcheck, which this PostgreSQL lacks'
      const sentence = `database ${database}: ${read.length - indexes} tables and ${indexes} indexes were read whole, ${deep}`
      return unread.length === 0
        ? [sentence]
        : [sentence, `database ${database}: not read, for want of pg_prewarm: ${unread.join(', ')}`]
    },
    limits,
  )
}

interface Relation extends Record<string, unknown> {
  readonly oid: string
  readonly name: string
  readonly kind: 'table' | 'index'
  readonly sql: string
  readonly method: string
  readonly toast: boolean
}

/** A query that reads all of a relation and answers what is damaged, or null; none where nothing can be done. */
function checkOf({ oid, kind, method, sql, toast }: Relation, amcheck: boolean, prewarm: boolean): string | null {
  if (amcheck && kind === 'table') {
    return `select format('block %s, item %s: %s', blkno, offnum, msg) as problem from verify_heapam(${oid}, check_toast => true) limit 1`
  }
  if (amcheck && method === 'btree') return `select null as problem from bt_index_check(${oid}::regclass, true)`
  if (prewarm) return `select null as problem from pg_prewarm(${oid}::regclass, 'buffer')`
  return kind === 'table' && !toast ? `select null as problem from (select count(*) from only ${sql}) counted` : null
}

/** All that has pages: tables with what they have moved out, and indexes that can be used. */
const relationsQuery = `
  select c.oid::text as oid, ${shownName} as name, case when c.relkind = 'i' then 'index' else 'table' end as kind,
      c.oid::regclass::text as sql, coalesce(m.amname, '') as method, c.relkind = 't' as toast
    from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_am m on m.oid = c.relam
    left join pg_index i on i.indexrelid = c.oid
    where c.relkind in ('r', 'm', 't', 'i') and c.relpersistence = 'p'
      and (c.relkind <> 'i' or i.indisvalid and i.indisready) and (c.relkind <> 'm' or c.relispopulated)
    order by c.oid`

function corrupt(
  resource: string,
  database: string,
  kind: string,
  name: string,
  problem: string,
  cause?: unknown,
): SteadError {
  return new SteadError({
    code: 'database.corrupt',
    message: `the copy of database ${resource} is damaged: ${kind} ${name} of ${database}: ${problem}`,
    hint: 'Use another copy, and find out whether what this one was made from is whole.',
    cause,
  })
}
