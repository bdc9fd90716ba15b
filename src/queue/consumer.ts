/**
 * Takes messages and runs a handler for each (or for groups), with bounded concurrency. A consumer is never silently dead: a
 * server that is away is asked again and again, each failure is told, and what ends a consumer rejects `ended`. Messages
 * that were received and not settled are never forgotten: the lease brings them back.
 */
import { assert, isSteadError, messageOf, sleep } from '../base/index.ts'
import type { SteadError } from '../base/index.ts'
import type { Held } from './driver.ts'
import { failure, mayPass } from './errors.ts'
import { checkNumber, concurrencyMax, leaseMsMax, waitMsMax } from './limits.ts'
import type { Message } from './message.ts'
import { pauseMs } from './patience.ts'
import type { QueueCore } from './queue-core.ts'
import { retryDelayMs } from './retry.ts'

export interface ConsumeOptions {
  /** Messages that are handled at once, at most; 10 by default. Nothing beyond that is taken from the queue. */
  readonly concurrency?: number
  /** How long a message stays ours without a sign of life; 30 s by default. It is extended while the handler works. */
  readonly leaseMs?: number
  /** How long a handler may take before its message counts as failed; 5 minutes by default. 0: the lease alone, not extended. */
  readonly timeoutMs?: number
}

export type Handler<T> = (messages: readonly Message<T>[]) => unknown

/** What became of the messages in hand when a consumer was drained. */
export interface Drained {
  readonly finished: number
  /** Given back unfinished because the time was over. */
  readonly released: number
}

export class Consumer<T> implements AsyncDisposable {
  /** Resolves when the consumer was drained; rejects with the error that ended it. Nobody but the program handles that. */
  readonly ended: Promise<void>
  readonly #core: QueueCore<unknown, T>
  readonly #handler: Handler<T>
  readonly #groupMax: number
  readonly #concurrency: number
  readonly #leaseMs: number
  readonly #timeoutMs: number
  readonly #stop = new AbortController()
  /** Ends the wait for messages that is under way. */
  #interrupt = new AbortController()
  /** The groups that handlers work on, each with when its time is over. */
  readonly #working = new Map<readonly Message<T>[], number>()
  /** One timer for all of them: a timer for each would cost more than the rest of a message's way. */
  #late: Disposable | undefined
  #slots: number
  #paused = false
  #finished = 0
  #changed = Promise.withResolvers<void>()

  /** `groupMax`: messages that one call of the handler gets, at most. `onEnd` is called when it has ended, however. */
  constructor(
    core: QueueCore<unknown, T>,
    handler: Handler<T>,
    groupMax: number,
    options: ConsumeOptions,
    onEnd: (consumer: Consumer<T>) => void,
  ) {
    const { concurrency = Math.max(10, groupMax), leaseMs = 30_000, timeoutMs = 300_000 } = options
    checkNumber('concurrency', concurrency, 1, concurrencyMax)
    checkNumber('leaseMs', leaseMs, 50, leaseMsMax)
    checkNumber('timeoutMs', timeoutMs, 0, leaseMsMax)
    this.#core = core
    this.#handler = handler
    this.#groupMax = groupMax
    this.#concurrency = concurrency
    this.#slots = concurrency
    this.#leaseMs = leaseMs
    this.#timeoutMs = timeoutMs
    this.ended = this.#run().finally(() => onEnd(this))
  }

  /** Messages that are being handled now. */
  get inFlight(): number {
    return this.#concurrency - this.#slots
  }

  /** Takes nothing more until `resume`; what is in hand goes on. */
  pause(): void {
    this.#paused = true
    this.#interrupt.abort()
  }

  resume(): void {
    this.#paused = false
    this.#wake()
  }

  /**
   * Takes nothing more, waits for what is in hand up to `timeoutMs` (30 s), gives back the rest, and ends. Handlers that are
   * still running see their `signal` abort.
   */
  async drain(timeoutMs = 30_000): Promise<Drained> {
    this.#stop.abort()
    this.#interrupt.abort()
    this.#wake()
    const before = this.#finished
    const { clock } = this.#core
    const untilMs = clock.monotonicMs() + timeoutMs
    while (this.inFlight > 0 && clock.monotonicMs() < untilMs) {
      using _late = clock.after(Math.max(1, untilMs - clock.monotonicMs()), () => this.#wake())
      await this.#changed.promise
    }
    const rest = [...this.#working.keys()].flat().filter((message) => !message.settled)
    const ending = failure('closed', 'the consumer ends', 'Stop what the handler does.')
    await Promise.all(rest.map((message) => this.#giveBack(message, ending)))
    await this.ended
    this.#late?.[Symbol.dispose]()
    return { finished: this.#finished - before, released: rest.length }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain()
  }

  async #giveBack(message: Message<T>, why: SteadError): Promise<void> {
    message.end(why)
    const countAsFailure = this.#core.driver.capabilities['uncounted-retry'].kind === 'refused'
    await this.#quietly(message, () => message.retry({ countAsFailure }))
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#stop.signal.aborted;) {
      if (this.#paused || this.#slots === 0) {
        await this.#changed.promise
        // What is settled together ends together: the messages after it are taken together, too.
        await new Promise(setImmediate)
        continue
      }
      try {
        await this.#take(this.#slots)
        failures = 0
      } catch (error) {
        if (!mayPass(error) || !isSteadError(error)) throw error
        failures += 1
        const againMs = pauseMs(failures)
        this.#core.tell({ kind: 'not-received', queue: this.#core.name, error, againMs })
        await sleep(this.#core.clock, againMs, this.#stop.signal).catch(() => {})
      }
    }
  }

  /** Receives up to `max` messages and sets handlers to work. */
  async #take(max: number): Promise<void> {
    this.#interrupt = new AbortController()
    const want = { max, waitMs: waitMsMax, leaseMs: this.#leaseMs, keepMs: this.#timeoutMs }
    const held = await this.#core.receive(want, this.#interrupt.signal)
    for (let index = 0; index < held.length; index += this.#groupMax) {
      const group = held.slice(index, index + this.#groupMax)
      this.#slots -= group.length
      this.#core.tally.inFlight += group.length
      void this.#handle(group).finally(() => {
        this.#slots += group.length
        this.#finished += group.length
        this.#core.tally.inFlight -= group.length
        this.#wake()
      })
    }
  }

  async #handle(group: readonly Held[]): Promise<void> {
    const messages = (await Promise.all(group.map((held) => this.#opened(held)))).filter((message) => message !== null)
    if (messages.length === 0) return
    this.#working.set(
      messages,
      this.#core.clock.monotonicMs() + (this.#timeoutMs === 0 ? Number.POSITIVE_INFINITY : this.#timeoutMs),
    )
    if (this.#late === undefined && this.#timeoutMs > 0) this.#lookLateAfter(this.#timeoutMs)
    try {
      await this.#handler(messages)
      const rest = messages.filter((message) => !message.settled)
      await Promise.all(rest.map((message) => this.#quietly(message, () => message.ack())))
    } catch (error) {
      const rest = messages.filter((message) => !message.settled)
      this.#core.tally.handlerFailed += rest.length
      await Promise.all(rest.map((message) => this.#failed(message, error)))
    } finally {
      this.#working.delete(messages)
    }
  }

  /** Looks then whose time is over, and so on while anybody works. */
  #lookLateAfter(delayMs: number): void {
    this.#late = this.#core.clock.after(Math.max(1, delayMs), () => {
      this.#late = undefined
      const nowMs = this.#core.clock.monotonicMs()
      let nextMs = Number.POSITIVE_INFINITY
      for (const [messages, untilMs] of this.#working) {
        if (untilMs > nowMs) nextMs = Math.min(nextMs, untilMs)
        else {
          // Once: however long the handler still takes.
          this.#working.set(messages, Number.POSITIVE_INFINITY)
          this.#overdue(messages)
        }
      }
      if (nextMs < Number.POSITIVE_INFINITY) this.#lookLateAfter(nextMs - nowMs)
    })
  }

  /** The message, if its handler may be started; otherwise it goes to the dead letters with the reason. */
  async #opened(held: Held): Promise<Message<T> | null> {
    const { attemptsMax } = this.#core.retry
    if (held.attempt > attemptsMax) {
      const cause = `${attemptsMax} attempts were made; the last consumer vanished or ran out of time`
      await this.#bury(this.#core.messageOf(held, null), cause)
      return null
    }
    try {
      return this.#core.messageOf(held, await this.#core.codec.decode(held.body))
    } catch (error) {
      if (!isSteadError(error)) throw error
      this.#core.tally.invalid += 1
      this.#core.tell({
        kind: 'failed',
        queue: this.#core.name,
        id: held.id,
        attempt: held.attempt,
        next: 'dead',
        error,
      })
      await this.#bury(this.#core.messageOf(held, null), error.message)
      return null
    }
  }

  #bury(message: Message<unknown>, cause: string): Promise<void> {
    return this.#quietly(message, () => message.reject(cause))
  }

  /** The handler of these messages has had its time: they count as failed, whatever it still does. */
  #overdue(messages: readonly Message<T>[]): void {
    const error = failure(
      'handler-timeout',
      `a handler of the queue ${this.#core.name} took longer than ${this.#timeoutMs} ms`,
      'Make it faster, split its work, or give a longer timeoutMs. Heed message.signal.',
    )
    for (const message of messages.filter((item) => !item.settled)) {
      this.#core.tally.handlerTimedOut += 1
      message.end(error)
      void this.#failed(message, error)
    }
  }

  async #failed(message: Message<T>, error: unknown): Promise<void> {
    const { attempt, id } = message
    const delayMs = retryDelayMs(this.#core.retry, attempt, this.#core.chance())
    const next = delayMs === null ? 'dead' : 'retry'
    this.#core.tell({ kind: 'failed', queue: this.#core.name, id, attempt, next, error })
    if (delayMs === null) return this.#bury(message, messageOf(error))
    const canDelay = this.#core.driver.capabilities['delayed-retry'].kind !== 'refused'
    return this.#quietly(message, () => message.retry({ delayMs: canDelay ? delayMs : 0 }))
  }

  /** Settles where nobody waits: a failure is told, and the lease brings the message back. */
  async #quietly(message: Message<unknown>, settle: () => Promise<void>): Promise<void> {
    try {
      await settle()
    } catch (error) {
      assert(isSteadError(error), `a settlement threw ${messageOf(error)}`)
      this.#core.tell({ kind: 'not-settled', queue: this.#core.name, id: message.id, error })
    }
  }

  #wake(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }
}
