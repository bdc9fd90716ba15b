/**
 * Opening the file of a SQLite store: locked for this process, durable, undamaged, and of a version we know; or refused
 * and left as it is. Also what SQLite's error codes mean here.
 */
import { closeSync, existsSync, openSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { isSteadError, messageOf, systemCodeOf } from '../../base/index.ts'
import { failure } from '../errors.ts'

const schemaVersion = 1
/** Marks the file as a Stead store: "Stea" in ASCII. */
const applicationId = 0x53746561

const schema = `
  CREATE TABLE records (key TEXT PRIMARY KEY, value TEXT, revision INTEGER NOT NULL) STRICT;
  CREATE INDEX records_by_revision ON records (revision, key);
  CREATE INDEX tombstones ON records (revision) WHERE value IS NULL;
  CREATE TABLE leases (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, epoch INTEGER NOT NULL, expires_at_ms INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, horizon INTEGER NOT NULL,
    tombstones INTEGER NOT NULL, epoch INTEGER NOT NULL
  ) STRICT;
  INSERT INTO head VALUES (1, 0, 0, 0, 0);
  PRAGMA application_id = ${applicationId};
  PRAGMA user_version = ${schemaVersion};
`

/** Opens the file, or makes it. Throws as `openSqliteStore` says. */
export function openStoreFile(path: string): DatabaseSync {
  let db: DatabaseSync | undefined
  try {
    makePrivate(path)
    db = new DatabaseSync(path)
    // The lock comes first: nothing is looked at, let alone changed, that another process may be writing.
    db.exec('PRAGMA locking_mode = EXCLUSIVE')
    refuseForeign(db, path)
    makeDurable(db, path)
    checkIntegrity(db, path)
    if (numberIn(db, 'PRAGMA user_version') === 0) db.exec(`BEGIN IMMEDIATE; ${schema} COMMIT`)
    return db
  } catch (error) {
    db?.close()
    throw sqliteFailure(error, path, false)
  }
}

/**
 * Makes a new file readable for its owner alone. A file that exists is never opened here: closing it again would drop the
 * locks that another connection of this process holds on it.
 */
function makePrivate(path: string): void {
  if (!existsSync(path)) closeSync(openSync(path, 'ax', 0o600))
}

function refuseForeign(db: DatabaseSync, path: string): void {
  const version = numberIn(db, 'PRAGMA user_version')
  const objects = numberIn(db, 'SELECT count(*) FROM sqlite_schema')
  if (objects === 0 && version === 0) return
  if (numberIn(db, 'PRAGMA application_id') !== applicationId) {
    const hint = 'Give the store a file of its own.'
    throw failure('foreign', `${path} is a SQLite database, but not one of a store`, hint)
  }
  if (version > schemaVersion) {
    const message = `${path} has store version ${version}, and this program knows up to ${schemaVersion}`
    throw failure(
      'newer-version',
      message,
      'Run the newer release again, or restore a copy from before its first start.',
    )
  }
}

function makeDurable(db: DatabaseSync, path: string): void {
  db.exec(
    'PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864; PRAGMA secure_delete = ON',
  )
  const mode = db.prepare('PRAGMA journal_mode = WAL').get()?.journal_mode
  const synchronous = numberIn(db, 'PRAGMA synchronous')
  if (mode === 'wal' && synchronous === 2) return
  const message = `${path} cannot be made durable: journal mode ${String(mode)}, synchronous ${synchronous}`
  throw failure('not-durable', message, 'Put the file on a local disk with a usual file system.')
}

function checkIntegrity(db: DatabaseSync, path: string): void {
  const found = db.prepare('PRAGMA quick_check(1)').get()?.quick_check
  if (found !== 'ok') throw corrupt(path, String(found).split('\n').at(-1) ?? '')
}

function corrupt(path: string, found: string, cause?: unknown): Error {
  const hint = `Keep the file (with its -wal) for a look, and restore a checkpoint or a backup in its place.`
  return failure('corrupt', `${path} is damaged: ${found}`, hint, cause)
}

function numberIn(db: DatabaseSync, sql: string): number {
  const found = Object.values(db.prepare(sql).get() ?? {})[0]
  return typeof found === 'number' ? found : 0
}

/** What SQLite threw, as an error of the store; anything unforeseen as it is. `committing`: whether COMMIT had been sent. */
export function sqliteFailure(error: unknown, path: string, committing: boolean): unknown {
  if (isSteadError(error)) return error
  const message = messageOf(error)
  const primary = primaryCodeOf(error)
  if (primary === undefined && systemCodeOf(error) === undefined) return error
  switch (primary) {
    case 5: // SQLITE_BUSY
    case 6: // SQLITE_LOCKED
      return failure('in-use', `${path} is open in another process`, 'Stop that process, or use another file.', error)
    case 11: // SQLITE_CORRUPT
    case 26: // SQLITE_NOTADB
      return corrupt(path, message, error)
    case 13: // SQLITE_FULL: the commit record is written last, so nothing of the group can come back
      return failure(
        'disk-full',
        `the disk of ${path} is full; nothing was written`,
        'Make room, then try again.',
        error,
      )
    case 10: // SQLITE_IOERR
      if (committing) {
        const hint = 'Read the records to see, and look at the disk: a failed write is often the first sign.'
        return failure('outcome-unknown', `a commit to ${path} may or may not be on the disk: ${message}`, hint, error)
      }
      return failure('unavailable', `${path} cannot be read or written: ${message}`, 'Look at the disk.', error)
    case undefined:
    case 8: // SQLITE_READONLY
    case 14: // SQLITE_CANTOPEN
      return failure('cannot-open', `${path} cannot be opened: ${message}`, 'Look at the folder and its rights.', error)
    default:
      return error
  }
}

function primaryCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error && 'errcode' in error && typeof error.errcode === 'number')) return undefined
  return error.errcode & 0xff
}
