/**
 * Questions that somebody else has written, put to data that is not live: as a role that can read the app's tables and do
 * nothing else, one statement at a time, in a transaction that cannot write.
 */
import { SteadError, randomPassword } from '../base/index.ts'
import type { Random } from '../base/index.ts'
import { refusalOf, withSession } from './drivers/connection.ts'
import type { Session, SessionLimits } from './drivers/connection.ts'
import { passwordVerifier, quoteText } from './names.ts'
import { asAdmin } from './server.ts'
import type { Server } from './server.ts'
import { splitStatements } from './sql.ts'

const readerRole = 'stead_reader'

/** Runs work as a reader of one database of a second server. The role is made there, and can log in for just this long. */
export async function asReader<T>(
  server: Server,
  database: string,
  random: Random,
  limits: Partial<SessionLimits>,
  work: (reader: Session) => Promise<T>,
): Promise<T> {
  const password = randomPassword(random)
  await asAdmin(server, database, async (admin) => {
    const found = await admin.query('select 1 from pg_roles where rolname = $1', [readerRole])
    if (found.length === 0) await admin.query(`create role ${readerRole}`)
    await admin.query(
      `alter role ${readerRole} login bypassrls password ${quoteText(passwordVerifier(password, random))}`,
    )
    const schemas = await admin.query<{ name: string; database: string }>(
      `select quote_ident(nspname) as name, quote_ident(current_database()) as database from pg_namespace
         where nspname !~ '^pg_' and nspname not in ('information_schema', 'stead')`,
    )
    for (const { name, database: own } of schemas) {
      await admin.query(`grant connect on database ${own} to ${readerRole}`)
      await admin.query(`grant usage on schema ${name} to ${readerRole}`)
      await admin.query(`grant select on all tables in schema ${name} to ${readerRole}`)
    }
  })
  try {
    return await withSession(
      server,
      { user: readerRole, password, database },
      async (session) => {
        await session.query('begin isolation level repeatable read, read only')
        return await work(session)
      },
      limits,
    )
  } finally {
    // The copy may become live one day.
    await asAdmin(server, database, (admin) => admin.query(`alter role ${readerRole} nologin password null`)).catch(
      () => undefined,
    )
  }
}

/** Runs one statement with somebody else's words in it. Throws `code` with the server's own words. */
export async function ask<Row extends Record<string, unknown>>(
  reader: Session,
  text: string,
  refusal: { readonly code: string; readonly what: string },
): Promise<readonly Row[]> {
  const refuse = (why: string, hint: string, cause?: unknown): SteadError =>
    new SteadError({ code: refusal.code, message: `${refusal.what}: ${why}`, hint, cause })
  if (splitStatements(text).length !== 1) throw refuse('it is not one statement', 'Leave the semicolon out.')
  try {
    return await reader.query<Row>(text)
  } catch (error) {
    const said = refusalOf(error)
    if (said === null) throw error
    throw refuse(said.message, said.hint ?? said.detail ?? 'It can read tables of the app, and nothing else.', error)
  }
}
