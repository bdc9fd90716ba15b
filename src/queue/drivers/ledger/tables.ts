/**
 * The tables of the ledger and what memory knows of them: prepared statements, queues with their counts, the order of keys, the
 * next moment at which something falls due. Whatever is changed in memory is pushed with its way back, for a rollback.
 */
import type { SQLInputValue, StatementSync } from 'node:sqlite'
import { failure } from '../../errors.ts'
import { numberIn } from './file.ts'
import type { LedgerFile } from './file.ts'
import { integer, text } from './rows.ts'

/** What a message is doing, as the tables have it. */
export const state = { ready: 0, delayed: 1, held: 2, dead: 3, behind: 4 } as const

export interface QueueRow {
  readonly id: number
  readonly name: string
  /** Messages by state. */
  readonly counts: number[]
  /** Nothing of it is handed out. */
  paused: boolean
}

/** SQLite's own, when a file is made. */
const pageBytes = 4096

export class LedgerTables {
  readonly file: LedgerFile
  readonly #statements = new Map<string, StatementSync>()
  readonly #queues = new Map<string, QueueRow>()
  readonly #undo: (() => void)[] = []
  #lastSeq: number
  #dueMs = 0

  constructor(file: LedgerFile) {
    this.file = file
    this.#lastSeq = numberIn(file.db, 'SELECT max(seq) FROM standing')
    for (const row of this.all('SELECT id, name, id IN (SELECT queue FROM paused) AS paused FROM queues')) {
      const [id, name] = [integer(row.id), text(row.name)]
      this.#queues.set(name, { id, name, counts: [0, 0, 0, 0, 0], paused: integer(row.paused) === 1 })
    }
    this.#countAll()
  }

  /** Counts what is there, by its indexes: a grouping would sort all of it in memory. Nothing is held when a file is opened. */
  #countAll(): void {
    for (const queue of this.#queues.values()) {
      for (const at of [state.ready, state.dead, state.behind]) {
        const found = this.get(`SELECT count(*) AS n FROM standing WHERE queue = ? AND state = ${at}`, queue.id)
        queue.counts[at] = integer(found?.['n'])
      }
    }
    const byId = new Map([...this.#queues.values()].map((queue) => [queue.id, queue]))
    for (const row of this.statement('SELECT queue FROM standing WHERE state = 1').iterate()) {
      const queue = byId.get(integer(row.queue))
      if (queue !== undefined) queue.counts[state.delayed] = (queue.counts[state.delayed] ?? 0) + 1
    }
  }

  /** How to take back a change in memory. */
  push(undo: () => void): void {
    this.#undo.push(undo)
  }

  committed(): void {
    this.#undo.length = 0
  }

  rolledBack(): void {
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) undo()
  }

  /** Nothing falls due before this; it may be too early, never too late. */
  get dueMs(): number {
    return this.#dueMs
  }

  /** All that was due is done: nothing is known of what comes. */
  nothingDue(): void {
    this.#dueMs = Number.POSITIVE_INFINITY
  }

  /** Something falls due then; what is no number is nothing. */
  dueBy(atMs: unknown): void {
    if (typeof atMs === 'number' && atMs < this.#dueMs) this.#dueMs = atMs
  }

  /** The last number that was given. */
  get lastSeq(): number {
    return this.#lastSeq
  }

  nextSeq(): number {
    return (this.#lastSeq += 1)
  }

  declare(name: string): void {
    if (this.#queues.has(name)) return
    const { lastInsertRowid } = this.run('INSERT INTO queues (name) VALUES (?)', name)
    this.#queues.set(name, { id: Number(lastInsertRowid), name, counts: [0, 0, 0, 0, 0], paused: false })
    this.push(() => void this.#queues.delete(name))
  }

  /** Hands out nothing of it any more, or again. */
  pause(queue: QueueRow, paused: boolean): void {
    const before = queue.paused
    this.run(paused ? 'INSERT OR IGNORE INTO paused VALUES (?)' : 'DELETE FROM paused WHERE queue = ?', queue.id)
    queue.paused = paused
    this.push(() => void (queue.paused = before))
  }

  /** Forgets a queue whose rows are gone. */
  forget(queue: QueueRow): void {
    this.#queues.delete(queue.name)
    this.push(() => void this.#queues.set(queue.name, queue))
  }

  known(name: string): QueueRow | undefined {
    return this.#queues.get(name)
  }

  queues(): readonly QueueRow[] {
    return [...this.#queues.values()]
  }

  queue(name: string): QueueRow {
    const queue = this.#queues.get(name)
    if (queue !== undefined) return queue
    throw failure('no-such-queue', `there is no queue ${name}`, 'Declare it before it is used.')
  }

  /** Enters a message into the order of its key. Whether it is the first there. */
  enter(queue: QueueRow, key: string | null, seq: number): boolean {
    if (key === null) return true
    const first = this.get('SELECT 1 AS x FROM keyed WHERE queue = ? AND key = ? LIMIT 1', queue.id, key) === undefined
    this.run('INSERT INTO keyed VALUES (?, ?, ?)', queue.id, key, seq)
    return first
  }

  /** Takes a message out of the order of its key; the next of the key comes forward. */
  leave(queue: QueueRow, key: string | null, seq: number, nowMs: number): void {
    if (key === null) return
    this.run('DELETE FROM keyed WHERE queue = ? AND key = ? AND seq = ?', queue.id, key, seq)
    const next = this.get('SELECT min(seq) AS seq FROM keyed WHERE queue = ? AND key = ?', queue.id, key)
    if (typeof next?.seq !== 'number') return
    const row = this.get('SELECT at_ms FROM standing WHERE seq = ? AND state = 4', next.seq)
    if (row === undefined) return
    const atMs = integer(row.at_ms)
    this.move(queue, next.seq, state.behind, atMs > nowMs ? state.delayed : state.ready)
    if (atMs > nowMs) this.dueBy(atMs)
  }

  move(queue: QueueRow, seq: number, from: number, to: number): void {
    this.run('UPDATE standing SET state = ? WHERE seq = ?', to, seq)
    this.count(queue, from, -1)
    this.count(queue, to, 1)
  }

  count(queue: QueueRow, at: number, by: number): void {
    queue.counts[at] = (queue.counts[at] ?? 0) + by
    this.push(() => void (queue.counts[at] = (queue.counts[at] ?? 0) - by))
  }

  /** Bytes of the file that are in use. */
  usedBytes(): number {
    const pages = integer(this.get('PRAGMA page_count')?.['page_count'])
    const free = integer(this.get('PRAGMA freelist_count')?.['freelist_count'])
    return (pages - free) * pageBytes
  }

  statement(sql: string): StatementSync {
    const known = this.#statements.get(sql)
    if (known !== undefined) return known
    const made = this.file.db.prepare(sql)
    this.#statements.set(sql, made)
    return made
  }

  run(sql: string, ...values: readonly SQLInputValue[]): { readonly lastInsertRowid: number | bigint } {
    return this.statement(sql).run(...values)
  }

  get(sql: string, ...values: readonly SQLInputValue[]): Record<string, unknown> | undefined {
    return this.statement(sql).get(...values)
  }

  all(sql: string, ...values: readonly SQLInputValue[]): Record<string, unknown>[] {
    return this.statement(sql).all(...values)
  }
}
