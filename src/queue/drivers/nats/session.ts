/**
 * One connection to NATS, from its opening to its end: it is not mended, the link opens another. Everything that waits for an
 * answer ends when the connection does, or after a limit; a server that says nothing at all within that limit ends the connection.
 */
import type { JetStreamManager } from '@nats-io/jetstream'
import type { Msg, MsgHdrs, NatsConnection, Payload, Subscription } from '@nats-io/transport-node'
import { assert } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import { failure } from '../../errors.ts'

/** How long an answer may take. */
const answerMs = 10_000
/** Statuses that end nothing: the server is alive. */
const idleHeartbeat = 100

interface Asking {
  readonly subject: string
  readonly untilMs: number
  resolve(answer: Msg): void
  reject(error: unknown): void
}

/** A place for pulled messages: one pull at a time. */
interface Slot {
  readonly inbox: string
  readonly subscription: Subscription
  hear(message: Msg): void
}

/** What a pull has brought, and the status that ended it, if one did. */
export interface Pulled {
  readonly messages: readonly Msg[]
  readonly status: number | null
}

export class NatsSession {
  readonly connection: NatsConnection
  readonly api: JetStreamManager
  readonly #place: string
  readonly #clock: Clock
  readonly #newHeaders: () => MsgHdrs
  readonly #inbox: string
  readonly #asking = new Map<string, Asking>()
  readonly #slots: Slot[] = []
  readonly #onEnd = new Set<(error: unknown) => void>()
  #last = 0
  #heardMs: number
  #timer: Disposable | undefined
  #ended: unknown

  constructor(
    connection: NatsConnection,
    api: JetStreamManager,
    tools: {
      readonly place: string
      readonly clock: Clock
      readonly newHeaders: () => MsgHdrs
      readonly inbox: string
    },
  ) {
    this.connection = connection
    this.api = api
    this.#place = tools.place
    this.#clock = tools.clock
    this.#newHeaders = tools.newHeaders
    this.#inbox = tools.inbox
    this.#heardMs = tools.clock.monotonicMs()
    connection.subscribe(`${this.#inbox}.a.*`, { callback: (_error, answer) => this.#answered(answer) })
    void this.#watch()
    void connection.closed().then((error) => this.#end(error ?? new Error('the connection was closed')))
  }

  get ended(): boolean {
    return this.#ended !== undefined
  }

  /** Of this session alone. */
  get token(): string {
    return this.#inbox.slice(this.#inbox.lastIndexOf('.') + 1)
  }

  newHeaders(): MsgHdrs {
    return this.#newHeaders()
  }

  /** Tells, without an answer. What is told after this connection has ended goes nowhere. */
  tell(subject: string, payload: Payload): void {
    if (!this.ended) this.connection.publish(subject, payload)
  }

  /** The answer to a message. Throws `queue.outcome-unknown` when none comes. */
  ask(subject: string, payload: Payload, headers?: MsgHdrs): Promise<Msg> {
    if (this.ended) return Promise.reject(this.#unknown(this.#ended))
    const token = `${this.#inbox}.a.${(this.#last += 1)}`
    const { promise, resolve, reject } = Promise.withResolvers<Msg>()
    this.#asking.set(token, { subject, untilMs: this.#clock.monotonicMs() + answerMs, resolve, reject })
    this.connection.publish(subject, payload, headers === undefined ? { reply: token } : { reply: token, headers })
    this.#plan()
    return promise
  }

  /**
   * Up to `batch` messages of a consumer: those that wait now, or with `expiresMs`, those that come until the batch is full or
   * the time over. Throws `queue.unavailable` when the connection ends.
   */
  async pull(stream: string, consumer: string, batch: number, expiresMs: number): Promise<Pulled> {
    if (this.ended) throw this.#away(this.#ended)
    const slot = this.#slots.pop() ?? this.#newSlot()
    const messages: Msg[] = []
    const { promise, resolve, reject } = Promise.withResolvers<number | null>()
    slot.hear = (message) => {
      this.#heardMs = this.#clock.monotonicMs()
      if (message.subject !== slot.inbox) {
        messages.push(message)
        if (messages.length >= batch) resolve(null)
      } else if (message.headers?.code !== idleHeartbeat) resolve(message.headers?.code ?? 0)
    }
    const onEnd = (error: unknown): void => reject(this.#away(error))
    this.#onEnd.add(onEnd)
    using _late = this.#clock.after(expiresMs + answerMs, () => reject(this.#away('it does not answer')))
    const want = expiresMs === 0 ? { batch, no_wait: true } : { batch, expires: expiresMs * 1_000_000 }
    this.connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, JSON.stringify(want), {
      reply: slot.inbox,
    })
    try {
      const status = await promise
      this.#slots.push(slot)
      return { messages, status }
    } catch (error) {
      slot.subscription.unsubscribe()
      // What has come is with us: it is not lost by what ends the pull.
      if (messages.length > 0) return { messages, status: null }
      throw error
    } finally {
      this.#onEnd.delete(onEnd)
    }
  }

  /** Resolves when the server has read what was told before; false when it did not within the limit. */
  async flush(): Promise<boolean> {
    const late = Promise.withResolvers<boolean>()
    using _late = this.#clock.after(answerMs, () => late.resolve(false))
    return Promise.race([
      this.connection.flush().then(
        () => true,
        () => false,
      ),
      late.promise,
    ])
  }

  async close(): Promise<void> {
    this.#timer?.[Symbol.dispose]()
    await this.flush()
    await this.connection.close()
  }

  #newSlot(): Slot {
    const inbox = `${this.#inbox}.p.${(this.#last += 1)}`
    const slot: Slot = {
      inbox,
      hear: () => {},
      subscription: this.connection.subscribe(inbox, { callback: (_error, message) => slot.hear(message) }),
    }
    return slot
  }

  #answered(answer: Msg): void {
    this.#heardMs = this.#clock.monotonicMs()
    const asking = this.#asking.get(answer.subject)
    this.#asking.delete(answer.subject)
    asking?.resolve(answer)
  }

  /** What the server says of itself: that something is not allowed. */
  async #watch(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type !== 'error' || !('subject' in status.error)) continue
      const refused = String(status.error.subject)
      const error = failure('not-authorized', `${this.#place} refuses: ${status.error.message}`, 'Look at the rights.')
      for (const [token, asking] of this.#asking) {
        if (asking.subject !== refused) continue
        this.#asking.delete(token)
        asking.reject(error)
      }
    }
  }

  /** Ends what has waited too long: the oldest is the first. */
  #plan(): void {
    if (this.#timer !== undefined) return
    const [oldest] = this.#asking.values()
    if (oldest === undefined) return
    this.#timer = this.#clock.after(Math.max(1, oldest.untilMs - this.#clock.monotonicMs()), () => {
      this.#timer = undefined
      const nowMs = this.#clock.monotonicMs()
      for (const [token, asking] of this.#asking) {
        if (asking.untilMs > nowMs) break
        this.#asking.delete(token)
        asking.reject(this.#unknown(`nothing came within ${answerMs} ms`))
        // It took the connection and says nothing on it: another one may do better.
        if (asking.untilMs - answerMs > this.#heardMs) void this.connection.close()
      }
      this.#plan()
    })
  }

  #end(error: unknown): void {
    this.#ended ??= error
    this.#timer?.[Symbol.dispose]()
    for (const asking of this.#asking.values()) asking.reject(this.#unknown(error))
    this.#asking.clear()
    for (const end of this.#onEnd) end(error)
    assert(this.#asking.size === 0, 'somebody still waits for an answer')
  }

  #unknown(cause: unknown): Error {
    const message = `${this.#place} did not answer: ${wordsOf(cause)}`
    return failure('outcome-unknown', message, 'It may have happened.', cause)
  }

  #away(cause: unknown): Error {
    const message = `${this.#place} does not answer: ${wordsOf(cause)}`
    return failure('unavailable', message, 'See whether it runs and can be reached.', cause)
  }
}

function wordsOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
