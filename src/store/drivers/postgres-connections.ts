/**
 * Connections to the primary, each checked and set up before its first use, and what PostgreSQL's failures mean here. A
 * transaction that failed before COMMIT was sent has changed nothing; one whose COMMIT was not answered with a plain yes
 * is `store.outcome-unknown`. Every wait is bounded.
 */
import type { Pool, PoolClient, PoolConfig, QueryResultRow } from 'pg'
import { messageOf } from '../../base/index.ts'
import { failure } from '../errors.ts'

const connectTimeoutMs = 5_000
/** How long a writer waits for the writers before it. */
const lockTimeoutMs = 10_000
/** After this the server ends a transaction whose client has fallen silent, so that the others can go on. */
const idleInTransactionMs = 20_000
/** After this we give a connection up. Longer than all the server's own limits. */
const answerTimeoutMs = 30_000
const connectionsMax = 4
/** The number of the type bigint, the same in every PostgreSQL. */
const bigintType = 20

/** What we read of a notice. */
interface Notice {
  readonly code?: string | undefined
  readonly message?: string | undefined
}

/** One connection while it is ours. Rows come with bigint as number: ours stay far below 2^53. */
export interface Session {
  query<R extends QueryResultRow>(text: string, values?: readonly unknown[]): Promise<readonly R[]>
}

interface Server extends QueryResultRow {
  readonly standby: boolean
  readonly fsync: string
  readonly encoding: string
}

// No statement_timeout: it would end a COMMIT that waits for a synchronous standby, and answer it with success.
const prepareSql = `
  SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '${lockTimeoutMs}', false),
    set_config('idle_in_transaction_session_timeout', '${idleInTransactionMs}', false),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit')
      WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false),
    pg_is_in_recovery() AS standby, current_setting('fsync') AS fsync, current_setting('server_encoding') AS encoding`

/** The client library, loaded when the first store is opened. */
export type Postgres = typeof import('pg')

/** How to reach a server, without the password, for messages. Throws `store.bad-input` for what is no URL. */
export function placeOf(url: string): string {
  if (!URL.canParse(url)) {
    // The text is not repeated: it may hold a password.
    throw failure(
      'bad-input',
      'the URL of the PostgreSQL store cannot be read',
      'Write postgres://user@host:port/database.',
    )
  }
  const { host, pathname, searchParams } = new URL(url)
  return `PostgreSQL at ${searchParams.get('host') ?? host}${pathname}`
}

/** Settings that every connection has. */
export function connectionSettings(pg: Postgres, url: string): PoolConfig {
  const types = new pg.TypeOverrides()
  types.setTypeParser(bigintType, Number)
  return {
    connectionString: url,
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: answerTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    application_name: 'stead-store',
    types,
  }
}

/** A few connections, made when needed. */
export class Connections {
  readonly place: string
  readonly #pg: Postgres
  readonly #pool: Pool
  readonly #prepared = new WeakSet<PoolClient>()

  constructor(pg: Postgres, url: string) {
    this.place = placeOf(url)
    this.#pg = pg
    this.#pool = new pg.Pool({ ...connectionSettings(pg, url), max: connectionsMax })
    // A connection that breaks says so to whoever uses it, and leaves the pool; the event adds nothing, but must be heard.
    this.#pool.on('error', () => {})
    this.#pool.on('connect', (client) => void client.on('error', () => {}))
  }

  /** Runs reads on one connection. Throws `store.unavailable` and what else `errorOf` knows. */
  read<T>(run: (session: Session) => Promise<T>): Promise<T> {
    return this.#using((client) => run(this.#session(client)))
  }

  /** Runs one transaction. Whatever it throws but `store.outcome-unknown`: nothing was changed. */
  write<T>(run: (session: Session) => Promise<T>): Promise<T> {
    return this.#using(async (client) => {
      const session = this.#session(client)
      await session.query('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE')
      const result = await run(session)
      await this.#commit(client)
      return result
    })
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    await this.#pool.end()
  }

  async #using<T>(use: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect().catch((error: unknown) => {
      throw this.errorOf(error)
    })
    let sound = false
    try {
      if (!this.#prepared.has(client)) await this.#prepare(client)
      const result = await use(client)
      sound = true
      return result
    } finally {
      // After any failure the connection is closed: the server takes back a transaction that is still open on it.
      client.release(!sound)
    }
  }

  async #prepare(client: PoolClient): Promise<void> {
    const [server] = await this.#session(client).query<Server>(prepareSql)
    if (server === undefined || server.standby) {
      const hint = 'Wait for the fail-over, or give the address that leads to the primary.'
      throw failure('unavailable', `${this.place} is a standby`, hint)
    }
    if (server.fsync !== 'on') {
      const message = `${this.place} runs with fsync ${server.fsync}: a power cut would lose what it has confirmed`
      throw failure('not-durable', message, 'Set fsync = on in its configuration.')
    }
    if (server.encoding !== 'UTF8') {
      const message = `the database of ${this.place} has the encoding ${server.encoding}`
      throw failure('cannot-open', message, "Create one with ENCODING 'UTF8'.")
    }
    this.#prepared.add(client)
  }

  #session(client: PoolClient): Session {
    return {
      query: async <R extends QueryResultRow>(text: string, values: readonly unknown[] = []) => {
        try {
          return (await client.query<R>(text, [...values])).rows
        } catch (error) {
          throw this.errorOf(error)
        }
      },
    }
  }

  /** Only a plain COMMIT without any warning is a yes: a cancelled wait for a standby is answered with a warning. */
  async #commit(client: PoolClient): Promise<void> {
    const warnings: string[] = []
    const onNotice = (notice: Notice): void => {
      if (notice.code !== '00000') warnings.push(notice.message ?? notice.code ?? 'a warning')
    }
    client.on('notice', onNotice)
    try {
      const { command } = await client.query('COMMIT')
      if (command !== 'COMMIT') warnings.push(`the answer was ${command}`)
      if (warnings.length > 0) throw new Error(warnings.join('; '))
    } catch (cause) {
      const message = `${this.place} did not say whether a commit was made: ${messageOf(cause)}`
      throw failure('outcome-unknown', message, 'Read the records to see, then go on from what is there.', cause)
    } finally {
      client.off('notice', onNotice)
    }
  }

  /** What `pg` threw before or outside of a COMMIT, as an error of the store; anything unforeseen as it is. */
  errorOf(error: unknown): unknown {
    const what = `${this.place}: ${messageOf(error)}`
    if (!(error instanceof this.#pg.DatabaseError)) {
      // Refused, reset, timed out: `pg` gives plain errors. Anything more special is a bug.
      if (!(error instanceof Error) || error instanceof TypeError || error instanceof RangeError) return error
      return failure('unavailable', what, 'Is the server running and reachable? Nothing was changed.', error)
    }
    const code = error.code ?? ''
    if (code === '53100') return failure('disk-full', what, "Make room on the server's disk, then try again.", error)
    if (/^(?:08|40|53|57|25006|25P03|55P03)/.test(code)) {
      return failure('unavailable', what, 'Nothing was changed; try again when the server is ready.', error)
    }
    if (/^(?:28|3D|42501)/.test(code)) {
      return failure('cannot-open', what, 'Look at the user, the password, the database and its rights.', error)
    }
    if (/^(?:XX00[12]|3F000|42P01)/.test(code)) {
      return failure('corrupt', what, 'Keep what is there for a look, and restore a checkpoint or a backup.', error)
    }
    if (code === '42703') return failure('foreign', what, 'Give the store a schema of its own.', error)
    return error
  }
}
