/**
 * Applies migrations to a server of our own: as a role that can log in for just this long, one caller at a time.
 *
 * Invariants: two at a time wait for each other; a migration can do what the app's owner can, never what the administrator
 * can, whatever it holds.
 */
import { randomPassword } from '../base/index.ts'
import type { Random } from '../base/index.ts'
import type { PreparePhase } from '../provider/index.ts'
import { moveMissed } from './carry.ts'
import { withSession } from './drivers/connection.ts'
import type { Session } from './drivers/connection.ts'
import { planMigrations, schemaName } from './migrations.ts'
import type { MigrationFile } from './migrations.ts'
import { migratorRole, passwordVerifier, quoteText } from './names.ts'
import type { DatabaseNames } from './names.ts'
import { readRecord, takeTurn } from './record.ts'
import { nobodyLooks, runMigrations } from './run.ts'
import type { Onlooker } from './run.ts'
import { asAdmin } from './server.ts'
import type { Server } from './server.ts'

export interface MigrationLimits {
  /** Most time a statement waits for a lock that another session holds. */
  readonly lockTimeoutMs: number
  /** Most time of one statement. */
  readonly statementTimeoutMs: number
}

/** Migrations for a server, and how far they are to go. */
export interface MigrationOrder {
  readonly server: Server
  readonly names: DatabaseNames
  readonly files: readonly MigrationFile[]
  readonly phase: PreparePhase
  readonly limits: MigrationLimits
  readonly random: Random
  /** Given the administrator's session, who looks on; nobody unless given. */
  readonly onlooker?: (admin: Session, migrator: Session) => Promise<Onlooker>
}

/** Applies what is due and answers the name of the schema. Throws `database.migration-*`. */
export async function applyMigrations(order: MigrationOrder): Promise<string | null> {
  const { server, names, files, limits } = order
  return await asAdmin(
    server,
    names.database,
    async (admin) => {
      await takeTurn(admin, server.name)
      const pending = planMigrations(files, await readRecord(admin), order.phase)
      if (pending.length > 0) {
        await asMigrator(admin, order, async (session) => {
          const onlooker = (await order.onlooker?.(admin, session)) ?? nobodyLooks
          await runMigrations({ record: admin, session, owner: names.owner, onlooker }, pending)
        })
      }
      await moveMissed(admin)
      return schemaName(files, await readRecord(admin))
    },
    // The lock is held while the migrations run in another session, so only waiting for it is limited.
    { lockTimeoutMs: limits.lockTimeoutMs, statementTimeoutMs: limits.lockTimeoutMs + 30_000 },
  )
}

/** A session as the migrator, who can log in for just this long: not the administrator's own, which `RESET ROLE` would bring back. */
export async function asMigrator<T>(
  admin: Session,
  { server, names, limits, random }: Pick<MigrationOrder, 'server' | 'names' | 'limits' | 'random'>,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const password = randomPassword(random)
  await admin.query(`alter role ${migratorRole} login password ${quoteText(passwordVerifier(password, random))}`)
  try {
    return await withSession(server, { user: migratorRole, password, database: names.database }, work, limits)
  } finally {
    await admin.query(`alter role ${migratorRole} nologin password null`).catch(() => undefined)
  }
}
