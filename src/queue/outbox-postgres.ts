/** Outbox and inbox in the program's own PostgreSQL database: a message, or the mark of one, in the transaction of its effect. */
import type { ClientBase, Pool } from 'pg'
import { assert } from '../base/index.ts'
import { checkKey } from './limits.ts'
import { databaseAway, readPrepared, writePrepared } from './outbox.ts'
import type { Carried, OutboxTable, Prepared, Waiting } from './outbox.ts'

/** Messages that wait in the table `stead_outbox` of the connection's schema. Several relays may work on it at once. */
export class PostgresOutbox implements OutboxTable {
  readonly #pool: Pool

  constructor(pool: Pool) {
    this.#pool = pool
  }

  /** Makes the table where it is not there. A role that may not can be given a table that is. */
  async prepare(): Promise<void> {
    await this.#pool.query(`CREATE TABLE IF NOT EXISTS stead_outbox (
      position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, queue text NOT NULL, message text NOT NULL, refused text
    )`)
  }

  /** Writes the message in the transaction that is open on `client`. */
  async add(client: ClientBase, prepared: Prepared): Promise<void> {
    const values = [prepared.queue, writePrepared(prepared)]
    await client.query('INSERT INTO stead_outbox (queue, message) VALUES ($1, $2)', values)
  }

  async take(max: number, work: (waiting: readonly Waiting[]) => Promise<Carried>): Promise<number> {
    const client = await this.#pool.connect().catch((error: unknown) => Promise.reject(databaseAway(error)))
    try {
      await client.query('BEGIN')
      const select = `SELECT position, queue, message FROM stead_outbox WHERE refused IS NULL
        ORDER BY position LIMIT $1 FOR UPDATE SKIP LOCKED`
      const { rows } = await client.query<Record<string, unknown>>(select, [max])
      const waiting = rows.map(waitingOf)
      const { done, refused } = waiting.length === 0 ? { done: [], refused: [] } : await work(waiting)
      if (done.length > 0) await client.query('DELETE FROM stead_outbox WHERE position = ANY($1::bigint[])', [done])
      for (const { position, why } of refused) {
        await client.query('UPDATE stead_outbox SET refused = $2 WHERE position = $1', [position, why])
      }
      await client.query('COMMIT')
      client.release()
      return waiting.length
    } catch (error) {
      // The connection is not used again: with it goes the transaction, and its locks.
      client.release(true)
      throw databaseAway(error)
    }
  }
}

function waitingOf(row: Record<string, unknown>): Waiting {
  const { position, queue, message } = row
  assert(typeof queue === 'string' && typeof message === 'string', 'a row of the outbox')
  return { position: Number(position), prepared: readPrepared(queue, message) }
}

/** Marks of messages whose effect has happened, in the table `stead_inbox` of the connection's schema. */
export class PostgresInbox {
  readonly #pool: Pool

  constructor(pool: Pool) {
    this.#pool = pool
  }

  /** Makes the table where it is not there. */
  async prepare(): Promise<void> {
    await this.#pool.query(`CREATE TABLE IF NOT EXISTS stead_inbox (
      queue text NOT NULL, id text NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (queue, id)
    )`)
  }

  /**
   * True the first time for this message, and then the effect belongs into the transaction that is open on `client`; false when
   * it has happened already. Waits while another transaction is at the same message.
   */
  async first(client: ClientBase, queue: string, id: string): Promise<boolean> {
    checkKey('id', id)
    const insert = 'INSERT INTO stead_inbox (queue, id) VALUES ($1, $2) ON CONFLICT DO NOTHING'
    return (await client.query(insert, [queue, id])).rowCount === 1
  }

  /** Forgets marks that are older than this. A message that comes again later than that happens again. */
  async forget(olderThanMs: number): Promise<void> {
    await this.#pool.query("DELETE FROM stead_inbox WHERE at < now() - $1 * interval '1 millisecond'", [olderThanMs])
  }
}
