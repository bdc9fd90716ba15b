/**
 * The face of one queue: send, consume, look, and the dead letters. At least once: a message that was accepted is delivered
 * until it is settled, and can be delivered more than once.
 */
import { isSteadError } from '../base/index.ts'
import type { SteadError } from '../base/index.ts'
import { unsupported } from './capability.ts'
import type { Capability } from './capability.ts'
import { Consumer } from './consumer.ts'
import type { ConsumeOptions, Handler } from './consumer.ts'
import { isPromise } from './codec.ts'
import type { Counts, Durability, Outgoing, Seen, SendOutcome } from './driver.ts'
import { batchBytesMax, batchMax, checkNumber, checkOptions, checkSize, leaseMsMax, waitMsMax } from './limits.ts'
import type { Message } from './message.ts'
import type { QueueMetrics } from './metrics.ts'
import type { Prepared } from './outbox.ts'
import type { QueueCore, SendOptions } from './queue-core.ts'

/** What became of a message that was sent. */
export interface Sent {
  /** For a duplicate: the id of the message that was there. */
  readonly id: string
  readonly duplicate: boolean
  /** How safe it is now. */
  readonly durability: Durability
}

/** One item of `sendMany`. */
export interface Item<In> extends SendOptions {
  readonly value: In
}

export type ItemResult = ({ readonly ok: true } & Sent) | { readonly ok: false; readonly error: SteadError }

export interface ReceiveOptions {
  readonly max?: number
  /** How long to wait for the first message; 0 by default. */
  readonly waitMs?: number
  /** 30 s by default. Not extended by itself: `message.extend` does. */
  readonly leaseMs?: number
  readonly signal?: AbortSignal
}

const receiveOptions: ReadonlySet<keyof ReceiveOptions> = new Set(['max', 'waitMs', 'leaseMs', 'signal'])

/** The messages that were given up. They keep id, body, headers, attempts and cause. */
export interface DeadLetters {
  peek(max?: number): Promise<readonly Seen[]>
  /** Puts them back with attempts at zero: those of `ids`, or the oldest up to `max` (1000). Answers how many. */
  redrive(options?: { readonly ids?: readonly string[]; readonly max?: number }): Promise<number>
  purge(): Promise<number>
}

const noOptions: SendOptions = Object.freeze({})

export class Queue<In, Out> {
  readonly name: string
  readonly deadLetters: DeadLetters
  readonly #core: QueueCore<In, Out>
  readonly #consumers = new Set<Consumer<Out>>()

  constructor(core: QueueCore<In, Out>) {
    this.name = core.name
    this.#core = core
    const { driver, name } = core
    this.deadLetters = {
      peek: async (max = 100) => {
        this.#need('dead-letter')
        checkNumber('max', max, 1, batchMax)
        return driver.peek(name, 'dead', max)
      },
      redrive: async ({ ids, max = batchMax } = {}) => {
        this.#need('redrive')
        checkNumber('max', max, 1, batchMax)
        checkSize('the list of ids', 'ids', ids?.length ?? 0, batchMax)
        return driver.redrive(name, max, ids ?? null)
      },
      purge: async () => {
        this.#need('purge')
        return driver.purge(name, 'dead')
      },
    }
  }

  /**
   * Resolves when the message is as safe as `durability` says. Throws `queue.bad-input`, `queue.too-large` and
   * `queue.unsupported` before any I/O; `queue.full`, `queue.overloaded`, `queue.unavailable` or `queue.outcome-unknown` when
   * the server could not take it within the patience of the handle.
   */
  send(value: In, options: SendOptions = noOptions): Promise<Sent> {
    const { promise, resolve, reject } = Promise.withResolvers<Sent>()
    const told = {
      resolve(outcome: SendOutcome) {
        if (!outcome.ok) return reject(outcome.error)
        const { id, duplicate, durability } = outcome
        resolve({ id, duplicate, durability })
      },
      reject,
    }
    try {
      const message = this.#core.outgoing(value, options)
      if (isPromise(message)) message.then((made) => this.#core.submit(made, told), reject)
      else this.#core.submit(message, told)
    } catch (error) {
      reject(error)
    }
    return promise
  }

  /** Checks and encodes a message for an outbox; `outbox.add` writes it in a transaction. */
  async prepare(value: In, options: SendOptions = {}): Promise<Prepared> {
    return { queue: this.name, message: await this.#core.outgoing(value, options) }
  }

  /** Sends many: one result for each, and one bad item keeps none of the others back. */
  async sendMany(items: readonly Item<In>[]): Promise<readonly ItemResult[]> {
    checkSize('a batch', 'messages', items.length, batchMax)
    const made = await Promise.all(items.map((item) => this.#made(item)))
    const bytes = made.reduce((sum, item) => sum + (item.ok ? item.message.body.length : 0), 0)
    checkSize('a batch', 'bytes', bytes, batchBytesMax)
    return Promise.all(made.map(async (item): Promise<ItemResult> => (item.ok ? this.#core.send(item.message) : item)))
  }

  /** Runs `handler` for each message. It is acknowledged when the handler returns, and tried again when it throws. */
  consume(handler: (message: Message<Out>) => unknown, options: ConsumeOptions = {}): Consumer<Out> {
    const each: Handler<Out> = ([message]) => (message === undefined ? undefined : handler(message))
    return this.#consuming(each, 1, options)
  }

  /** Runs `handler` for groups of up to `sizeMax`. What it does not settle itself is settled together. */
  consumeBatch(handler: Handler<Out>, options: ConsumeOptions & { readonly sizeMax?: number } = {}): Consumer<Out> {
    const { sizeMax = 100, ...rest } = options
    checkNumber('sizeMax', sizeMax, 1, batchMax)
    return this.#consuming(handler, sizeMax, { concurrency: sizeMax, ...rest })
  }

  /** Takes messages by hand. Each must be settled; a message that cannot be read goes to the dead letters. */
  async receive(options: ReceiveOptions = {}): Promise<readonly Message<Out>[]> {
    checkOptions('receive', options, receiveOptions)
    const { max = 1, waitMs = 0, leaseMs = 30_000, signal = new AbortController().signal } = options
    checkNumber('max', max, 1, batchMax)
    checkNumber('waitMs', waitMs, 0, waitMsMax)
    checkNumber('leaseMs', leaseMs, 50, leaseMsMax)
    const held = await this.#core.receive({ max, waitMs, leaseMs, keepMs: 0 }, signal)
    const messages: Message<Out>[] = []
    for (const one of held) {
      try {
        messages.push(this.#core.messageOf(one, await this.#core.codec.decode(one.body)))
      } catch (error) {
        if (!isSteadError(error)) throw error
        this.#core.tally.invalid += 1
        await this.#core.messageOf(one, null).reject(error.message)
      }
    }
    return messages
  }

  async counts(): Promise<Counts> {
    this.#need('counts')
    return this.#core.driver.counts(this.name)
  }

  /** The first waiting messages, in the order of delivery, without taking them. */
  async peek(max = 100): Promise<readonly Seen[]> {
    this.#need('peek')
    checkNumber('max', max, 1, batchMax)
    return this.#core.driver.peek(this.name, 'ready', max)
  }

  /** Deletes what waits, also what is delayed. Held messages stay with their holders. */
  async purge(): Promise<number> {
    this.#need('purge')
    return this.#core.driver.purge(this.name, 'ready')
  }

  /** Counts of what this handle has done. */
  metrics(): QueueMetrics {
    return { ...this.#core.tally }
  }

  /** Drains all consumers of this handle; see `Consumer.drain`. */
  async drain(timeoutMs = 30_000): Promise<void> {
    await Promise.all([...this.#consumers].map((consumer) => consumer.drain(timeoutMs)))
  }

  /** Resolves when nothing that was sent or settled is still under way. */
  idle(): Promise<void> {
    return this.#core.idle()
  }

  #consuming(handler: Handler<Out>, groupMax: number, options: ConsumeOptions): Consumer<Out> {
    const forget = (ended: Consumer<Out>): void => void this.#consumers.delete(ended)
    const consumer = new Consumer<Out>(this.#core, handler, groupMax, options, forget)
    this.#consumers.add(consumer)
    return consumer
  }

  async #made({
    value,
    ...options
  }: Item<In>): Promise<
    { readonly ok: true; readonly message: Outgoing } | { readonly ok: false; readonly error: SteadError }
  > {
    try {
      return { ok: true, message: await this.#core.outgoing(value, options) }
    } catch (error) {
      if (!isSteadError(error)) throw error
      this.#core.tally.sendFailed += 1
      return { ok: false, error }
    }
  }

  #need(name: Capability): void {
    const support = this.#core.driver.capabilities[name]
    if (support.kind === 'refused') throw unsupported(this.#core.driver.name, name, support)
  }
}
