/**
 * What a queue's face, its consumers and its messages share: one driver, one codec, one tally, and the two gathers through
 * which everything reaches the driver. Options are checked here, before any I/O.
 */
import { isSteadError } from '../base/index.ts'
import type { Clock, Random, SteadError } from '../base/index.ts'
import { unsupported } from './capability.ts'
import type { Capability } from './capability.ts'
import { isPromise } from './codec.ts'
import type { Codec } from './codec.ts'
import type { Body, Held, Outgoing, QueueDriver, SendOutcome, SettleOutcome, Settlement, Want } from './driver.ts'
import { Gather } from './gather.ts'
import type { Told } from './gather.ts'
import * as limits from './limits.ts'
import { Message } from './message.ts'
import type { MessageContext } from './message.ts'
import { emptyTally } from './metrics.ts'
import type { QueueEvent, Tally } from './metrics.ts'
import { maySendAgain, maySettleAgain, patiently } from './patience.ts'
import type { RetryPolicy } from './retry.ts'
import { traceHeaders } from './trace.ts'
import type { Trace } from './trace.ts'

export interface SendOptions {
  /** Yours, to recognise the message by; made up by default. It is no dedup key. */
  readonly id?: string
  /** Messages of one key come in order, one at a time. */
  readonly key?: string
  readonly delayMs?: number
  /** 0 to `priorityMax`; the higher one comes first. */
  readonly priority?: number
  /** A second message with this key within `ms` (5 minutes) is not queued. */
  readonly dedup?: { readonly key: string; readonly ms?: number }
  /** Lower-case names; text. */
  readonly headers?: Readonly<Record<string, string>>
  readonly trace?: Trace
}

/** What a handle of a queue is made of. */
export interface CoreOptions<In, Out> {
  readonly name: string
  readonly driver: QueueDriver
  readonly codec: Codec<In, Out>
  readonly retry: RetryPolicy
  readonly clock: Clock
  readonly random: Random
  /** How long sending and settling wait for a server that is away. */
  readonly patienceMs: number
  readonly nextId: () => string
  /** Throws `queue.closed` when the queues were closed. */
  readonly checkOpen: () => void
  readonly onEvent: ((event: QueueEvent) => void) | undefined
}

const sendOptions: ReadonlySet<keyof SendOptions> = new Set([
  'id',
  'key',
  'delayMs',
  'priority',
  'dedup',
  'headers',
  'trace',
])

const waiting = { bytesMax: limits.batchBytesMax, waitingMax: 100_000, waitingBytesMax: 2 * limits.batchBytesMax }
/** A quarter of a batch each: while one is on its way, the program makes the next. */
const sendLimits = { ...waiting, itemsMax: limits.batchMax / 4, flightsMax: 4 }
const settleLimits = { ...waiting, itemsMax: limits.batchMax, flightsMax: 2 }

/** Of a message that has none. */
export const noHeaders: Readonly<Record<string, string>> = Object.freeze({})

export class QueueCore<In, Out> {
  readonly name: string
  readonly driver: QueueDriver
  readonly codec: Codec<In, Out>
  readonly retry: RetryPolicy
  readonly clock: Clock
  readonly tally: Tally = emptyTally()
  readonly #options: CoreOptions<In, Out>
  readonly #sends: Gather<Outgoing, SendOutcome>
  readonly #settlements: Gather<Settlement, SettleOutcome>
  readonly #context: MessageContext
  readonly #bodyBytesMax: number

  constructor(options: CoreOptions<In, Out>) {
    const { name, driver, clock, patienceMs } = options
    this.name = name
    this.driver = driver
    this.codec = options.codec
    this.retry = options.retry
    this.clock = clock
    this.#options = options
    this.#sends = new Gather(`messages to the queue ${name}`, sendLimits, (messages) =>
      patiently(clock, clock.monotonicMs() + patienceMs, maySendAgain, () => driver.send(name, messages)),
    )
    this.#settlements = new Gather(`settlements of the queue ${name}`, settleLimits, (settlements) =>
      patiently(clock, clock.monotonicMs() + patienceMs, maySettleAgain, () => driver.settle(name, settlements)),
    )
    this.#bodyBytesMax = Math.min(driver.limits.bodyBytesMax, limits.bodyBytesMax)
    this.#context = {
      queue: name,
      delayMsMax: Math.min(driver.limits.delayMsMax, limits.delayMsMax),
      tally: this.tally,
      settle: (settlement, told) => this.#settle(settlement, told),
    }
  }

  /** A number in [0, 1) from the dice. */
  chance(): number {
    return (this.#options.random.bytes(1)[0] ?? 0) / 256
  }

  tell(event: QueueEvent): void {
    this.#options.onEvent?.(event)
  }

  /**
   * The message as the driver takes it; a promise where the codec needs one. Throws when an option is beyond a limit or refused by the
   * driver, and what the codec throws.
   */
  outgoing(
    value: In,
    options: SendOptions,
    own: Readonly<Record<string, string>> = noHeaders,
  ): Outgoing | Promise<Outgoing> {
    this.#options.checkOpen()
    limits.checkOptions('sending', options, sendOptions)
    const { id, key, delayMs = 0, priority = 0, dedup, headers, trace } = options
    if (id !== undefined) limits.checkKey('id', id)
    if (key !== undefined) this.#need('ordering-key', () => limits.checkKey('ordering key', key))
    if (delayMs !== 0) {
      this.#need('delayed-send', () => limits.checkNumber('delayMs', delayMs, 0, this.#context.delayMsMax))
    }
    if (priority !== 0) this.#need('priority', () => limits.checkNumber('priority', priority, 0, limits.priorityMax))
    if (dedup !== undefined) {
      this.#need('dedup-key', () => limits.checkKey('dedup key', dedup.key))
      limits.checkNumber('dedup.ms', dedup.ms ?? 300_000, 1, limits.dedupMsMax)
    }
    let sent = own
    if (headers !== undefined || trace !== undefined) {
      const given = { ...headers, ...traceHeaders(trace) }
      limits.checkHeaders(given)
      sent = { ...given, ...own }
    }
    const made = (body: Body): Outgoing => {
      limits.checkSize(`a message to the queue ${this.name}`, 'bytes', bytesOf(body), this.#bodyBytesMax)
      return {
        id: id ?? this.#options.nextId(),
        body,
        headers: sent,
        key: key ?? null,
        priority,
        delayMs,
        dedup: dedup === undefined ? null : { key: dedup.key, ms: dedup.ms ?? 300_000 },
      }
    }
    const body = this.codec.encode(value)
    return isPromise(body) ? body.then(made) : made(body)
  }

  /** Sends, together with what others send in the same turn. `told` hears the outcome, and rejects for what is a bug. */
  submit(message: Outgoing, told: Told<SendOutcome>): void {
    this.#sends.submit(message, bytesOf(message.body), {
      resolve: (outcome) => {
        this.#countSent(outcome)
        told.resolve(outcome)
      },
      reject: (error) => {
        if (!isSteadError(error)) return told.reject(error)
        this.tally.sendFailed += 1
        told.resolve({ ok: false, error })
      },
    })
  }

  /** The same as a promise. */
  send(message: Outgoing): Promise<SendOutcome> {
    const { promise, resolve, reject } = Promise.withResolvers<SendOutcome>()
    this.submit(message, { resolve, reject })
    return promise
  }

  async receive(want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    this.#options.checkOpen()
    const held = await this.driver.receive(this.name, want, signal)
    this.tally.received += held.length
    return held
  }

  messageOf<T>(held: Held, value: T): Message<T> {
    return new Message(held, value, this.#context)
  }

  /** Resolves when nothing that was submitted is still under way. */
  async idle(): Promise<void> {
    await Promise.all([this.#sends.idle(), this.#settlements.idle()])
  }

  #countSent(outcome: SendOutcome): void {
    if (!outcome.ok) this.tally.sendFailed += 1
    else if (outcome.duplicate) this.tally.duplicates += 1
    else this.tally.sent += 1
  }

  #settle(settlement: Settlement, told: Told<SettleOutcome>): void {
    const refusal = this.#refusalOf(settlement)
    if (refusal === null) this.#settlements.submit(settlement, 0, told)
    else told.resolve({ error: refusal })
  }

  #refusalOf({ decision }: Settlement): SteadError | null {
    if (decision.kind === 'ack') return null
    const needed: Capability[] = [
      ...(decision.kind === 'extend' ? (['lease-extension'] as const) : []),
      ...(decision.kind === 'reject' ? (['dead-letter'] as const) : []),
      ...(decision.kind === 'retry' ? (['retry'] as const) : []),
      ...(decision.kind === 'retry' && decision.delayMs > 0 ? (['delayed-retry'] as const) : []),
      ...(decision.kind === 'retry' && !decision.countAsFailure ? (['uncounted-retry'] as const) : []),
    ]
    const missing = needed.find((name) => this.driver.capabilities[name].kind === 'refused')
    if (missing === undefined) return null
    return unsupported(this.driver.name, missing, this.driver.capabilities[missing])
  }

  #need(name: Capability, check: () => void): void {
    const support = this.driver.capabilities[name]
    if (support.kind === 'refused') throw unsupported(this.driver.name, name, support)
    check()
  }
}

function bytesOf(body: Body): number {
  return typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength
}
