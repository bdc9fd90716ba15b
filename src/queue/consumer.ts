/**
 * Takes messages and runs a handler for each (or for groups), with bounded concurrency. A consumer is never silently dead: a
 * server that is away is asked again and again, each failure is told, and what ends a consumer rejects `ended`. Messages
 * that were received and not settled are never forgotten: the lease brings them back.
 */
import { assert, isSteadError, messageOf, sleep } from '../base/index.ts'
import type { SteadError } from '../base/index.ts'
import { isPromise } from './codec.ts'
import type { Decision, Held } from './driver.ts'
import { failure, mayPass } from './errors.ts'
import { batchMax, checkNumber, checkOptions, concurrencyMax, leaseMsMax, waitMsMax } from './limits.ts'
import { causeOf } from './message.ts'
import type { Message } from './message.ts'
import { pauseMs } from './patience.ts'
import type { QueueCore } from './queue-core.ts'
import { retryDelayMs } from './retry.ts'

/** With fewer at once, what overlaps saves less than the further calls cost. */
const overlapMin = 64
/** Nor does it save anything when handlers block the program for less than this part of the time that taking takes. */
const overlapShare = 0.25

export interface ConsumeOptions {
  /** Messages that are handled at once, at most; 10 by default. Nothing beyond that is taken from the queue. */
  readonly concurrency?: number
  /** How long a message stays ours without a sign of life; 30 s by default. It is extended while the handler works. */
  readonly leaseMs?: number
  /** How long a handler may take before its message counts as failed; 5 minutes by default. 0: the lease alone, not extended. */
  readonly timeoutMs?: number
}

const consumeOptions: ReadonlySet<keyof ConsumeOptions> = new Set(['concurrency', 'leaseMs', 'timeoutMs'])

const ack: Decision = { kind: 'ack' }

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
  /** How long the last take has taken, and how long the handlers of one let nobody else do anything. */
  #takingMs = 0
  #blockedMs = 0
  #paused = false
  #finished = 0
  /** Who waits for a place that is free, for `resume` or for the end. */
  #waiting: PromiseWithResolvers<void> | undefined

  /** `groupMax`: messages that one call of the handler gets, at most. `onEnd` is called when it has ended, however. */
  constructor(
    core: QueueCore<unknown, T>,
    handler: Handler<T>,
    groupMax: number,
    options: ConsumeOptions,
    onEnd: (consumer: Consumer<T>) => void,
  ) {
    checkOptions('consume', options, consumeOptions)
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

  /** Messages that are being handled or settled now. */
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
      await this.#change()
    }
    const rest = [...this.#working.keys()].flat().filter((message) => !message.settled)
    const ending = failure('closed', 'the consumer ends', 'Stop what the handler does.')
    await Promise.all(rest.map((message) => this.#givenBack(message, ending)))
    await this.ended
    this.#late?.[Symbol.dispose]()
    return { finished: this.#finished - before, released: rest.length }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain()
  }

  /** Resolves when it was given back, or could not be. */
  #givenBack(message: Message<T>, why: SteadError): Promise<void> {
    message.end(why)
    const countAsFailure = this.#core.driver.capabilities['uncounted-retry'].kind === 'refused'
    return new Promise((resolve) => this.#finish(message, { kind: 'retry', delayMs: 0, countAsFailure }, resolve))
  }

  async #run(): Promise<void> {
    let taken: readonly Held[] = []
    for (let failures = 0; !this.#stop.signal.aborted;) {
      if (this.#paused || this.#slots === 0) {
        this.#begin(taken)
        taken = []
        if (!this.#paused && this.#slots > 0) continue
        await this.#change()
        // What is settled together ends together: the messages after it are taken together, too.
        await new Promise(setImmediate)
        continue
      }
      try {
        const taking = this.#take(Math.min(this.#slots, this.#takeMax()))
        // The next are on their way while handlers work on these, also when those let nobody else do anything.
        this.#begin(taken)
        taken = []
        taken = await taking
        failures = 0
      } catch (error) {
        if (!mayPass(error) || !isSteadError(error)) throw error
        failures += 1
        const againMs = pauseMs(failures)
        this.#core.tell({ kind: 'not-received', queue: this.#core.name, error, againMs })
        await sleep(this.#core.clock, againMs, this.#stop.signal).catch(() => {})
      }
    }
    this.#begin(taken)
  }

  /**
   * All that may be in hand; or half of it, so that handlers that block the program work on one half while the other is settled and
   * taken. A group is taken whole.
   */
  #takeMax(): number {
    const overlaps = this.#concurrency >= overlapMin && this.#blockedMs > overlapShare * this.#takingMs
    const max = overlaps ? Math.max(this.#groupMax, Math.ceil(this.#concurrency / 2)) : this.#concurrency
    return Math.min(max, batchMax)
  }

  /** Receives up to `max` messages. They have their places from now on. */
  async #take(max: number): Promise<readonly Held[]> {
    this.#interrupt = new AbortController()
    const want = { max, waitMs: waitMsMax, leaseMs: this.#leaseMs, keepMs: this.#timeoutMs }
    const beganMs = this.#core.clock.monotonicMs()
    const held = await this.#core.receive(want, this.#interrupt.signal)
    this.#takingMs = this.#core.clock.monotonicMs() - beganMs
    this.#slots -= held.length
    this.#core.tally.inFlight += held.length
    return held
  }

  /** Sets handlers to work. */
  #begin(held: readonly Held[]): void {
    if (held.length === 0) return
    const beganMs = this.#core.clock.monotonicMs()
    for (let from = 0; from < held.length; from += this.#groupMax) {
      const messages: Message<T>[] = []
      let late: Promise<Message<T> | null>[] | undefined
      for (const one of held.slice(from, from + this.#groupMax)) {
        const opened = this.#opened(one)
        if (opened === null) continue
        if (isPromise(opened)) (late ??= messages.map((message) => Promise.resolve(message))).push(opened)
        else if (late !== undefined) late.push(Promise.resolve(opened))
        else messages.push(opened)
      }
      if (late === undefined) this.#handle(messages)
      else void Promise.all(late).then((all) => this.#handle(all.filter((message) => message !== null)))
    }
    this.#blockedMs = this.#core.clock.monotonicMs() - beganMs
  }

  /** The places of this many messages are free again. */
  #leave(count: number): void {
    this.#slots += count
    this.#finished += count
    this.#core.tally.inFlight -= count
    this.#wake()
  }

  #handle(messages: readonly Message<T>[]): void {
    if (messages.length === 0) return
    const untilMs = this.#timeoutMs === 0 ? Number.POSITIVE_INFINITY : this.#core.clock.monotonicMs() + this.#timeoutMs
    this.#working.set(messages, untilMs)
    if (this.#late === undefined && this.#timeoutMs > 0) this.#lookLateAfter(this.#timeoutMs)
    let result: unknown
    try {
      result = this.#handler(messages)
    } catch (error) {
      return this.#threw(messages, error)
    }
    if (!isPromise(result)) return this.#returned(messages)
    result.then(
      () => this.#returned(messages),
      (error: unknown) => this.#threw(messages, error),
    )
  }

  /** The handler is through: what it has not settled itself is done. */
  #returned(messages: readonly Message<T>[]): void {
    this.#working.delete(messages)
    for (const message of messages) {
      if (message.settled) this.#leave(1)
      else this.#finish(message, ack, () => this.#leave(1))
    }
  }

  #threw(messages: readonly Message<T>[], error: unknown): void {
    this.#working.delete(messages)
    for (const message of messages) {
      if (message.settled) {
        this.#leave(1)
        continue
      }
      this.#core.tally.handlerFailed += 1
      this.#failed(message, error, () => this.#leave(1))
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

  /** The message, if its handler may be started; otherwise null, and it goes to the dead letters with the reason. */
  #opened(held: Held): Message<T> | null | Promise<Message<T> | null> {
    const { attemptsMax } = this.#core.retry
    if (held.attempt > attemptsMax) {
      const cause = `${attemptsMax} attempts were made; the last consumer vanished or ran out of time`
      this.#bury(this.#core.messageOf(held, null), cause, () => this.#leave(1))
      return null
    }
    try {
      const value = this.#core.codec.decode(held.body)
      if (!isPromise(value)) return this.#core.messageOf(held, value)
      return value.then(
        (decoded) => this.#core.messageOf(held, decoded),
        (error: unknown) => this.#invalid(held, error),
      )
    } catch (error) {
      return this.#invalid(held, error)
    }
  }

  #invalid(held: Held, error: unknown): null {
    if (!isSteadError(error)) throw error
    const { id, attempt } = held
    this.#core.tally.invalid += 1
    this.#core.tell({ kind: 'failed', queue: this.#core.name, id, attempt, next: 'dead', error })
    this.#bury(this.#core.messageOf(held, null), error.message, () => this.#leave(1))
    return null
  }

  #bury(message: Message<unknown>, cause: string, over: () => void): void {
    this.#finish(message, { kind: 'reject', cause: causeOf(cause) }, over)
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
      // Its place is free when the handler ends.
      this.#failed(message, error, () => {})
    }
  }

  #failed(message: Message<T>, error: unknown, over: () => void): void {
    const { attempt, id } = message
    const delayMs = retryDelayMs(this.#core.retry, attempt, this.#core.chance())
    const next = delayMs === null ? 'dead' : 'retry'
    this.#core.tell({ kind: 'failed', queue: this.#core.name, id, attempt, next, error })
    if (delayMs === null) return this.#bury(message, messageOf(error), over)
    const canDelay = this.#core.driver.capabilities['delayed-retry'].kind !== 'refused'
    this.#finish(message, { kind: 'retry', delayMs: canDelay ? delayMs : 0, countAsFailure: true }, over)
  }

  /** Settles where nobody waits: a failure is told, and the lease brings the message back. */
  #finish(message: Message<unknown>, decision: Decision, over: () => void): void {
    message.finish(decision, (error) => {
      over()
      if (error === null) return
      assert(isSteadError(error), `a settlement threw ${messageOf(error)}`)
      this.#core.tell({ kind: 'not-settled', queue: this.#core.name, id: message.id, error })
    })
  }

  #change(): Promise<void> {
    this.#waiting ??= Promise.withResolvers<void>()
    return this.#waiting.promise
  }

  #wake(): void {
    this.#waiting?.resolve()
    this.#waiting = undefined
  }
}
