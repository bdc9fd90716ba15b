/**
 * The directory of an embedded store: an index in SQLite and the files of the objects beside it. Opening takes the index for
 * this process alone, makes it durable and refuses what is damaged, newer or foreign; a directory that is refused is left as
 * it is.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { isSteadError, messageOf, systemCodeOf } from '../../../base/index.ts'
import { failure } from '../../errors.ts'

const schemaVersion = 1
/** Marks the index as that of Stead's objects: "StOb" in ASCII. */
const applicationId = 0x53744f62

const schema = `
  CREATE TABLE buckets (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, created_ms INTEGER NOT NULL, versioning TEXT NOT NULL,
    locked INTEGER NOT NULL, settings TEXT NOT NULL
  ) STRICT;
  CREATE TABLE versions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL,
    latest INTEGER NOT NULL, marker INTEGER NOT NULL, bytes INTEGER NOT NULL, etag TEXT NOT NULL,
    modified_ms INTEGER NOT NULL, owner TEXT NOT NULL, info TEXT NOT NULL, segments TEXT NOT NULL,
    tags TEXT NOT NULL, lock TEXT NOT NULL, acl TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX versions_by_name ON versions (bucket, key, version);
  CREATE INDEX versions_in_order ON versions (bucket, key, seq DESC);
  CREATE UNIQUE INDEX versions_latest ON versions (bucket, key) WHERE latest = 1;
  CREATE TABLE blobs (hash TEXT PRIMARY KEY, bytes INTEGER NOT NULL, refs INTEGER NOT NULL, data BLOB) STRICT;
  CREATE TABLE uploads (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, created_ms INTEGER NOT NULL, owner TEXT NOT NULL,
    info TEXT NOT NULL, tags TEXT NOT NULL, lock TEXT NOT NULL, acl TEXT NOT NULL
  ) STRICT;
  CREATE INDEX uploads_in_order ON uploads (bucket, key, id);
  CREATE TABLE parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, bytes INTEGER NOT NULL, etag TEXT NOT NULL, modified_ms INTEGER NOT NULL,
    checksum TEXT, segments TEXT NOT NULL, PRIMARY KEY (upload, number)
  ) STRICT, WITHOUT ROWID;
  PRAGMA application_id = ${applicationId};
  PRAGMA user_version = ${schemaVersion};
`

/** A directory that has been opened. */
export interface Place {
  readonly db: DatabaseSync
  readonly dir: string
  /** Where files lie by the hash of their content. */
  readonly blobsDir: string
  /** Where files are written before they have a name; emptied at opening. */
  readonly incomingDir: string
}

/** Opens the directory, or makes it. Throws what `openEmbeddedObjects` says. */
export function openPlace(dir: string): Place {
  let db: DatabaseSync | undefined
  try {
    const [blobsDir, incomingDir] = [join(dir, 'blobs'), join(dir, 'incoming')]
    for (const made of [dir, blobsDir, incomingDir]) mkdirSync(made, { recursive: true, mode: 0o700 })
    db = new DatabaseSync(join(dir, 'index.db'))
    // The lock comes first: nothing is looked at, let alone changed, that another process may be writing.
    db.exec('PRAGMA locking_mode = EXCLUSIVE')
    refuseForeign(db, dir)
    makeDurable(db, dir)
    const found = db.prepare('PRAGMA quick_check(1)').get()?.['quick_check']
    if (found !== 'ok') throw corrupt(dir, String(found))
    if (numberIn(db, 'PRAGMA user_version') === 0) db.exec(`BEGIN IMMEDIATE; ${schema} COMMIT`)
    return { db, dir, blobsDir, incomingDir }
  } catch (error) {
    db?.close()
    throw placeFailure(error, dir)
  }
}

function refuseForeign(db: DatabaseSync, dir: string): void {
  const version = numberIn(db, 'PRAGMA user_version')
  if (version === 0 && numberIn(db, 'SELECT count(*) FROM sqlite_schema') === 0) return
  if (numberIn(db, 'PRAGMA application_id') !== applicationId) {
    throw failure('foreign', `${dir} holds a database of something else`, 'Give the objects a directory of their own.')
  }
  if (version > schemaVersion) {
    const message = `${dir} has version ${version}, and this program knows up to ${schemaVersion}`
    throw failure(
      'newer-version',
      message,
      'Run the newer release again, or restore a copy from before its first start.',
    )
  }
}

function makeDurable(db: DatabaseSync, dir: string): void {
  const mode = db.prepare('PRAGMA journal_mode = WAL').get()?.['journal_mode']
  db.exec('PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864')
  db.exec('PRAGMA cache_size = -16384')
  if (mode === 'wal' && numberIn(db, 'PRAGMA synchronous') === 2) return
  const message = `the index in ${dir} cannot be made durable: journal mode ${String(mode)}`
  throw failure('not-durable', message, 'Put the directory on a local disk with a usual file system.')
}

function numberIn(db: DatabaseSync, sql: string): number {
  const found = Object.values(db.prepare(sql).get() ?? {})[0]
  return typeof found === 'number' ? found : 0
}

function corrupt(dir: string, found: string, cause?: unknown): Error {
  const hint = 'Keep the directory for a look, and restore a checkpoint or a backup in its place.'
  return failure('corrupt', `the index in ${dir} is damaged: ${found}`, hint, cause)
}

/** What SQLite or the file system threw, as an error of the room; anything unforeseen as it is. */
export function placeFailure(error: unknown, dir: string): unknown {
  if (isSteadError(error)) return error
  const message = messageOf(error)
  const system = systemCodeOf(error)
  const primary =
    error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : undefined
  if (system === 'ENOSPC' || system === 'EDQUOT' || primary === 13) {
    return failure('disk-full', `the disk of ${dir} is full; nothing was written`, 'Make room, then try again.', error)
  }
  if (primary === 5 || primary === 6) {
    return failure('in-use', `${dir} is open in another process`, 'Stop that process, or use another directory.', error)
  }
  if (primary === 11 || primary === 26) return corrupt(dir, message, error)
  if (primary === 10 || system === 'EIO') {
    return failure('unavailable', `${dir} cannot be read or written: ${message}`, 'Look at the disk.', error)
  }
  if (primary === 8 || primary === 14 || system === 'EACCES' || system === 'ENOTDIR' || system === 'EROFS') {
    return failure('cannot-open', `${dir} cannot be opened: ${message}`, 'Look at the directory and its rights.', error)
  }
  return error
}
