/**
 * The queues of one SQLite file, as plain synchronous steps inside a transaction that `LedgerHost` begins and ends. What is
 * on the disk is the truth about messages; leases live in memory, because they end with the process anyway, and each is
 * known by a number that is given once. After a rollback everything in memory is as it was before.
 */
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
import type { LedgerFile } from './ledger/file.ts'
import { heldOf, integer, text } from './ledger/rows.ts'
import { counts, oldest, peek, purge, redrive, remove } from './ledger/shelves.ts'
import { LedgerTables, state } from './ledger/tables.ts'
import type { QueueRow } from './ledger/tables.ts'

/** Bodies that one receive answers with, together; more wait for the next. */
const receiveBytesMax = 16 * 1024 * 1024
/** Delayed messages that fall due in one transaction. */
const dueMax = 10_000

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
  readonly #tables: LedgerTables
  readonly #options: LedgerOptions
  readonly #leases = new Map<number, Lease>()
  #lastToken = 0

  constructor(file: LedgerFile, options: LedgerOptions) {
    this.#tables = new LedgerTables(file)
    this.#options = options
  }

  /** What was done since the last call is on the disk. */
  committed(): void {
    this.#tables.committed()
  }

  /** What was done since then is not: memory goes back. */
  rolledBack(): void {
    this.#tables.rolledBack()
  }

  declare(name: string): void {
    this.#tables.declare(name)
  }

  send(name: string, messages: readonly Outgoing[], nowMs: number): readonly SendOutcome[] {
    const queue = this.#tables.queue(name)
    const full = this.#tables.usedBytes() >= this.#options.bytesMax
    return messages.map((message) => this.#sendOne(queue, message, nowMs, full))
  }

  #sendOne(queue: QueueRow, message: Outgoing, nowMs: number, full: boolean): SendOutcome {
    const { durability, messagesMax } = this.#options
    const { id, dedup, key, delayMs } = message
    if (dedup !== null) {
      const known = this.#tables.get(
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
      this.#tables.run('INSERT OR REPLACE INTO dedup VALUES (?, ?, ?, ?)', queue.id, dedup.key, id, nowMs + dedup.ms)
      this.#tables.dueBy(nowMs + dedup.ms)
    }
    const seq = this.#tables.nextSeq()
    const names = Object.keys(message.headers)
    const headers = names.length === 0 ? null : JSON.stringify(message.headers)
    this.#tables.run(
      'INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, NULL, ?)',
      seq,
      id,
      this.#tables.file.generation,
      nowMs,
      key,
      headers,
      message.body,
    )
    const at = this.#tables.enter(queue, key, seq) ? (delayMs > 0 ? state.delayed : state.ready) : state.behind
    this.#tables.run(
      'INSERT INTO standing VALUES (?, ?, ?, ?, 0, ?)',
      seq,
      queue.id,
      at,
      message.priority,
      delayMs > 0 ? nowMs + delayMs : 0,
    )
    this.#tables.count(queue, at, 1)
    if (delayMs > 0) this.#tables.dueBy(nowMs + delayMs)
    return { ok: true, id, duplicate: false, durability }
  }

  /** Whether somebody who asks now gets something. */
  hasReady(name: string): boolean {
    const { counts: standing, paused } = this.#tables.queue(name)
    return !paused && (standing[state.ready] ?? 0) > 0
  }

  /** Hands out nothing of a queue until it is resumed; what is held goes on. */
  pause(name: string, paused: boolean): void {
    this.#tables.pause(this.#tables.queue(name), paused)
  }

  isPaused(name: string): boolean {
    return this.#tables.queue(name).paused
  }

  receive(name: string, want: Want, nowMs: number): readonly Held[] {
    const queue = this.#tables.queue(name)
    if (queue.paused || queue.counts[state.ready] === 0) return []
    const rows = this.#tables
      .statement(
        `SELECT s.seq, s.priority, s.attempts, m.id, m.sent_at_ms, m.key, m.headers, m.body
       FROM standing s JOIN messages m ON m.seq = s.seq
       WHERE s.queue = ? AND s.state = 0 ORDER BY s.priority DESC, s.seq LIMIT ?`,
      )
      .iterate(queue.id, want.max)
    const taken: { readonly seq: number; readonly message: Omit<Held, 'receipt'> }[] = []
    let bytes = 0
    for (const row of rows) {
      const message = heldOf(row)
      taken.push({ seq: integer(row.seq), message: { ...message, attempt: message.attempt + 1 } })
      bytes += message.body.length
      if (bytes > receiveBytesMax) break
    }
    const untilMs = nowMs + Math.max(want.leaseMs, want.keepMs)
    if (taken.length > 0) this.#tables.dueBy(untilMs)
    return taken.map(({ seq, message }) => {
      this.#tables.run('UPDATE standing SET state = 2, attempts = attempts + 1 WHERE seq = ?', seq)
      this.#tables.count(queue, state.ready, -1)
      this.#tables.count(queue, state.held, 1)
      const token = (this.#lastToken += 1)
      this.#leases.set(token, { seq, queue, key: message.key, untilMs })
      this.#tables.push(() => void this.#leases.delete(token))
      return { ...message, receipt: `${this.#tables.file.generation}.${this.#tables.file.opening}.${token}` }
    })
  }

  settle(name: string, receipt: string, decision: Decision, nowMs: number): SettleOutcome {
    const queue = this.#tables.queue(name)
    const token = this.#tokenOf(receipt)
    const lease = token === null ? undefined : this.#leases.get(token)
    if (token === null || lease === undefined || lease.queue !== queue || lease.untilMs <= nowMs) return 'lost'
    if (decision.kind === 'extend') {
      const before = lease.untilMs
      lease.untilMs = nowMs + decision.leaseMs
      this.#tables.dueBy(lease.untilMs)
      this.#tables.push(() => void (lease.untilMs = before))
      return 'done'
    }
    const { seq, key } = lease
    this.#drop(token, lease)
    if (decision.kind === 'retry') {
      const counted = decision.countAsFailure ? 0 : 1
      const to = decision.delayMs > 0 ? state.delayed : state.ready
      this.#tables.run(
        'UPDATE standing SET attempts = attempts - ?, at_ms = ? WHERE seq = ?',
        counted,
        nowMs + decision.delayMs,
        seq,
      )
      this.#tables.move(queue, seq, state.held, to)
      if (to === state.delayed) this.#tables.dueBy(nowMs + decision.delayMs)
      return 'done'
    }
    if (decision.kind === 'ack') {
      this.#tables.run('DELETE FROM standing WHERE seq = ?', seq)
      this.#tables.run('DELETE FROM messages WHERE seq = ?', seq)
      this.#tables.count(queue, state.held, -1)
    } else {
      this.#tables.run('UPDATE messages SET cause = ? WHERE seq = ?', decision.cause, seq)
      this.#tables.move(queue, seq, state.held, state.dead)
    }
    this.#tables.leave(queue, key, seq, nowMs)
    return 'done'
  }

  /** The number in a receipt of this opening of this generation; null for one of another. */
  #tokenOf(receipt: string): number | null {
    const [generation, opening, token] = receipt.split('.').map(Number)
    if (generation !== this.#tables.file.generation || opening !== this.#tables.file.opening || token === undefined)
      return null
    return token
  }

  /** When `sweep` has something to do again, at the earliest; Infinity if never. */
  get dueMs(): number {
    return this.#tables.dueMs
  }

  /** Brings forward what has fallen due: delayed messages, leases that are over, dedup keys that may be forgotten. */
  sweep(nowMs: number): void {
    if (nowMs < this.#tables.dueMs) return
    const due = this.#tables.all(
      `SELECT seq, queue FROM standing WHERE state = 1 AND at_ms <= ? ORDER BY at_ms LIMIT ${dueMax}`,
      nowMs,
    )
    const byId = new Map(this.#tables.queues().map((queue) => [queue.id, queue]))
    for (const row of due) {
      const queue = byId.get(integer(row.queue))
      assert(queue !== undefined, 'a message of no queue')
      this.#tables.move(queue, integer(row.seq), state.delayed, state.ready)
    }
    let nextMs = Number.POSITIVE_INFINITY
    for (const [token, lease] of this.#leases) {
      if (lease.untilMs > nowMs) {
        nextMs = Math.min(nextMs, lease.untilMs)
        continue
      }
      this.#drop(token, lease)
      this.#tables.move(lease.queue, lease.seq, state.held, state.ready)
    }
    this.#tables.run('DELETE FROM dedup WHERE until_ms <= ?', nowMs)
    this.#tables.nothingDue()
    this.#tables.dueBy(nextMs)
    this.#tables.dueBy(this.#tables.get('SELECT min(at_ms) AS at FROM standing WHERE state = 1')?.at)
    this.#tables.dueBy(this.#tables.get('SELECT min(until_ms) AS at FROM dedup')?.at)
  }

  counts(name: string): Counts {
    return counts(this.#tables, name)
  }

  /** When the oldest message that is ready was sent; null when none is. */
  oldest(name: string): number | null {
    return oldest(this.#tables, name)
  }

  usedBytes(): number {
    return this.#tables.usedBytes()
  }

  /** Number of the last message that was sent. */
  get lastSeq(): number {
    return this.#tables.lastSeq
  }

  /** Names of all queues. */
  names(): readonly string[] {
    return this.#tables.queues().map((queue) => queue.name)
  }

  peek(name: string, shelf: Shelf, max: number): readonly Seen[] {
    return peek(this.#tables, name, shelf, max)
  }

  redrive(name: string, max: number, ids: readonly string[] | null): number {
    return redrive(this.#tables, name, max, ids)
  }

  /** Deletes up to `max` messages of a shelf; answers how many. Call again until it answers 0. */
  purge(name: string, shelf: Shelf, max: number, nowMs: number): number {
    return purge(this.#tables, name, shelf, max, nowMs)
  }

  /** Deletes a queue; what is held of it is lost to its holders. */
  remove(name: string): void {
    const queue = this.#tables.known(name)
    if (queue === undefined) return
    for (const [token, lease] of this.#leases) if (lease.queue === queue) this.#drop(token, lease)
    remove(this.#tables, queue)
  }

  #drop(token: number, lease: Lease): void {
    this.#leases.delete(token)
    this.#tables.push(() => void this.#leases.set(token, lease))
  }
}
