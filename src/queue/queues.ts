/**
 * All queues of one driver: the handle that programs open and close. What differs between drivers is in their capabilities;
 * everything else (limits, retries, batching, dead letters, requests, metrics) is here and in what this is made of, once.
 */
import { isSteadError, randomId, systemClock, systemRandom } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import { capabilityTable, checkNeeds, unsupported } from './capability.ts'
import type { Capabilities, Capability } from './capability.ts'
import { bytesCodec } from './codec.ts'
import type { Codec } from './codec.ts'
import type { QueueDriver } from './driver.ts'
import { failure } from './errors.ts'
import { checkName, checkNumber, checkOptions, waitMsMax } from './limits.ts'
import type { Message } from './message.ts'
import type { QueueEvent } from './metrics.ts'
import { Relay } from './outbox.ts'
import type { Carry, OutboxTable } from './outbox.ts'
import { maySendAgain, patiently } from './patience.ts'
import { QueueCore } from './queue-core.ts'
import type { SendOptions } from './queue-core.ts'
import { Queue } from './queue.ts'
import { Replies, answerTo, correlationHeader, replyToHeader } from './request.ts'
import { retryPolicy } from './retry.ts'
import type { RetryPolicy } from './retry.ts'

/** What every driver's opening takes. */
export interface QueuesOptions {
  readonly clock?: Clock
  readonly random?: Random
  /** How long sending and settling wait for a server that is away, before they throw; 10 s by default. */
  readonly patienceMs?: number
  /** Told what no caller waits for: failed handlers, lost leases, a server that is away. */
  readonly onEvent?: (event: QueueEvent) => void
}

export interface DeclareOptions {
  /** What this queue must be able to do; what the driver or its server cannot is an error here and now. */
  readonly needs?: readonly Capability[]
  /** What becomes of failed messages; see `defaultRetry`. */
  readonly retry?: Partial<RetryPolicy>
}

const declareOptions: ReadonlySet<keyof DeclareOptions> = new Set(['needs', 'retry'])

export interface RequestOptions extends SendOptions {
  /** How long to wait for the answer; 30 s by default. */
  readonly timeoutMs?: number
}

/**
 * `Native` is the way down: how a client of the server's own kind reaches what these queues are on, and what they are called there.
 * It is data, typed by the driver; the client is the program's, with a connection of its own.
 */
export class Queues<Native = unknown> implements AsyncDisposable {
  readonly driver: string
  /** The server or engine with its version. */
  readonly server: string
  /** Null where there is nothing below. */
  readonly native: Native
  readonly #driver: QueueDriver
  readonly #options: QueuesOptions
  readonly #clock: Clock
  readonly #random: Random
  readonly #replies: Replies
  readonly #open = new Set<{ drain(): Promise<void>; idle(): Promise<void> }>()
  readonly #prefix: string
  #count = 0
  #closing: Promise<void> | undefined
  #closed = false

  constructor(driver: QueueDriver, options: QueuesOptions, native: Native) {
    checkNumber('patienceMs', options.patienceMs ?? 0, 0, 3_600_000)
    this.driver = driver.name
    this.server = driver.server
    this.native = native
    this.#driver = driver
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? systemRandom
    this.#replies = new Replies(driver, this.#clock, this.#random)
    this.#prefix = randomId(this.#random, 12)
  }

  /** What this driver on this server can do: native, emulated under a guarantee, or refused. */
  capabilities(): Capabilities {
    return this.#driver.capabilities
  }

  /** The same as a Markdown table. */
  capabilityTable(): string {
    return capabilityTable(this.#driver.capabilities)
  }

  /**
   * Makes the queue where it is not there, and a handle on it. `codec` is `json`, `bytes` or `typed(schema)`. Throws
   * `queue.unsupported` with all that is missing of `needs`, before anything is made.
   */
  async declare<In, Out>(name: string, codec: Codec<In, Out>, options: DeclareOptions = {}): Promise<Queue<In, Out>> {
    checkName(name)
    checkOptions('declare', options, declareOptions)
    const driver = this.#driverNow()
    checkNeeds(driver.name, driver.server, driver.capabilities, options.needs ?? [])
    const retry = retryPolicy(options.retry)
    const core = this.#core(name, codec, retry)
    await patiently(this.#clock, this.#clock.monotonicMs() + this.#patienceMs, maySendAgain, () => driver.declare(name))
    const queue = new Queue(core)
    this.#open.add(queue)
    return queue
  }

  /** Sends a request and waits for what a consumer answers with `reply`. Throws `queue.no-reply`, and what `send` throws. */
  async request<In, Out, ReplyIn, ReplyOut>(
    name: string,
    codec: Codec<In, Out>,
    value: In,
    replyCodec: Codec<ReplyIn, ReplyOut>,
    options: RequestOptions = {},
  ): Promise<ReplyOut> {
    const { timeoutMs = 30_000, ...sending } = options
    const driver = this.#driverNow()
    const support = driver.capabilities['request-reply']
    if (support.kind === 'refused') throw unsupported(driver.name, 'request-reply', support)
    checkNumber('timeoutMs', timeoutMs, 1, 60 * waitMsMax)
    const core = this.#core(name, codec, retryPolicy())
    const id = sending.id ?? this.#nextId()
    const own = { [replyToHeader]: await this.#replies.queue(), [correlationHeader]: id }
    const message = await core.outgoing(value, { ...sending, id }, own)
    const answer = this.#replies.answer(id, replyCodec, timeoutMs)
    // It can end while the request is still on its way; whoever waits for it hears of that below.
    answer.catch(() => {})
    const outcome = await core.send(message)
    if (outcome.ok) return answer
    throw outcome.error
  }

  /** Answers a message that came from `request`; drops the answer when nobody waits any more. Throws `queue.bad-input` for another. */
  async reply<In, Out>(message: Message<unknown>, codec: Codec<In, Out>, value: In): Promise<void> {
    const made = answerTo(message.headers, this.#nextId(), await codec.encode(value))
    const { queue, ...rest } = made
    const plain = { key: null, priority: 0, delayMs: 0, dedup: null }
    const send = async (): Promise<void> => {
      const [outcome] = await this.#driverNow().send(queue, [{ ...rest, ...plain }])
      if (outcome?.ok === false) throw outcome.error
    }
    const untilMs = this.#clock.monotonicMs() + this.#patienceMs
    try {
      await patiently(this.#clock, untilMs, maySendAgain, send)
    } catch (error) {
      // Whoever asked has gone, and with it the queue for the answer: the question is answered all the same.
      if (!isSteadError(error) || error.code !== 'queue.no-such-queue') throw error
    }
  }

  /**
   * Carries what is committed to an outbox to its queues, until it is closed. Looks every `pollMs` (200), and at once after
   * `hint()`. The queues must have been declared.
   */
  relay(table: OutboxTable, options: { readonly pollMs?: number } = {}): Relay {
    const { pollMs = 200 } = options
    checkNumber('pollMs', pollMs, 1, 3_600_000)
    const cores = new Map<string, QueueCore<Uint8Array, Uint8Array>>()
    const coreOf = (name: string): QueueCore<Uint8Array, Uint8Array> => {
      const core = cores.get(name) ?? this.#core(name, bytesCodec, retryPolicy())
      cores.set(name, core)
      return core
    }
    const carry: Carry = (messages) => Promise.all(messages.map(({ queue, message }) => coreOf(queue).send(message)))
    const relay = new Relay(table, carry, this.#clock, pollMs)
    this.#open.add({ drain: () => relay.close(), idle: async () => {} })
    return relay
  }

  /** Deletes a queue with everything in it, held and dead messages too. */
  async remove(name: string): Promise<void> {
    checkName(name)
    await this.#driverNow().remove(name)
  }

  /** Drains all consumers, waits for what was sent, and lets go of the driver. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    // Handlers that finish may send; only then is nothing more taken.
    await Promise.all([...this.#open].map((queue) => queue.drain()))
    this.#closed = true
    await Promise.all([...this.#open].map((queue) => queue.idle()))
    try {
      await this.#replies.close()
    } finally {
      await this.#driver.close()
    }
  }

  get #patienceMs(): number {
    return this.#options.patienceMs ?? 10_000
  }

  /** Ids that no other handle gives: a prefix from the dice, and a number. */
  #nextId(): string {
    this.#count += 1
    return `${this.#prefix}-${this.#count.toString(36)}`
  }

  #core<In, Out>(name: string, codec: Codec<In, Out>, retry: RetryPolicy): QueueCore<In, Out> {
    return new QueueCore({
      name,
      driver: this.#driver,
      codec,
      retry,
      clock: this.#clock,
      random: this.#random,
      patienceMs: this.#patienceMs,
      nextId: () => this.#nextId(),
      checkOpen: () => void this.#driverNow(),
      onEvent: this.#options.onEvent,
    })
  }

  #driverNow(): QueueDriver {
    if (!this.#closed) return this.#driver
    throw failure('closed', `the queues on ${this.driver} were closed`, 'Open them again, or stop their users first.')
  }
}

/** The queues of a driver; what the openings of drivers, ours and others', end with. `native`: see `Queues`. */
export function queuesOn(driver: QueueDriver, options?: QueuesOptions): Queues<null>
export function queuesOn<Native>(driver: QueueDriver, options: QueuesOptions, native: Native): Queues<Native>
export function queuesOn(driver: QueueDriver, options: QueuesOptions = {}, native: unknown = null): Queues {
  return new Queues(driver, options, native)
}
