/**
 * Changes of the index, in order and in groups: what arrives in one turn of the event loop shares one transaction and one
 * fsync, and where the disk is slow and several wrote before, so do those that follow within a moment. Each piece of work is
 * applied whole or not at all; it is answered only after the commit that holds it.
 */
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite'
import { failure } from '../../errors.ts'

interface Waiting {
  run(): void
  settle(failed: { readonly error: unknown } | undefined): void
}

/** Work that waits for the next commit. */
export const waitingMax = 10_000
const groupMax = 256
/** Those who were answered together come back one by one: the first would have a commit to itself, and the others wait for it. */
const gatherMs = 1
/** Only worth it where a commit takes longer than to wait. */
const slowCommitMs = 2

/** The index as it is read and changed. */
export class Index {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  readonly #arrayStatements = new Map<string, StatementSync>()
  readonly #waiting: Waiting[] = []
  readonly #afterCommit: (() => void)[] = []
  readonly #monotonicMs: () => number
  #scheduled = false
  #gathering: NodeJS.Timeout | undefined
  /** Of the last commit: how many shared it, and how long it took. */
  #last = { size: 0, ms: 0 }
  #closed = false

  constructor(db: DatabaseSync, monotonicMs: () => number) {
    this.#db = db
    this.#monotonicMs = monotonicMs
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Runs `work` inside a transaction; resolves with its result when that is durable. What it throws undoes only itself. */
  commit<T>(work: () => T): Promise<T> {
    if (this.#closed) return Promise.reject(closed())
    if (this.#waiting.length >= waitingMax) {
      return Promise.reject(failure('unavailable', 'too many changes wait already', 'Try again later.'))
    }
    return new Promise<T>((resolve, reject) => {
      let done: { readonly value: T } | undefined
      this.#waiting.push({
        run: () => void (done = { value: work() }),
        settle: (failed) => {
          if (failed !== undefined) reject(failed.error)
          else if (done !== undefined) resolve(done.value)
        },
      })
      if (this.#gathering !== undefined && this.#waiting.length >= this.#last.size) {
        clearTimeout(this.#gathering)
        this.#gathering = undefined
        setImmediate(() => this.#flush())
      }
      if (this.#scheduled) return
      this.#scheduled = true
      setImmediate(() => this.#gather())
    })
  }

  /** Flushes, at once or when as many have come as shared the last commit, or a moment has passed. */
  #gather(): void {
    const { size, ms } = this.#last
    if (ms < slowCommitMs || this.#waiting.length >= size) return this.#flush()
    this.#gathering = setTimeout(() => {
      this.#gathering = undefined
      this.#flush()
    }, gatherMs)
  }

  /** Runs after the commit of the work that asks for it; not when that fails. */
  afterCommit(run: () => void): void {
    this.#afterCommit.push(run)
  }

  get(sql: string, ...values: readonly SQLInputValue[]): Row | undefined {
    const found = this.#prepared(sql).get(...values)
    return found === undefined ? undefined : new Row(found)
  }

  all(sql: string, ...values: readonly SQLInputValue[]): readonly Row[] {
    return this.#prepared(sql)
      .all(...values)
      .map((found) => new Row(found))
  }

  /** Rows as their values in the order of the columns: for many rows at once, of which an object each would cost more than to find them. */
  values(sql: string, ...values: readonly SQLInputValue[]): readonly (readonly SQLOutputValue[])[] {
    const statement = this.#prepared(sql, this.#arrayStatements)
    statement.setReturnArrays(true)
    return statement.all(...values).map((found: unknown) => (Array.isArray(found) ? found : []))
  }

  run(sql: string, ...values: readonly SQLInputValue[]): number {
    return Number(this.#prepared(sql).run(...values).changes)
  }

  /** Whether everything that was asked for has been answered. */
  async idle(): Promise<void> {
    if (!this.#closed) await this.commit(() => undefined)
  }

  /** Answers what waits, then closes. */
  async close(): Promise<void> {
    if (this.#closed) return
    await this.idle()
    this.#closed = true
    this.#db.close()
  }

  #flush(): void {
    const beganMs = this.#monotonicMs()
    const group = this.#waiting.splice(0, groupMax)
    this.#scheduled = this.#waiting.length > 0
    if (this.#scheduled) setImmediate(() => this.#flush())
    const results: { readonly error: unknown }[] = []
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      for (const [index, work] of group.entries()) {
        const failed = this.#runOne(work)
        if (failed !== undefined) results[index] = failed
      }
      this.#db.exec('COMMIT')
    } catch (error) {
      // SQLite has rolled back by itself after some failures; a transaction left open would block all that follow.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      this.#afterCommit.length = 0
      for (const work of group) work.settle({ error })
      return
    }
    this.#last = { size: group.length, ms: this.#monotonicMs() - beganMs }
    for (const run of this.#afterCommit.splice(0)) run()
    for (const [index, work] of group.entries()) work.settle(results[index])
  }

  #runOne(work: Waiting): { readonly error: unknown } | undefined {
    const hooks = this.#afterCommit.length
    this.#db.exec('SAVEPOINT one')
    try {
      work.run()
      this.#db.exec('RELEASE one')
      return undefined
    } catch (error) {
      if (!this.#db.isTransaction) throw error
      this.#db.exec('ROLLBACK TO one; RELEASE one')
      this.#afterCommit.length = hooks
      return { error }
    }
  }

  /** Statements are compiled once; there are some dozens. */
  #prepared(sql: string, statements = this.#statements): StatementSync {
    if (this.#closed) throw closed()
    const statement = statements.get(sql) ?? this.#db.prepare(sql)
    statements.set(sql, statement)
    return statement
  }
}

function closed(): Error {
  return failure('closed', 'the store has been closed', 'Open it again.')
}

/** One row, its columns by name and kind. */
export class Row {
  readonly #values: Readonly<Record<string, SQLOutputValue>>

  constructor(values: Readonly<Record<string, SQLOutputValue>>) {
    this.#values = values
  }

  text(name: string): string {
    return String(this.#values[name])
  }

  number(name: string): number {
    return Number(this.#values[name])
  }

  optionalText(name: string): string | undefined {
    const value = this.#values[name]
    return typeof value === 'string' ? value : undefined
  }

  bytes(name: string): Uint8Array | undefined {
    const value = this.#values[name]
    return value instanceof Uint8Array ? value : undefined
  }
}
