/**
 * The queues of one SQLite file, as plain synchronous steps inside a transaction that `LedgerHost` begins and ends. What is
 * on the disk is the truth about messages; leases live in memory, because they end with the process anyway, and each is
 * known by a number that is given once. After a rollback everything in memory is as it was before.
 */
import type { SQLInputValue, StatementSync } from 'node:sqlite'
import { assert } from '../../base/index.ts'
import type {
  Counts,
  Decision,
  Durability,
  Held,
  Outgoing,
  Seen,
  SendOutcome,
  SettleOutcome,
  Shelf,
  Want,
} from '../driver.ts'
import { failure } from '../errors.ts'
import { numberIn } from './ledger-file.ts'
import type { LedgerFile } from './ledger-file.ts'
import { heldOf, integer, seenOf, text } from './ledger-rows.ts'

const ready = 0
const delayed = 1
const held = 2
const dead = 3
const behind = 4

/** Bodies that one receive answers with, together; more wait for the next. */
const receiveBytesMax = 16 * 1024 * 1024
/** SQLite's own, when a file is made. */
const pageBytes = 4096
/** Delayed messages that fall due in one transaction. */
const dueMax = 10_000

interface QueueRow {
  readonly id: number
  readonly name: string
  /** Messages by state. */
  readonly counts: number[]
}

interface Lease {
  readonly seq: number
  readonly queue: QueueRow
  readonly key: string | null
  untilMs: number
}

export interface LedgerOptions {
  readonly durability: Durability
  /** Messages of one queue, and bytes of the file in use, before senders are refused. */
  readonly messagesMax: number
  readonly bytesMax: number
}

export class Ledger {
  readonly #file: LedgerFile
  readonly #options: LedgerOptions
  readonly #statements = new Map<string, StatementSync>()
  readonly #queues = new Map<string, QueueRow>()
  readonly #leases = new Map<number, Lease>()
  readonly #undo: (() => void)[] = []
  #lastSeq: number
  #lastToken = 0
  /** Nothing falls due before this; it may be too early, never too late. */
  #dueMs = 0

  constructor(file: LedgerFile, options: LedgerOptions) {
    this.#file = file
    this.#options = options
    this.#lastSeq = numberIn(file.db, 'SELECT max(seq) FROM standing')
    for (const row of this.#all('SELECT id, name FROM queues')) {
      this.#queues.set(text(row.name), { id: integer(row.id), name: text(row.name), counts: [0, 0, 0, 0, 0] })
    }
    const rows = this.#all(
      'SELECT name, state, count(*) AS n FROM standing JOIN queues ON queues.id = queue GROUP BY 1, 2',
    )
    for (const row of rows) this.#count(this.#queue(text(row.name)), integer(row.state), integer(row.n))
    this.#undo.length = 0
  }

  /** What was done since the last call is on the disk. */
  committed(): void {
    this.#undo.length = 0
  }

  /** What was done since then is not: memory goes back. */
  rolledBack(): void {
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) undo()
  }

  declare(name: string): void {
    if (this.#queues.has(name)) return
    const { lastInsertRowid } = this.#run('INSERT INTO queues (name) VALUES (?)', name)
    this.#queues.set(name, { id: Number(lastInsertRowid), name, counts: [0, 0, 0, 0, 0] })
    this.#undo.push(() => this.#queues.delete(name))
  }

  send(name: string, messages: readonly Outgoing[], nowMs: number): readonly SendOutcome[] {
    const queue = this.#queue(name)
    const full = this.#fullBytes()
    return messages.map((message) => this.#sendOne(queue, message, nowMs, full))
  }

  #sendOne(queue: QueueRow, message: Outgoing, nowMs: number, full: boolean): SendOutcome {
    const { durability, messagesMax } = this.#options
    const { id, dedup, key, delayMs } = message
    if (dedup !== null) {
      const known = this.#get(
        'SELECT id FROM dedup WHERE queue = ? AND key = ? AND until_ms > ?',
        queue.id,
        dedup.key,
        nowMs,
      )
      if (known !== undefined) return { ok: true, id: text(known.id), duplicate: true, durability }
    }
    if (full || queue.counts.reduce((sum, n) => sum + n, 0) >= messagesMax) {
      const message = `the queue ${queue.name} is full: ${messagesMax} messages, or ${this.#options.bytesMax} bytes of its file`
      return { ok: false, error: failure('full', message, 'See whether its consumers run; send again later.') }
    }
    if (dedup !== null) {
      this.#run('INSERT OR REPLACE INTO dedup VALUES (?, ?, ?, ?)', queue.id, dedup.key, id, nowMs + dedup.ms)
      this.#dueBy(nowMs + dedup.ms)
    }
    const seq = (this.#lastSeq += 1)
    const names = Object.keys(message.headers)
    const headers = names.length === 0 ? null : JSON.stringify(message.headers)
    this.#run(
      'INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, NULL, ?)',
      seq,
      id,
      this.#file.generation,
      nowMs,
      key,
      headers,
      message.body,
    )
    const state = this.#enter(queue, key, seq) ? (delayMs > 0 ? delayed : ready) : behind
    this.#run(
      'INSERT INTO standing VALUES (?, ?, ?, ?, 0, ?)',
      seq,
      queue.id,
      state,
      message.priority,
      delayMs > 0 ? nowMs + delayMs : 0,
    )
    this.#count(queue, state, 1)
    if (delayMs > 0) this.#dueBy(nowMs + delayMs)
    return { ok: true, id, duplicate: false, durability }
  }

  /** Enters a message into the order of its key. Whether it is the first there. */
  #enter(queue: QueueRow, key: string | null, seq: number): boolean {
    if (key === null) return true
    const first = this.#get('SELECT 1 AS x FROM keyed WHERE queue = ? AND key = ? LIMIT 1', queue.id, key) === undefined
    this.#run('INSERT INTO keyed VALUES (?, ?, ?)', queue.id, key, seq)
    return first
  }

  /** Takes a message out of the order of its key; the next of the key comes forward. */
  #leave(queue: QueueRow, key: string | null, seq: number, nowMs: number): void {
    if (key === null) return
    this.#run('DELETE FROM keyed WHERE queue = ? AND key = ? AND seq = ?', queue.id, key, seq)
    const next = this.#get('SELECT min(seq) AS seq FROM keyed WHERE queue = ? AND key = ?', queue.id, key)
    if (typeof next?.seq !== 'number') return
    const row = this.#get('SELECT at_ms FROM standing WHERE seq = ? AND state = 4', next.seq)
    if (row === undefined) return
    const atMs = integer(row.at_ms)
    this.#move(queue, next.seq, behind, atMs > nowMs ? delayed : ready)
    if (atMs > nowMs) this.#dueBy(atMs)
  }

  /** Whether somebody who asks now gets something. */
  hasReady(name: string): boolean {
    return (this.#queue(name).counts[ready] ?? 0) > 0
  }

  receive(name: string, want: Want, nowMs: number): readonly Held[] {
    const queue = this.#queue(name)
    if (queue.counts[ready] === 0) return []
    const rows = this.#statement(
      `SELECT s.seq, s.priority, s.attempts, m.id, m.sent_at_ms, m.key, m.headers, m.body
       FROM standing s JOIN messages m ON m.seq = s.seq
       WHERE s.queue = ? AND s.state = 0 ORDER BY s.priority DESC, s.seq LIMIT ?`,
    ).iterate(queue.id, want.max)
    const taken: { readonly seq: number; readonly message: Omit<Held, 'receipt'> }[] = []
    let bytes = 0
    for (const row of rows) {
      const message = heldOf(row)
      taken.push({ seq: integer(row.seq), message: { ...message, attempt: message.attempt + 1 } })
      bytes += message.body.length
      if (bytes > receiveBytesMax) break
    }
    const untilMs = nowMs + Math.max(want.leaseMs, want.keepMs)
    if (taken.length > 0) this.#dueBy(untilMs)
    return taken.map(({ seq, message }) => {
      this.#run('UPDATE standing SET state = 2, attempts = attempts + 1 WHERE seq = ?', seq)
      this.#count(queue, ready, -1)
      this.#count(queue, held, 1)
      const token = (this.#lastToken += 1)
      this.#leases.set(token, { seq, queue, key: message.key, untilMs })
      this.#undo.push(() => this.#leases.delete(token))
      return { ...message, receipt: `${this.#file.generation}.${this.#file.opening}.${token}` }
    })
  }

  settle(name: string, receipt: string, decision: Decision, nowMs: number): SettleOutcome {
    const queue = this.#queue(name)
    const token = this.#tokenOf(receipt)
    const lease = token === null ? undefined : this.#leases.get(token)
    if (token === null || lease === undefined || lease.queue !== queue || lease.untilMs <= nowMs) return 'lost'
    if (decision.kind === 'extend') {
      const before = lease.untilMs
      lease.untilMs = nowMs + decision.leaseMs
      this.#dueBy(lease.untilMs)
      this.#undo.push(() => (lease.untilMs = before))
      return 'done'
    }
    const { seq, key } = lease
    this.#leases.delete(token)
    this.#undo.push(() => this.#leases.set(token, lease))
    if (decision.kind === 'retry') {
      const counted = decision.countAsFailure ? 0 : 1
      const state = decision.delayMs > 0 ? delayed : ready
      this.#run(
        'UPDATE standing SET attempts = attempts - ?, at_ms = ? WHERE seq = ?',
        counted,
        nowMs + decision.delayMs,
        seq,
      )
      this.#move(queue, seq, held, state)
      if (state === delayed) this.#dueBy(nowMs + decision.delayMs)
      return 'done'
    }
    if (decision.kind === 'ack') {
      this.#run('DELETE FROM standing WHERE seq = ?', seq)
      this.#run('DELETE FROM messages WHERE seq = ?', seq)
      this.#count(queue, held, -1)
    } else {
      this.#run('UPDATE messages SET cause = ? WHERE seq = ?', decision.cause, seq)
      this.#move(queue, seq, held, dead)
    }
    this.#leave(queue, key, seq, nowMs)
    return 'done'
  }

  /** The number in a receipt of this opening of this generation; null for one of another. */
  #tokenOf(receipt: string): number | null {
    const [generation, opening, token] = receipt.split('.').map(Number)
    if (generation !== this.#file.generation || opening !== this.#file.opening || token === undefined) return null
    return token
  }

  /** When `sweep` has something to do again, at the earliest; Infinity if never. */
  get dueMs(): number {
    return this.#dueMs
  }

  /** Brings forward what has fallen due: delayed messages, leases that are over, dedup keys that may be forgotten. */
  sweep(nowMs: number): void {
    if (nowMs < this.#dueMs) return
    const due = this.#all(
      `SELECT seq, queue FROM standing WHERE state = 1 AND at_ms <= ? ORDER BY at_ms LIMIT ${dueMax}`,
      nowMs,
    )
    const byId = new Map([...this.#queues.values()].map((queue) => [queue.id, queue]))
    for (const row of due) {
      const queue = byId.get(integer(row.queue))
      assert(queue !== undefined, 'a message of no queue')
      this.#move(queue, integer(row.seq), delayed, ready)
    }
    let nextMs = Number.POSITIVE_INFINITY
    for (const [token, lease] of this.#leases) {
      if (lease.untilMs > nowMs) {
        nextMs = Math.min(nextMs, lease.untilMs)
        continue
      }
      this.#leases.delete(token)
      this.#undo.push(() => this.#leases.set(token, lease))
      this.#move(lease.queue, lease.seq, held, ready)
    }
    this.#run('DELETE FROM dedup WHERE until_ms <= ?', nowMs)
    this.#dueMs = nextMs
    this.#dueBy(this.#get('SELECT min(at_ms) AS at FROM standing WHERE state = 1')?.at)
    this.#dueBy(this.#get('SELECT min(until_ms) AS at FROM dedup')?.at)
  }

  #dueBy(atMs: unknown): void {
    if (typeof atMs === 'number' && atMs < this.#dueMs) this.#dueMs = atMs
  }

  counts(name: string): Counts {
    const [r = 0, d = 0, h = 0, x = 0, b = 0] = this.#queue(name).counts
    return { ready: r + b, delayed: d, held: h, dead: x }
  }

  peek(name: string, shelf: Shelf, max: number): readonly Seen[] {
    const where = shelf === 'ready' ? 's.state = 0 ORDER BY s.priority DESC, s.seq' : 's.state = 3 ORDER BY s.seq'
    return this.#all(
      `SELECT s.seq, s.priority, s.attempts, m.id, m.sent_at_ms, m.key, m.headers, m.body, m.cause
       FROM standing s JOIN messages m ON m.seq = s.seq WHERE s.queue = ? AND ${where} LIMIT ?`,
      this.#queue(name).id,
      max,
    ).map(seenOf)
  }

  /** Dead messages go to the end of the queue: others of their key may be under way. */
  redrive(name: string, max: number, ids: readonly string[] | null): number {
    const queue = this.#queue(name)
    const among = ids === null ? '' : 'AND m.id IN (SELECT value FROM json_each(?))'
    const values = ids === null ? [queue.id, max] : [queue.id, JSON.stringify(ids), max]
    const rows = this.#all(
      `SELECT s.seq, m.key FROM standing s JOIN messages m ON m.seq = s.seq
       WHERE s.queue = ? AND s.state = 3 ${among} ORDER BY s.seq LIMIT ?`,
      ...values,
    )
    for (const row of rows) {
      const seq = (this.#lastSeq += 1)
      this.#run('UPDATE messages SET seq = ?, cause = NULL WHERE seq = ?', seq, integer(row.seq))
      this.#run('UPDATE standing SET seq = ?, attempts = 0, at_ms = 0 WHERE seq = ?', seq, integer(row.seq))
      const key = typeof row.key === 'string' ? row.key : null
      this.#move(queue, seq, dead, this.#enter(queue, key, seq) ? ready : behind)
    }
    return rows.length
  }

  /** Deletes up to `max` messages of a shelf; answers how many. Call again until it answers 0. */
  purge(name: string, shelf: Shelf, max: number, nowMs: number): number {
    const queue = this.#queue(name)
    const states = shelf === 'dead' ? [dead] : [behind, delayed, ready]
    for (const state of states) {
      const rows = this.#all(
        `SELECT s.seq, m.key FROM standing s JOIN messages m ON m.seq = s.seq WHERE s.queue = ? AND s.state = ${state} LIMIT ?`,
        queue.id,
        max,
      )
      for (const row of rows) {
        const seq = integer(row.seq)
        this.#run('DELETE FROM standing WHERE seq = ?', seq)
        this.#run('DELETE FROM messages WHERE seq = ?', seq)
        this.#count(queue, state, -1)
        if (state !== dead) this.#leave(queue, typeof row.key === 'string' ? row.key : null, seq, nowMs)
      }
      if (rows.length > 0) return rows.length
    }
    return 0
  }

  remove(name: string): void {
    const queue = this.#queues.get(name)
    if (queue === undefined) return
    for (const [token, lease] of this.#leases) {
      if (lease.queue !== queue) continue
      this.#leases.delete(token)
      this.#undo.push(() => this.#leases.set(token, lease))
    }
    this.#run('DELETE FROM messages WHERE seq IN (SELECT seq FROM standing WHERE queue = ?)', queue.id)
    for (const table of ['standing', 'keyed', 'dedup']) this.#run(`DELETE FROM ${table} WHERE queue = ?`, queue.id)
    this.#run('DELETE FROM queues WHERE id = ?', queue.id)
    this.#queues.delete(name)
    this.#undo.push(() => this.#queues.set(name, queue))
  }

  #move(queue: QueueRow, seq: number, from: number, to: number): void {
    this.#run('UPDATE standing SET state = ? WHERE seq = ?', to, seq)
    this.#count(queue, from, -1)
    this.#count(queue, to, 1)
  }

  #count(queue: QueueRow, state: number, by: number): void {
    queue.counts[state] = (queue.counts[state] ?? 0) + by
    this.#undo.push(() => (queue.counts[state] = (queue.counts[state] ?? 0) - by))
  }

  #fullBytes(): boolean {
    const pages = integer(this.#get('PRAGMA page_count')?.['page_count'])
    const free = integer(this.#get('PRAGMA freelist_count')?.['freelist_count'])
    return (pages - free) * pageBytes >= this.#options.bytesMax
  }

  #queue(name: string): QueueRow {
    const queue = this.#queues.get(name)
    if (queue !== undefined) return queue
    throw failure('no-such-queue', `there is no queue ${name}`, 'Declare it before it is used.')
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql)
    if (known !== undefined) return known
    const made = this.#file.db.prepare(sql)
    this.#statements.set(sql, made)
    return made
  }

  #run(sql: string, ...values: readonly SQLInputValue[]): { readonly lastInsertRowid: number | bigint } {
    return this.#statement(sql).run(...values)
  }

  #get(sql: string, ...values: readonly SQLInputValue[]): Record<string, unknown> | undefined {
    return this.#statement(sql).get(...values)
  }

  #all(sql: string, ...values: readonly SQLInputValue[]): Record<string, unknown>[] {
    return this.#statement(sql).all(...values)
  }
}
