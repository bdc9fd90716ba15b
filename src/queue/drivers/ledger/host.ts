/**
 * Drives a ledger: what is asked in one turn of the event loop, or while a commit is under way, is one transaction and one
 * fsync, and is answered together, after it. Consumers that wait are served in the transaction that made something ready.
 * Time is the wall clock as it was at the opening and durations from there: setting the machine's clock moves nothing.
 */
import { isSteadError } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import type { Capabilities } from '../../capability.ts'
import type {
  Counts,
  Held,
  Outgoing,
  QueueDriver,
  Seen,
  SendOutcome,
  SettleOutcome,
  Settlement,
  Shelf,
  Want,
} from '../../driver.ts'
import { failure } from '../../errors.ts'
import { bodyBytesMax, delayMsMax } from '../../limits.ts'
import type { DriverLimits } from '../../limits.ts'
import { Ledger } from '../ledger.ts'
import type { LedgerOptions } from '../ledger.ts'
import { sqliteFailure } from './file.ts'
import type { LedgerFile } from './file.ts'

/** Steps of one transaction. */
const groupMax = 4096
/** Messages that one transaction of a purge deletes. */
const purgeMax = 5000
/** Consumers that may wait, all queues together. */
const waitersMax = 10_000
/** Node's longest timer. */
const timerMsMax = 2 ** 31 - 1

interface Step {
  run(nowMs: number): void
  done(): void
  failed(error: unknown): void
}

interface Waiter {
  readonly queue: string
  readonly want: Want
  resolve(held: readonly Held[]): void
  reject(error: unknown): void
}

export interface HostOptions extends LedgerOptions {
  readonly name: string
  readonly server: string
  readonly capabilities: Capabilities
  readonly clock: Clock
}

export class LedgerHost implements QueueDriver {
  readonly name: string
  readonly server: string
  readonly capabilities: Capabilities
  readonly limits: DriverLimits = { bodyBytesMax, delayMsMax }
  readonly #file: LedgerFile
  readonly #ledger: Ledger
  readonly #clock: Clock
  readonly #startMs: number
  readonly #waiters = new Set<Waiter>()
  #steps: Step[] = []
  #scheduled = false
  #timer: Disposable | undefined
  #timerMs = Number.POSITIVE_INFINITY
  #alive: NodeJS.Timeout | undefined

  constructor(file: LedgerFile, options: HostOptions) {
    this.name = options.name
    this.server = options.server
    this.capabilities = options.capabilities
    this.#file = file
    this.#clock = options.clock
    this.#startMs = options.clock.nowMs() - options.clock.monotonicMs()
    this.#ledger = new Ledger(file, options)
  }

  declare(queue: string): Promise<void> {
    return this.#step(() => this.#ledger.declare(queue))
  }

  send(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    return this.#step((nowMs) => this.#ledger.send(queue, messages, nowMs))
  }

  async receive(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    const held = await this.#step((nowMs) => (signal.aborted ? [] : this.#ledger.receive(queue, want, nowMs)))
    if (held.length > 0 || want.waitMs === 0 || signal.aborted) return held
    return this.#waitFor(queue, want, signal)
  }

  settle(queue: string, settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    return this.#step((nowMs) =>
      settlements.map(({ receipt, decision }) => this.#ledger.settle(queue, receipt, decision, nowMs)),
    )
  }

  counts(queue: string): Promise<Counts> {
    return this.#step(() => this.#ledger.counts(queue))
  }

  /** When the oldest message that is ready was sent, milliseconds since 1970; null when none is. */
  oldest(queue: string): Promise<number | null> {
    return this.#step(() => this.#ledger.oldest(queue))
  }

  /** Hands out nothing of a queue, or again: a pause is on the disk, and outlives the process. Who waits goes on waiting. */
  pause(queue: string, paused: boolean): Promise<void> {
    return this.#step(() => this.#ledger.pause(queue, paused))
  }

  isPaused(queue: string): Promise<boolean> {
    return this.#step(() => this.#ledger.isPaused(queue))
  }

  /** Names of all queues. */
  names(): readonly string[] {
    return this.#ledger.names()
  }

  /** The generation of the data that the file is opened for. */
  get generation(): number {
    return this.#file.generation
  }

  /** Bytes of the file that are in use. */
  usedBytes(): number {
    return this.#ledger.usedBytes()
  }

  /** Where the ledger stands: the generation, and the number of the last message. */
  get position(): string {
    return `${this.#file.generation}.${this.#ledger.lastSeq}`
  }

  peek(queue: string, shelf: Shelf, max: number): Promise<readonly Seen[]> {
    return this.#step(() => this.#ledger.peek(queue, shelf, max))
  }

  redrive(queue: string, max: number, ids: readonly string[] | null): Promise<number> {
    return this.#step(() => this.#ledger.redrive(queue, max, ids))
  }

  async purge(queue: string, shelf: Shelf): Promise<number> {
    for (let total = 0; ;) {
      const count = await this.#step((nowMs) => this.#ledger.purge(queue, shelf, purgeMax, nowMs))
      if (count === 0) return total
      total += count
    }
  }

  remove(queue: string): Promise<void> {
    return this.#step(() => this.#ledger.remove(queue))
  }

  async close(): Promise<void> {
    for (const waiter of this.#waiters) this.#leave(waiter, [])
    await this.#step(() => {})
    this.#timer?.[Symbol.dispose]()
    this.#file.db.close()
  }

  /** Whole milliseconds since 1970 that never step. */
  #nowMs(): number {
    return Math.floor(this.#startMs + this.#clock.monotonicMs())
  }

  #step<T>(run: (nowMs: number) => T): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    let answer: { readonly value: T } | { readonly error: unknown } | undefined
    this.#steps.push({
      run(nowMs) {
        try {
          answer = { value: run(nowMs) }
        } catch (error) {
          // A refusal comes before any change and is this step's own; anything else ends the transaction.
          if (!isSteadError(error)) throw error
          answer = { error }
        }
      },
      done: () => (answer !== undefined && 'value' in answer ? resolve(answer.value) : reject(answer?.error)),
      failed: reject,
    })
    this.#schedule()
    return promise
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#commit()
      if (this.#steps.length > 0) this.#schedule()
    })
  }

  /** One transaction: what is due, the steps, and those who wait for what has become ready. */
  #commit(): void {
    const steps = this.#steps.splice(0, groupMax)
    const served: { readonly waiter: Waiter; readonly held: readonly Held[] }[] = []
    let committing = false
    try {
      this.#file.db.exec('BEGIN IMMEDIATE')
      const nowMs = this.#nowMs()
      this.#ledger.sweep(nowMs)
      for (const step of steps) step.run(nowMs)
      for (const waiter of this.#waiters) {
        const held = this.#serve(waiter, nowMs)
        if (held !== null) served.push({ waiter, held })
      }
      committing = true
      this.#file.db.exec('COMMIT')
      this.#ledger.committed()
    } catch (error) {
      this.#takeBack(steps, sqliteFailure(error, this.#file.path, committing))
      return
    }
    for (const step of steps) step.done()
    for (const { waiter, held } of served) this.#leave(waiter, held)
    this.#wakeAt(this.#ledger.dueMs)
  }

  #serve(waiter: Waiter, nowMs: number): readonly Held[] | null {
    try {
      if (!this.#ledger.hasReady(waiter.queue)) return null
      return this.#ledger.receive(waiter.queue, waiter.want, nowMs)
    } catch (error) {
      if (!isSteadError(error)) throw error
      this.#waiters.delete(waiter)
      waiter.reject(error)
      return null
    }
  }

  #takeBack(steps: readonly Step[], error: unknown): void {
    if (this.#file.db.isTransaction) this.#file.db.exec('ROLLBACK')
    this.#ledger.rolledBack()
    for (const step of steps) step.failed(error)
    for (const waiter of this.#waiters) {
      this.#waiters.delete(waiter)
      waiter.reject(error)
    }
  }

  /** Wakes itself when something falls due. A timer that is too early costs a look. */
  #wakeAt(atMs: number): void {
    if (atMs === this.#timerMs) return
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#timerMs = atMs
    if (atMs === Number.POSITIVE_INFINITY) return
    const delayMs = Math.min(Math.max(1, atMs - this.#nowMs()), timerMsMax)
    this.#timer = this.#clock.after(delayMs, () => {
      this.#timerMs = Number.POSITIVE_INFINITY
      this.#schedule()
    })
  }

  #waitFor(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    if (this.#waiters.size >= waitersMax) {
      const message = `${waitersMax} consumers wait already`
      return Promise.reject(failure('overloaded', message, 'Use fewer consumers with more concurrency.'))
    }
    const { promise, resolve, reject } = Promise.withResolvers<readonly Held[]>()
    const waiter: Waiter = { queue, want, resolve, reject }
    const leave = (): void => this.#leave(waiter, [])
    const late = this.#clock.after(want.waitMs, leave)
    signal.addEventListener('abort', leave, { once: true })
    this.#waiters.add(waiter)
    // Waiting for messages is a reason to live, and timers of the clock are not.
    this.#alive ??= setInterval(() => {}, timerMsMax)
    // Something may have become ready since it looked.
    this.#schedule()
    return promise.finally(() => {
      late[Symbol.dispose]()
      signal.removeEventListener('abort', leave)
      if (this.#waiters.size > 0) return
      clearInterval(this.#alive)
      this.#alive = undefined
    })
  }

  #leave(waiter: Waiter, held: readonly Held[]): void {
    this.#waiters.delete(waiter)
    waiter.resolve(held)
  }
}
