/**
 * Names and credentials as SQL: which roles and which database an app has, and how text becomes SQL.
 *
 * Invariant: whatever a name or a password holds, it reaches the server as that name or a verifier of that password,
 * never as SQL; a password itself never reaches the server's log.
 */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { SteadError } from '../base/index.ts'
import type { Random } from '../base/index.ts'

/** The administrator, a superuser that only the platform uses. */
export const adminRole = 'stead_admin'

/** Runs migrations; can do what the owner can, and nothing else. */
export const migratorRole = 'stead_migrator'

/** The database that every server has; the platform looks in here before the app's own exists. */
export const maintenanceDatabase = 'postgres'

/** What stands in the server for one app. */
export interface DatabaseNames {
  readonly database: string
  /** Owns the database and all that migrations make; nobody logs in as it. */
  readonly owner: string
  /** The group of all consumers. */
  readonly group: string
}

/** Names for an app: dashes become underscores, and names that PostgreSQL keeps for itself get a prefix. */
export function namesOf(app: string): DatabaseNames {
  const plain = app.replaceAll('-', '_')
  const database = /^(?:pg_|stead|postgres$|template[01]$)/.test(plain) ? `app_${plain}` : plain
  return { database, owner: `${database}_owner`, group: `${database}_users` }
}

/** A name as an SQL identifier. Throws `database.bad-name` for what PostgreSQL would cut or cannot hold. */
export function quoteName(name: string): string {
  const bytes = Buffer.byteLength(name)
  if (bytes === 0 || bytes > 63 || name.includes('\0')) {
    throw new SteadError({
      code: 'database.bad-name',
      message: `PostgreSQL cannot hold the name ${JSON.stringify(name.slice(0, 80))}: it has ${bytes} bytes`,
      hint: 'A name has 1 to 63 bytes and no zero byte.',
    })
  }
  return `"${name.replaceAll('"', '""')}"`
}

/** A consumer's login as an SQL identifier. Throws `database.bad-user` for a name that is not a consumer's to have. */
export function quoteUser(user: string, names: DatabaseNames): string {
  const taken = [adminRole, migratorRole, names.owner, names.group, 'public', 'none']
  if (taken.includes(user) || user.startsWith('pg_')) {
    throw new SteadError({
      code: 'database.bad-user',
      message: `a consumer of database ${names.database} cannot be called ${user}: the name is reserved`,
      hint: 'Give the consumer another user name.',
    })
  }
  return quoteName(user)
}

/** SQL for the name of a table to show, from its rows c in pg_class and n in pg_namespace: without the schema that is everybody's. */
export const shownName = `case when n.nspname = 'public' then c.relname else n.nspname || '.' || c.relname end`

/** Text as an SQL string. */
export function quoteText(text: string): string {
  const doubled = text.replaceAll("'", "''")
  return doubled.includes('\\') ? ` E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`
}

/**
 * What the server keeps of a password (SCRAM-SHA-256, RFC 5803). Made on this side, so that no statement carries the
 * password, and none can be found in the server's log.
 */
export function passwordVerifier(password: string, random: Random): string {
  const iterations = 4096
  const salt = random.bytes(16)
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, iterations, 32, 'sha256')
  const keyed = (text: string): Buffer => createHmac('sha256', salted).update(text).digest()
  const storedKey = createHash('sha256').update(keyed('Client Key')).digest('base64')
  const encodedSalt = Buffer.from(salt).toString('base64')
  return `SCRAM-SHA-256$${iterations}:${encodedSalt}$${storedKey}:${keyed('Server Key').toString('base64')}`
}
