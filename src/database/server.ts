/**
 * What is done on a running server as administrator: wait for it, bring the app's database and roles into being, let
 * consumers in and out.
 *
 * Invariants: everything can be done again; a consumer is a role of its own that can log into one database and is in one
 * group; whoever is not in that group can do nothing there.
 */
import { SteadError, isSteadError, messageOf, sleep } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { Grant } from '../provider/index.ts'
import { isEnd, mayPass, refusalOf, withSession } from './drivers/connection.ts'
import type { ServerAddress, Session, SessionLimits } from './drivers/connection.ts'
import {
  adminRole,
  maintenanceDatabase,
  migratorRole,
  passwordVerifier,
  quoteName,
  quoteText,
  quoteUser,
} from './names.ts'
import type { DatabaseNames } from './names.ts'
import { ensureRecord } from './record.ts'

/** A server and the administrator's way in. */
export interface Server extends ServerAddress {
  /** The resource's name, for messages. */
  readonly name: string
  readonly adminPassword: string
}

/**
 * Runs work in a session of the administrator in one database. Throws `database.unreachable` when there is no answer or the
 * server ends the session, `database.refused` with the server's words when it refuses, and the work's own errors as they are.
 */
export async function asAdmin<T>(
  server: Server,
  database: string,
  work: (session: Session) => Promise<T>,
  limits: Partial<SessionLimits> = {},
): Promise<T> {
  try {
    return await withSession(server, { user: adminRole, password: server.adminPassword, database }, work, limits)
  } catch (cause) {
    if (isSteadError(cause)) throw cause
    const refusal = refusalOf(cause)
    throw new SteadError({
      code: refusal === null || isEnd(refusal) ? 'database.unreachable' : 'database.refused',
      message: `database ${server.name}: ${messageOf(cause)}`,
      hint: refusal?.hint ?? refusal?.detail ?? 'See whether the database runs, and what it has written.',
      retry: refusal === null || mayPass(refusal) ? 'later' : 'never',
      cause,
    })
  }
}

/** Key of the advisory lock under which roles, rights and migrations are changed: one change at a time. */
const changeLock = 'select pg_advisory_lock(7598811)'

/** The ledger of what the app has done to the outside world. Any language can keep it; `stead/effects` does for TypeScript. */
const ledgerTable = `create table if not exists stead.effects (
  key text primary key,
  kind text not null,
  what text not null,
  payload jsonb,
  compensation text,
  state text not null check (state in ('planned', 'sending', 'sent', 'failed', 'compensated')),
  generation bigint not null default 1,
  created_at timestamptz not null default now(),
  sending_at timestamptz,
  sent_at timestamptz,
  attempts int not null default 0,
  result jsonb,
  abandoned_by_generation bigint)`

/** The generations of the data that something was carried into. */
const generationsTable = `create table if not exists stead.generations
  (generation bigint primary key, carried_at timestamptz not null default now())`

/** Where sequences stood that are not there now, because what made them was undone. */
const missedSequencesTable = `create table if not exists stead.missed_sequences
  (name text primary key, last text, increment text not null, min text not null, max text not null)`

/** What is known of a server that does not answer yet. */
export interface ServerWatch {
  /** Whether it is gone, so that waiting is in vain. */
  hasEnded(): boolean
  /** Its last lines. */
  output(): Promise<string>
}

/**
 * Waits until the server answers. Throws `database.not-ready` with the last words of the server or the socket and with
 * its output; at once when the server is gone or refuses the administrator, because waiting does not mend that.
 */
export async function waitUntilReady(
  server: Server,
  clock: Clock,
  timeoutMs: number,
  watch: ServerWatch,
): Promise<void> {
  const login = { user: adminRole, password: server.adminPassword, database: maintenanceDatabase }
  const deadlineMs = clock.monotonicMs() + timeoutMs
  for (let pauseMs = 20; ; pauseMs = Math.min(pauseMs * 2, 250)) {
    const leftMs = Math.max(Math.ceil(deadlineMs - clock.monotonicMs()), 100)
    const failure = await withSession(server, login, (session) => session.query('select 1'), {
      connectTimeoutMs: leftMs,
      statementTimeoutMs: leftMs,
    }).then(
      () => null,
      (error: unknown) => ({ error }),
    )
    if (failure === null) return
    const inVain = watch.hasEnded() || refusalOf(failure.error)?.sqlState.startsWith('28') === true
    if (inVain || clock.monotonicMs() + pauseMs >= deadlineMs) {
      throw await notReady(server, inVain ? '' : ` after ${timeoutMs} ms`, failure.error, watch)
    }
    await sleep(clock, pauseMs)
  }
}

async function notReady(server: Server, after: string, cause: unknown, watch: ServerWatch): Promise<SteadError> {
  const lines = (await watch.output()).trimEnd().split('\n').slice(-10).join('\n')
  return new SteadError({
    code: 'database.not-ready',
    message: `database ${server.name} does not answer${after}: ${messageOf(cause)}`,
    hint: lines === '' ? 'It has written nothing; it may not have been started.' : `Its last lines:\n${lines}`,
    retry: after === '' ? 'never' : 'later',
    cause,
  })
}

/** Makes the app's database, its owner, group and migrator, and the rights between them, as far as they are missing. */
export async function ensureDatabase(server: Server, names: DatabaseNames): Promise<void> {
  const [database, owner, group] = [names.database, names.owner, names.group].map(quoteName)
  await asAdmin(server, maintenanceDatabase, async (session) => {
    await session.query(changeLock)
    for (const role of [names.owner, names.group, migratorRole]) {
      if (!(await roleExists(session, role))) await session.query(`create role ${quoteName(role)} nologin`)
    }
    await session.query(`grant ${owner} to ${migratorRole}`)
    const found = await session.query('select 1 from pg_database where datname = $1', [names.database])
    if (found.length === 0) await session.query(`create database ${database} owner ${owner}`)
    await session.query(`revoke all on database ${database}, ${maintenanceDatabase}, template1 from public`)
    await session.query(`grant connect, temporary on database ${database} to ${group}, ${migratorRole}`)
  })
  await asAdmin(server, names.database, async (session) => {
    await inTransaction(session, [
      `alter schema public owner to ${owner}`,
      'revoke all on schema public from public',
      `grant usage on schema public to ${group}`,
      `grant select, insert, update, delete on all tables in schema public to ${group}`,
      `grant usage, select, update on all sequences in schema public to ${group}`,
      `grant execute on all routines in schema public to ${group}`,
      `alter default privileges for role ${owner} revoke execute on routines from public`,
      `alter default privileges for role ${owner} in schema public grant select, insert, update, delete on tables to ${group}`,
      `alter default privileges for role ${owner} in schema public grant usage, select, update on sequences to ${group}`,
      `alter default privileges for role ${owner} in schema public grant execute on routines to ${group}`,
    ])
    await ensureRecord(session)
    await inTransaction(session, [
      ledgerTable,
      generationsTable,
      missedSequencesTable,
      `grant usage on schema stead to ${migratorRole}, ${owner}, ${group}`,
      `grant select, insert on stead.migrations to ${migratorRole}`,
      `grant select, insert, update on stead.effects to ${owner}, ${group}`,
      `grant select on stead.generations to ${owner}, ${group}`,
    ])
  })
}

/**
 * Makes a consumer's role, or gives it its new password and rights. A consumer that keeps its own schema
 * (`ownsSchema`) acts as the owner: what it makes belongs to the app, not to it.
 */
export async function grantConsumer(
  server: Server,
  names: DatabaseNames,
  grant: Grant,
  options: { readonly ownsSchema: boolean; readonly random: Random },
): Promise<void> {
  const user = quoteUser(grant.user, names)
  const owner = quoteName(names.owner)
  const verifier = quoteText(passwordVerifier(grant.password, options.random))
  await asAdmin(server, names.database, async (session) => {
    const exists = await roleExists(session, grant.user)
    // Taking away what was never given is a warning in the server's log, at each start of every part.
    const owns = exists && (await isMember(session, names.owner, grant.user))
    await inTransaction(session, [
      ...(exists ? [] : [`create role ${user}`]),
      `alter role ${user} with login inherit nosuperuser nocreatedb nocreaterole noreplication nobypassrls password ${verifier}`,
      `grant ${quoteName(names.group)} to ${user}`,
      ...(options.ownsSchema ? [`grant ${owner} to ${user}`] : owns ? [`revoke ${owner} from ${user}`] : []),
      options.ownsSchema ? `alter role ${user} set role to ${quoteText(names.owner)}` : `alter role ${user} reset role`,
    ])
  })
}

/** Ends a consumer's connections and removes its role; what it owns goes to the app's owner. */
export async function revokeConsumer(server: Server, names: DatabaseNames, user: string): Promise<void> {
  const role = quoteUser(user, names)
  await asAdmin(server, names.database, async (session) => {
    if (!(await roleExists(session, user))) return
    await session.query(`alter role ${role} nologin`)
    await endConnections(session, server, user)
    await inTransaction(session, [
      `reassign owned by ${role} to ${quoteName(names.owner)}`,
      `drop owned by ${role}`,
      `drop role ${role}`,
    ])
  })
}

/** Ends sessions of a user who can no longer log in. One that was just logging in may show up late, hence the rounds. */
async function endConnections(session: Session, server: Server, user: string): Promise<void> {
  const roundsMax = 5
  for (let round = 0; round < roundsMax; round++) {
    const ended = await session.query(
      'select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = $1 and pid <> pg_backend_pid()',
      [user],
    )
    if (ended.length === 0) return
  }
  throw new SteadError({
    code: 'database.revoke-stuck',
    message: `database ${server.name}: connections of ${user} do not end`,
    hint: 'The user can no longer log in; restart the database to end what is left.',
    retry: 'later',
  })
}

async function roleExists(session: Session, role: string): Promise<boolean> {
  return (await session.query('select 1 from pg_roles where rolname = $1', [role])).length > 0
}

async function isMember(session: Session, role: string, member: string): Promise<boolean> {
  const rows = await session.query(
    'select 1 from pg_auth_members where roleid = $1::text::regrole and member = $2::text::regrole',
    [quoteName(role), quoteName(member)],
  )
  return rows.length > 0
}

/** One transaction, one at a time on this server; the closing of the session takes it back when a statement fails. */
async function inTransaction(session: Session, statements: readonly string[]): Promise<void> {
  await session.query(changeLock)
  await session.query('begin')
  for (const statement of statements) await session.query(statement)
  await session.query('commit')
}
