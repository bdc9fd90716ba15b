/**
 * The one door to a running server: sessions over its Unix socket, or over the network where it is hosted elsewhere.
 *
 * Invariants: a session ends with the work it was opened for; connecting and every statement have a time limit; nothing of
 * this process's own environment (PGOPTIONS and the like) reaches the session.
 */
import { Client, DatabaseError } from 'pg'
import type { QueryResultRow } from 'pg'

/** Where a server listens. */
export interface ServerAddress {
  /** Directory of its socket, or the name of its host. */
  readonly socketDir: string
  readonly port: number
  /** required: encrypted, and the server proves its name. Off unless given: a socket of this machine needs none. */
  readonly tls?: 'required' | 'off'
}

export interface Login {
  readonly user: string
  readonly password: string
  readonly database: string
}

export interface SessionLimits {
  readonly connectTimeoutMs: number
  /** Most time of one statement. */
  readonly statementTimeoutMs: number
  /** Most time a statement waits for a lock. */
  readonly lockTimeoutMs: number
}

export interface Session {
  /** Runs one statement. With values it is prepared; without, it is sent as it is. */
  query<Row extends QueryResultRow = QueryResultRow>(text: string, values?: readonly unknown[]): Promise<readonly Row[]>
}

/** What the server says when it refuses: the fields of its error report that we use. */
export interface ServerRefusal {
  /** SQLSTATE. */
  readonly sqlState: string
  readonly message: string
  readonly detail: string | null
  readonly hint: string | null
  /** Position in the statement in characters from 1. */
  readonly position: number | null
  /** Name of the constraint that does not hold. */
  readonly constraint: string | null
}

const defaultLimits: SessionLimits = { connectTimeoutMs: 10_000, statementTimeoutMs: 60_000, lockTimeoutMs: 10_000 }

/** Opens a session, does the work, and closes it, whatever the end. Throws what the server or the socket says. */
export async function withSession<T>(
  address: ServerAddress,
  login: Login,
  work: (session: Session) => Promise<T>,
  limits: Partial<SessionLimits> = {},
): Promise<T> {
  const { connectTimeoutMs, statementTimeoutMs, lockTimeoutMs } = { ...defaultLimits, ...limits }
  const client = new Client({
    host: address.socketDir,
    port: address.port,
    ...login,
    ssl: address.tls === 'required' ? {} : false,
    application_name: 'stead',
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: statementTimeoutMs + 5_000,
    options: `-c statement_timeout=${statementTimeoutMs} -c lock_timeout=${lockTimeoutMs} -c search_path=public`,
  })
  // A server that goes away between two statements is told by the next statement; without a listener it would end the process.
  client.on('error', () => undefined)
  try {
    await client.connect()
    return await work({
      query: async <Row extends QueryResultRow>(text: string, values?: readonly unknown[]) =>
        (await client.query<Row>(text, values === undefined ? undefined : [...values])).rows,
    })
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** The server's own words in an error, or null when the error is not the server's. */
export function refusalOf(error: unknown): ServerRefusal | null {
  if (!(error instanceof DatabaseError)) return null
  return {
    sqlState: error.code ?? '',
    message: error.message,
    detail: error.detail ?? null,
    hint: error.hint ?? null,
    position: error.position === undefined ? null : Number(error.position),
    constraint: error.constraint ?? null,
  }
}

/** Whether the server has ended the session or takes none now (class 57P), rather than refused a statement. */
export function isEnd({ sqlState }: Pick<ServerRefusal, 'sqlState'>): boolean {
  return sqlState.startsWith('57P')
}

/** Whether a refusal may pass by itself: the server ends or starts, lacks room or connections, or others are in the way. */
export function mayPass({ sqlState }: Pick<ServerRefusal, 'sqlState'>): boolean {
  return /^(?:08|40|53|55P03|57P)/.test(sqlState)
}
