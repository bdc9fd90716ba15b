/** Outbox and inbox in the program's own SQLite database: a message, or the mark of one, in the same transaction as its effect. */
import type { DatabaseSync } from 'node:sqlite'
import { assert } from '../base/index.ts'
import { checkKey } from './limits.ts'
import { readPrepared, writePrepared } from './outbox.ts'
import type { Carried, OutboxTable, Prepared, Waiting } from './outbox.ts'

/** Messages that wait in the table `stead_outbox`, which is made where it is not there. */
export class SqliteOutbox implements OutboxTable {
  readonly #db: DatabaseSync

  /** `db` is the connection that the program's transactions use; or another one to the same file, for a relay alone. */
  constructor(db: DatabaseSync) {
    this.#db = db
    db.exec(`CREATE TABLE IF NOT EXISTS stead_outbox (
      position INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, message TEXT NOT NULL, refused TEXT
    ) STRICT`)
  }

  /** Writes the message in the transaction that is open on this connection, or in one of its own. */
  add(prepared: Prepared): void {
    const insert = this.#db.prepare('INSERT INTO stead_outbox (queue, message) VALUES (?, ?)')
    insert.run(prepared.queue, writePrepared(prepared))
  }

  async take(max: number, work: (waiting: readonly Waiting[]) => Promise<Carried>): Promise<number> {
    const select = 'SELECT position, queue, message FROM stead_outbox WHERE refused IS NULL ORDER BY position LIMIT ?'
    // Not in the middle of a transaction of the program: what it has written there may be rolled back.
    if (this.#db.isTransaction) return 0
    const waiting = this.#db.prepare(select).all(max).map(waitingOf)
    if (waiting.length === 0) return 0
    const { done, refused } = await work(waiting)
    const forget = this.#db.prepare('DELETE FROM stead_outbox WHERE position IN (SELECT value FROM json_each(?))')
    const mark = this.#db.prepare('UPDATE stead_outbox SET refused = ? WHERE position = ?')
    while (this.#db.isTransaction) await new Promise<void>((resolve) => void setImmediate(resolve))
    forget.run(JSON.stringify(done))
    for (const { position, why } of refused) mark.run(why, position)
    return waiting.length
  }
}

function waitingOf(row: Record<string, unknown>): Waiting {
  const { position, queue, message } = row
  assert(
    typeof position === 'number' && typeof queue === 'string' && typeof message === 'string',
    'a row of the outbox',
  )
  return { position, prepared: readPrepared(queue, message) }
}

/** Marks of messages whose effect has happened, in the table `stead_inbox`, which is made where it is not there. */
export class SqliteInbox {
  readonly #db: DatabaseSync

  constructor(db: DatabaseSync) {
    this.#db = db
    db.exec(`CREATE TABLE IF NOT EXISTS stead_inbox (
      queue TEXT NOT NULL, id TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (queue, id)
    ) STRICT, WITHOUT ROWID`)
  }

  /**
   * True the first time for this message, and then the effect belongs into the same open transaction; false when it has
   * happened already. `nowMs` is what `forget` goes by.
   */
  first(queue: string, id: string, nowMs: number): boolean {
    checkKey('id', id)
    const insert = this.#db.prepare('INSERT INTO stead_inbox VALUES (?, ?, ?) ON CONFLICT DO NOTHING')
    return insert.run(queue, id, nowMs).changes === 1
  }

  /** Forgets marks from before `untilMs`. A message that comes again later than that happens again. */
  forget(untilMs: number): void {
    this.#db.prepare('DELETE FROM stead_inbox WHERE at_ms < ?').run(untilMs)
  }
}
