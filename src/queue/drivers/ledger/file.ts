/**
 * Opening the file of the embedded queues: locked for this process, durable, undamaged, of a version and a generation we may
 * write; or refused and left as it is. Also what SQLite's error codes mean here. Each opening has a number of its own, which
 * receipts carry: those of an earlier opening are void, because their holders are gone.
 */
import { closeSync, existsSync, openSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { isSteadError, messageOf, systemCodeOf } from '../../../base/index.ts'
import { failure } from '../../errors.ts'

const schemaVersion = 1
/** Marks the file as Stead's queues: "SteQ" in ASCII. */
const applicationId = 0x53746551

/**
 * `messages` has what is wide and written once; `standing` what changes, in rows so narrow that a change of a thousand of them
 * is a few pages. States: 0 ready, 1 delayed, 2 held, 3 dead, 4 behind an earlier message of its key. `keyed` has the
 * messages of a key that are not settled, in their order; all but the first are behind.
 */
const schema = `
  CREATE TABLE queues (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE messages (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL, generation INTEGER NOT NULL, sent_at_ms INTEGER NOT NULL, key TEXT,
    headers TEXT, cause TEXT, body ANY NOT NULL
  ) STRICT;
  CREATE TABLE standing (
    seq INTEGER PRIMARY KEY, queue INTEGER NOT NULL, state INTEGER NOT NULL, priority INTEGER NOT NULL,
    attempts INTEGER NOT NULL, at_ms INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX ready ON standing (queue, priority DESC, seq) WHERE state = 0;
  CREATE INDEX delayed ON standing (at_ms, seq) WHERE state = 1;
  CREATE INDEX dead ON standing (queue, seq) WHERE state = 3;
  CREATE INDEX behind ON standing (queue, seq) WHERE state = 4;
  CREATE TABLE keyed (queue INTEGER NOT NULL, key TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (queue, key, seq))
    STRICT, WITHOUT ROWID;
  CREATE TABLE dedup (
    queue INTEGER NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL, until_ms INTEGER NOT NULL, PRIMARY KEY (queue, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX dedup_until ON dedup (until_ms);
  CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 1), generation INTEGER NOT NULL, opening INTEGER NOT NULL) STRICT;
  INSERT INTO head VALUES (1, 0, 0);
  PRAGMA application_id = ${applicationId};
  PRAGMA user_version = ${schemaVersion};
`

/** Queues that hand out nothing until they are resumed. Made where it is not there: a release that does not know it hands out. */
const paused = 'CREATE TABLE IF NOT EXISTS paused (queue INTEGER PRIMARY KEY) STRICT'

/** An opened file. */
export interface LedgerFile {
  readonly db: DatabaseSync
  readonly path: string
  readonly generation: number
  readonly opening: number
}

/**
 * Opens the file, or makes it, for this generation of the data; null: the one that it has. What was held is ready again. Throws `queue.in-use`,
 * `queue.corrupt`, `queue.newer-version`, `queue.foreign`, `queue.stale-generation`, `queue.not-durable` or `queue.cannot-open`.
 */
export function openLedgerFile(path: string, generation: number | null): LedgerFile {
  let db: DatabaseSync | undefined
  try {
    if (!existsSync(path)) closeSync(openSync(path, 'ax', 0o600))
    db = new DatabaseSync(path)
    // The lock comes first: nothing is looked at, let alone changed, that another process may be writing.
    db.exec('PRAGMA locking_mode = EXCLUSIVE')
    refuseForeign(db, path)
    makeDurable(db, path)
    const found = db.prepare('PRAGMA quick_check(1)').get()?.quick_check
    if (found !== 'ok') throw corrupt(path, String(found).split('\n').at(-1) ?? '')
    return begin(db, path, generation)
  } catch (error) {
    db?.close()
    throw sqliteFailure(error, path, false)
  }
}

/** The same in memory: it is gone with the process. */
export function openLedgerMemory(): LedgerFile {
  return begin(new DatabaseSync(':memory:'), 'memory', 1)
}

function begin(db: DatabaseSync, path: string, wanted: number | null): LedgerFile {
  if (numberIn(db, 'PRAGMA user_version') === 0) db.exec(`BEGIN IMMEDIATE; ${schema} COMMIT`)
  const known = numberIn(db, 'SELECT generation FROM head')
  const generation = wanted ?? Math.max(1, known)
  if (generation < known) {
    const message = `${path} has generation ${known} of the data, and is opened for generation ${generation}`
    throw failure('stale-generation', message, 'The data went on without this process: start it anew.')
  }
  const opening = numberIn(db, 'SELECT opening FROM head') + 1
  db.exec(`BEGIN IMMEDIATE; ${paused}`)
  db.prepare('UPDATE head SET generation = ?, opening = ?').run(generation, opening)
  db.exec('UPDATE standing SET state = 0 WHERE state = 2; COMMIT')
  return { db, path, generation, opening }
}

function refuseForeign(db: DatabaseSync, path: string): void {
  const version = numberIn(db, 'PRAGMA user_version')
  if (numberIn(db, 'SELECT count(*) FROM sqlite_schema') === 0 && version === 0) return
  if (numberIn(db, 'PRAGMA application_id') !== applicationId) {
    throw failure(
      'foreign',
      `${path} is a SQLite database, but not one of queues`,
      'Give the queues a file of their own.',
    )
  }
  if (version > schemaVersion) {
    const message = `${path} has queue version ${version}, and this program knows up to ${schemaVersion}`
    throw failure('newer-version', message, 'Run the newer release again, or restore a copy from before it.')
  }
}

function makeDurable(db: DatabaseSync, path: string): void {
  // A checkpoint of the log for each 16 MB of it: a thousand pages, the usual number, is one for every few groups.
  db.exec(
    'PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192; PRAGMA journal_size_limit = 67108864',
  )
  const mode = db.prepare('PRAGMA journal_mode = WAL').get()?.journal_mode
  const synchronous = numberIn(db, 'PRAGMA synchronous')
  db.exec('PRAGMA wal_autocheckpoint = 4096')
  if (mode === 'wal' && synchronous === 2) return
  const message = `${path} cannot be made durable: journal mode ${String(mode)}, synchronous ${synchronous}`
  throw failure('not-durable', message, 'Put the file on a local disk with a usual file system.')
}

function corrupt(path: string, found: string, cause?: unknown): Error {
  const hint = 'Keep the file (with its -wal) for a look, and restore a checkpoint or a backup in its place.'
  return failure('corrupt', `${path} is damaged: ${found}`, hint, cause)
}

/** The first value of the first row, if it is a number; else 0. */
export function numberIn(db: DatabaseSync, sql: string): number {
  const found = Object.values(db.prepare(sql).get() ?? {})[0]
  return typeof found === 'number' ? found : 0
}

/** What SQLite threw, as an error of queues; anything unforeseen as it is. `committing`: whether COMMIT had been sent. */
export function sqliteFailure(error: unknown, path: string, committing: boolean): unknown {
  if (isSteadError(error)) return error
  const message = messageOf(error)
  const code =
    error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 255 : 0
  if (code === 0 && systemCodeOf(error) === undefined) return error
  switch (code) {
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
      return committing
        ? failure(
            'outcome-unknown',
            `a commit to ${path} may or may not be on the disk: ${message}`,
            'Look at the disk.',
            error,
          )
        : failure('unavailable', `${path} cannot be read or written: ${message}`, 'Look at the disk.', error)
    case 0:
    case 8: // SQLITE_READONLY
    case 14: // SQLITE_CANTOPEN
      return failure('cannot-open', `${path} cannot be opened: ${message}`, 'Look at the folder and its rights.', error)
    default:
      return error
  }
}
