/** What is done with queues as a whole: counting, looking, putting back, deleting. Part of the ledger's transactions. */
import type { Counts, Seen, Shelf } from '../../driver.ts'
import { priorityMax } from '../../limits.ts'
import { integer, seenOf } from './rows.ts'
import { state } from './tables.ts'
import type { LedgerTables, QueueRow } from './tables.ts'

/** Messages by what they are doing; one behind another of its key waits as well. */
export function counts(tables: LedgerTables, name: string): Counts {
  const [r = 0, d = 0, h = 0, x = 0, b = 0] = tables.queue(name).counts
  return { ready: r + b, delayed: d, held: h, dead: x }
}

/** When the oldest message that is ready was sent; null when none is. One look at the index for each priority. */
export function oldest(tables: LedgerTables, name: string): number | null {
  const queue = tables.queue(name).id
  const sent = Array.from({ length: priorityMax + 1 }, (_, priority) => {
    const row = tables.get(
      `SELECT m.sent_at_ms FROM standing s JOIN messages m ON m.seq = s.seq
       WHERE s.queue = ? AND s.state = 0 AND s.priority = ? ORDER BY s.seq LIMIT 1`,
      queue,
      priority,
    )
    return row === undefined ? Number.POSITIVE_INFINITY : integer(row.sent_at_ms)
  })
  const first = Math.min(...sent)
  return first === Number.POSITIVE_INFINITY ? null : first
}

/** Bodies that one look answers with, together. */
const peekBytesMax = 16 * 1024 * 1024

/** The first messages of a shelf: fewer than `max` where they are large. */
export function peek(tables: LedgerTables, name: string, shelf: Shelf, max: number): readonly Seen[] {
  const where = shelf === 'ready' ? 's.state = 0 ORDER BY s.priority DESC, s.seq' : 's.state = 3 ORDER BY s.seq'
  const rows = tables
    .statement(
      `SELECT s.seq, s.priority, s.attempts, m.id, m.sent_at_ms, m.key, m.headers, m.body, m.cause
     FROM standing s JOIN messages m ON m.seq = s.seq WHERE s.queue = ? AND ${where} LIMIT ?`,
    )
    .iterate(tables.queue(name).id, max)
  const seen: Seen[] = []
  let bytes = 0
  for (const row of rows) {
    const message = seenOf(row)
    seen.push(message)
    bytes += message.body.length
    if (bytes > peekBytesMax) break
  }
  return seen
}

/** Dead messages go to the end of the queue: others of their key may be under way. */
export function redrive(tables: LedgerTables, name: string, max: number, ids: readonly string[] | null): number {
  const queue = tables.queue(name)
  const among = ids === null ? '' : 'AND m.id IN (SELECT value FROM json_each(?))'
  const values = ids === null ? [queue.id, max] : [queue.id, JSON.stringify(ids), max]
  const rows = tables.all(
    `SELECT s.seq, m.key FROM standing s JOIN messages m ON m.seq = s.seq
     WHERE s.queue = ? AND s.state = 3 ${among} ORDER BY s.seq LIMIT ?`,
    ...values,
  )
  for (const row of rows) {
    const seq = tables.nextSeq()
    tables.run('UPDATE messages SET seq = ?, cause = NULL WHERE seq = ?', seq, integer(row.seq))
    tables.run('UPDATE standing SET seq = ?, attempts = 0, at_ms = 0 WHERE seq = ?', seq, integer(row.seq))
    const key = typeof row.key === 'string' ? row.key : null
    tables.move(queue, seq, state.dead, tables.enter(queue, key, seq) ? state.ready : state.behind)
  }
  return rows.length
}

/** Deletes up to `max` messages of a shelf; answers how many. Call again until it answers 0. */
export function purge(tables: LedgerTables, name: string, shelf: Shelf, max: number, nowMs: number): number {
  const queue = tables.queue(name)
  const states = shelf === 'dead' ? [state.dead] : [state.behind, state.delayed, state.ready]
  for (const from of states) {
    const rows = tables.all(
      `SELECT s.seq, m.key FROM standing s JOIN messages m ON m.seq = s.seq WHERE s.queue = ? AND s.state = ${from} LIMIT ?`,
      queue.id,
      max,
    )
    for (const row of rows) {
      const seq = integer(row.seq)
      tables.run('DELETE FROM standing WHERE seq = ?', seq)
      tables.run('DELETE FROM messages WHERE seq = ?', seq)
      tables.count(queue, from, -1)
      if (from !== state.dead) tables.leave(queue, typeof row.key === 'string' ? row.key : null, seq, nowMs)
    }
    if (rows.length > 0) return rows.length
  }
  return 0
}

/** Deletes the rows of a queue. */
export function remove(tables: LedgerTables, queue: QueueRow): void {
  tables.run('DELETE FROM messages WHERE seq IN (SELECT seq FROM standing WHERE queue = ?)', queue.id)
  for (const table of ['standing', 'keyed', 'dedup', 'paused'])
    tables.run(`DELETE FROM ${table} WHERE queue = ?`, queue.id)
  tables.run('DELETE FROM queues WHERE id = ?', queue.id)
  tables.forget(queue)
}
