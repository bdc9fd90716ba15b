/**
 * Applies migrations: all that are due in one transaction, recorded in the same one.
 *
 * Invariants: either all of it holds or nothing does; two at a time wait for each other; a migration can do what the
 * app's owner can, never what the administrator can, whatever it holds.
 */
import { SteadError, randomPassword } from '../base/index.ts'
import type { Random } from '../base/index.ts'
import { refusalOf, withSession } from './drivers/connection.ts'
import type { Session } from './drivers/connection.ts'
import { migrationFailure, planMigrations } from './migrations.ts'
import type { AppliedMigration, MigrationFile, PendingMigration } from './migrations.ts'
import { migratorRole, passwordVerifier, quoteName, quoteText } from './names.ts'
import type { DatabaseNames } from './names.ts'
import { asAdmin } from './server.ts'
import type { Server } from './server.ts'

export interface MigrationLimits {
  /** Most time a statement waits for a lock that another session holds. */
  readonly lockTimeoutMs: number
  /** Most time of one statement. */
  readonly statementTimeoutMs: number
}

/** Applies what is due and answers its names. Throws `database.migration-*`; then nothing was changed. */
export async function applyMigrations(
  server: Server,
  names: DatabaseNames,
  files: readonly MigrationFile[],
  limits: MigrationLimits,
  random: Random,
): Promise<readonly string[]> {
  return await asAdmin(
    server,
    names.database,
    async (admin) => {
      await takeTurn(admin, server)
      const applied = await admin.query<{ name: string; sha256: string }>('select name, sha256 from stead.migrations')
      const pending = planMigrations(files, applied)
      if (pending.length === 0) return []
      await asMigrator(admin, server, names, limits, random, (session) => runAll(session, names, pending, applied))
      return pending.map(({ file }) => file.name)
    },
    // The lock is held while the migrations run in another session, so only waiting for it is limited.
    { lockTimeoutMs: limits.lockTimeoutMs, statementTimeoutMs: limits.lockTimeoutMs + 30_000 },
  )
}

async function takeTurn(admin: Session, server: Server): Promise<void> {
  try {
    await admin.query('select pg_advisory_lock(7598812)')
  } catch (cause) {
    if (refusalOf(cause)?.sqlState !== '55P03') throw cause
    throw new SteadError({
      code: 'database.migration-busy',
      message: `database ${server.name}: other migrations are running`,
      hint: 'Wait until they are done, and try again.',
      retry: 'later',
      cause,
    })
  }
}

/** A session as the migrator, who can log in for just this long: not the administrator's own, which `RESET ROLE` would bring back. */
async function asMigrator(
  admin: Session,
  server: Server,
  names: DatabaseNames,
  limits: MigrationLimits,
  random: Random,
  work: (session: Session) => Promise<void>,
): Promise<void> {
  const password = randomPassword(random)
  await admin.query(`alter role ${migratorRole} login password ${quoteText(passwordVerifier(password, random))}`)
  try {
    await withSession(server, { user: migratorRole, password, database: names.database }, work, limits)
  } finally {
    await admin.query(`alter role ${migratorRole} nologin password null`).catch(() => undefined)
  }
}

async function runAll(
  session: Session,
  names: DatabaseNames,
  pending: readonly PendingMigration[],
  applied: readonly AppliedMigration[],
): Promise<void> {
  await session.query('begin')
  for (const { file, statements } of pending) {
    // Each file starts from the same settings, whatever the one before it has set.
    await session.query('reset all')
    await session.query(`set role ${quoteName(names.owner)}`)
    for (const statement of statements) {
      try {
        await session.query(statement.text)
      } catch (error) {
        const refusal = refusalOf(error)
        throw refusal === null ? error : migrationFailure(file, statement, refusal, error)
      }
    }
    await session.query('reset role')
    await session.query('insert into stead.migrations (name, sha256) values ($1, $2)', [file.name, file.sha256])
  }
  try {
    await session.query('commit')
  } catch (error) {
    const refusal = refusalOf(error)
    if (refusal === null) throw error
    throw new SteadError({
      code: 'database.migration-failed',
      message: `after ${pending.map(({ file }) => file.name).join(', ')}, at commit: ${refusal.message}`,
      hint: [
        refusal.detail ?? '',
        `A deferred constraint does not hold. ${applied.length} earlier migrations stand; nothing was changed.`,
      ]
        .join(' ')
        .trim(),
      cause: error,
    })
  }
}
