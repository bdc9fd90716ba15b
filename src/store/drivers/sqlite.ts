/**
 * Records in one SQLite file: WAL, synchronous=FULL (both read back), one fsync for each group of commits. The file belongs
 * to one process, by SQLite's own exclusive lock, which the kernel drops when the process dies. What is answered as
 * committed is on the disk; a group is applied whole or not at all.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { assert, systemClock } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import { CommitQueue } from '../commit-queue.ts'
import type { Group } from '../commit-queue.ts'
import { readsOf, tombstonesKept } from '../draft.ts'
import type { Draft, Head, Loaded, Reads } from '../draft.ts'
import { storeOn } from '../driver.ts'
import type { Commit, Row, RowPage, StoreDriver } from '../driver.ts'
import { checkCursor } from '../errors.ts'
import { Hints } from '../hints.ts'
import { leaseClock } from '../lease-clock.ts'
import { endOfPrefix } from '../limits.ts'
import { pageOf, snapshotOf } from '../page.ts'
import { tombstonesMax } from '../store.ts'
import type { Lease, Store, StoreCapabilities, TransactionResult } from '../store.ts'
import { openStoreFile, sqliteFailure } from './sqlite-file.ts'

export interface SqliteStoreOptions {
  /** The database file; made when it is not there. Its folder must exist. */
  readonly path: string
  /** What leases expire by. Defaults to the machine's clock. */
  readonly clock?: Clock
  /** Deletions to remember; defaults to `tombstonesMax`. */
  readonly tombstonesMax?: number
}

/**
 * Opens the store in a file. Throws `store.in-use`, `store.corrupt`, `store.newer-version`, `store.foreign`,
 * `store.not-durable`, `store.disk-full` or `store.cannot-open`; a file that is refused is left as it is.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const hints = new Hints()
  return storeOn(new SqliteDriver(openStoreFile(options.path), options, hints), hints)
}

class SqliteDriver implements StoreDriver {
  readonly name = 'sqlite'
  readonly capabilities: StoreCapabilities = { durability: 'fsync', sharedByProcesses: false }
  readonly #db: DatabaseSync
  readonly #path: string
  readonly #hints: Hints
  readonly #nowMs: () => number
  readonly #tombstonesMax: number
  readonly #queue: CommitQueue
  readonly #statements = new Map<string, StatementSync>()

  constructor(db: DatabaseSync, options: SqliteStoreOptions, hints: Hints) {
    this.#db = db
    this.#path = options.path
    this.#hints = hints
    this.#tombstonesMax = options.tombstonesMax ?? tombstonesMax
    this.#nowMs = leaseClock(options.clock ?? systemClock)
    this.#queue = new CommitQueue(`sqlite (${options.path})`, (group) => this.#commit(group))
  }

  async get(key: string): Promise<Row | null> {
    return this.#reading(() => {
      // Taken apart, not stepped: a statement that is left in its middle would hold back the emptying of the log.
      const [row] = this.#rows('WHERE key = ? AND value IS NOT NULL', key)
      return row ?? null
    })
  }

  async list(prefix: string): Promise<{ readonly rows: readonly Row[]; readonly revision: number }> {
    const where = 'WHERE key >= ? AND key < ? AND value IS NOT NULL ORDER BY key'
    return this.#reading(() => ({
      rows: snapshotOf(this.#rows(where, prefix, endOfPrefix(prefix)), prefix),
      revision: this.#head().revision,
    }))
  }

  async listSince(prefix: string, cursor: number, limit: number): Promise<RowPage> {
    const where = 'WHERE revision > ? AND key >= ? AND key < ? ORDER BY revision, key'
    return this.#reading(() => {
      const head = this.#head()
      checkCursor(cursor, head)
      return pageOf(this.#rows(where, cursor, prefix, endOfPrefix(prefix)), head, limit)
    })
  }

  transact(commit: Commit): Promise<TransactionResult> {
    return this.#queue.submit(readsOf(commit), commit.bytes, (draft) => draft.transact(commit))
  }

  acquireLease(name: string, holder: string, ttlMs: number): Promise<Lease | null> {
    return this.#queue.submit({ keys: [], leases: [name] }, 0, (draft) => draft.acquireLease(name, holder, ttlMs))
  }

  releaseLease(name: string, epoch: number): Promise<void> {
    return this.#queue.submit({ keys: [], leases: [name] }, 0, (draft) => draft.releaseLease(name, epoch))
  }

  /** Freed space is overwritten as it is freed (`secure_delete`); what is left lies in the log, which is emptied here. */
  async scrub(): Promise<void> {
    await this.#queue.idle()
    this.#reading(() => this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)'))
  }

  async close(): Promise<void> {
    await this.#queue.idle()
    this.#db.close()
  }

  #commit(group: Group): void {
    let committing = false
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      const loaded = this.#load(group.reads)
      const draft = group.decide(loaded)
      if (!draft.isEmpty) this.#save(draft, loaded.nowMs)
      committing = true
      this.#db.exec('COMMIT')
      if (draft.rows.size > 0) this.#hints.changed(draft.rows.keys())
    } catch (error) {
      // SQLite has rolled back by itself after some failures; a transaction left open would block all that follow.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw sqliteFailure(error, this.#path, committing)
    }
  }

  #load({ keys, leases }: Reads): Loaded {
    const nowMs = this.#nowMs()
    const records = new Map<string, { revision: number; deleted: boolean }>()
    for (const key of keys) {
      const found = this.#prepared('SELECT revision, value IS NULL AS deleted FROM records WHERE key = ?').get(key)
      if (found !== undefined) {
        records.set(key, { revision: numberOf(found.revision), deleted: numberOf(found.deleted) === 1 })
      }
    }
    const held = new Map<string, Lease>()
    for (const name of leases) {
      const found = this.#prepared('SELECT holder, epoch, expires_at_ms FROM leases WHERE name = ?').get(name)
      if (found === undefined) continue
      const lease = { epoch: numberOf(found.epoch), expiresAtMs: numberOf(found.expires_at_ms) }
      held.set(name, { name, holder: String(found.holder), ...lease })
    }
    const count = this.#prepared('SELECT count(*) AS held FROM leases WHERE expires_at_ms > ?')
    const leasesHeld = leases.length === 0 ? 0 : numberOf(count.get(nowMs)?.held)
    return { head: this.#head(), nowMs, records, leases: held, leasesHeld }
  }

  #save(draft: Draft, nowMs: number): void {
    const put = this.#prepared('INSERT OR REPLACE INTO records (key, value, revision) VALUES (?, ?, ?)')
    for (const { key, text, revision } of draft.rows.values()) put.run(key, text, revision)
    if (draft.leases.size > 0) this.#saveLeases(draft.leases, nowMs)
    const { revision, horizon, tombstones, epoch } = this.#forgetDeletions(draft.head)
    const sql = 'UPDATE head SET revision = ?, horizon = ?, tombstones = ?, epoch = ?'
    this.#prepared(sql).run(revision, horizon, tombstones, epoch)
  }

  #saveLeases(leases: ReadonlyMap<string, Lease | null>, nowMs: number): void {
    for (const [name, lease] of leases) {
      if (lease === null) this.#prepared('DELETE FROM leases WHERE name = ?').run(name)
      else {
        const put = this.#prepared(
          'INSERT OR REPLACE INTO leases (name, holder, epoch, expires_at_ms) VALUES (?, ?, ?, ?)',
        )
        put.run(name, lease.holder, lease.epoch, lease.expiresAtMs)
      }
    }
    this.#prepared('DELETE FROM leases WHERE expires_at_ms <= ?').run(nowMs)
  }

  #forgetDeletions(head: Head): Head {
    if (head.tombstones <= this.#tombstonesMax) return head
    const nth = 'SELECT revision FROM records WHERE value IS NULL ORDER BY revision DESC LIMIT 1 OFFSET ?'
    const horizon = numberOf(this.#prepared(nth).get(tombstonesKept(this.#tombstonesMax))?.revision)
    const forget = this.#prepared('DELETE FROM records WHERE value IS NULL AND revision <= ?')
    return { ...head, horizon, tombstones: head.tombstones - Number(forget.run(horizon).changes) }
  }

  #head(): Head {
    const found = this.#prepared('SELECT revision, horizon, tombstones, epoch FROM head').get()
    assert(found !== undefined, 'the head row is missing')
    const { revision, horizon, tombstones, epoch } = found
    return {
      revision: numberOf(revision),
      horizon: numberOf(horizon),
      tombstones: numberOf(tombstones),
      epoch: numberOf(epoch),
    }
  }

  *#rows(where: string, ...values: readonly (string | number)[]): Generator<Row> {
    for (const found of this.#prepared(`SELECT key, value, revision FROM records ${where}`).iterate(...values)) {
      const text = found.value === null ? null : String(found.value)
      yield { key: String(found.key), text, revision: numberOf(found.revision) }
    }
  }

  /** Statements are compiled once; there are about a dozen. */
  #prepared(sql: string): StatementSync {
    const statement = this.#statements.get(sql) ?? this.#db.prepare(sql)
    this.#statements.set(sql, statement)
    return statement
  }

  #reading<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      throw sqliteFailure(error, this.#path, false)
    }
  }
}

function numberOf(value: unknown): number {
  assert(typeof value === 'number', 'SQLite answered something else than a number')
  return value
}
