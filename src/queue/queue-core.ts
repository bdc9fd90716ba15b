/**
 * What a queue's face, its consumers and its messages share: one driver, one codec, one tally, and the two gathers through
 * which everything reaches the driver. Options are checked here, before any I/O.
 */
import { isSteadError } from '../base/index.ts'
import type { Clock, Random, SteadError } from '../base/index.ts'
import { unsupported } from './capability.ts'
import type { Capability } from './capability.ts'
import type { Codec } from './codec.ts'
import type { Body, Held, Outgoing, QueueDriver, SendOutcome, SettleOutcome, Settlement, Want } from './driver.ts'
import { Gather } from './gather.ts'
import * as limits from './limits.ts'
import { Message } from './message.ts'
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

const sendLimits = {
  itemsMax: limits.batchMax,
  bytesMax: limits.batchBytesMax,
  flightsMax: 2,
  waitingMax: 100_000,
  waitingBytesMax: 2 * limits.batchBytesMax,
}

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
    this.#settlements = new Gather(`settlements of the queue ${name}`, sendLimits, (settlements) =>
      patiently(clock, clock.monotonicMs() + patienceMs, maySettleAgain, () => driver.settle(name, settlements)),
    )
  }

  /** A number in [0, 1) from the dice. */
  chance(): number {
    return (this.#options.random.bytes(1)[0] ?? 0) / 256
  }

  tell(event: QueueEvent): void {
    this.#options.onEvent?.(event)
  }

  /** The message as the driver takes it. Throws when an option is beyond a limit or refused by the driver. */
  async outgoing(value: In, options: SendOptions, own: Readonly<Record<string, string>>): Promise<Outgoing> {
    this.#options.checkOpen()
    const { id, key, delayMs = 0, priority = 0, dedup, headers, trace } = options
    if (id !== undefined) limits.checkKey('id', id)
    if (key !== undefined) this.#need('ordering-key', () => limits.checkKey('ordering key', key))
    if (delayMs !== 0) {
      const delayMsMax = Math.min(this.driver.limits.delayMsMax, limits.delayMsMax)
      this.#need('delayed-send', () => limits.checkNumber('delayMs', delayMs, 0, delayMsMax))
    }
    if (priority !== 0) this.#need('priority', () => limits.checkNumber('priority', priority, 0, limits.priorityMax))
    if (dedup !== undefined) {
      this.#need('dedup-key', () => limits.checkKey('dedup key', dedup.key))
      limits.checkNumber('dedup.ms', dedup.ms ?? 300_000, 1, limits.dedupMsMax)
    }
    const sent = headers === undefined && trace === undefined ? {} : { ...headers, ...traceHeaders(trace) }
    limits.checkHeaders(sent)
    const body = await this.codec.encode(value)
    const bodyBytesMax = Math.min(this.driver.limits.bodyBytesMax, limits.bodyBytesMax)
    limits.checkSize(`a message to the queue ${this.name}`, 'bytes', bytesOf(body), bodyBytesMax)
    return {
      id: id ?? this.#options.nextId(),
      body,
      headers: { ...sent, ...own },
      key: key ?? null,
      priority,
      delayMs,
      dedup: dedup === undefined ? null : { key: dedup.key, ms: dedup.ms ?? 300_000 },
    }
  }

  /** Sends, together with what others send in the same turn. */
  async send(message: Outgoing): Promise<SendOutcome> {
    let outcome: SendOutcome
    try {
      outcome = await this.#sends.submit(message, bytesOf(message.body))
    } catch (error) {
      if (!isSteadError(error)) throw error
      outcome = { ok: false, error }
    }
    if (!outcome.ok) this.tally.sendFailed += 1
    else if (outcome.duplicate) this.tally.duplicates += 1
    else this.tally.sent += 1
    return outcome
  }

  async receive(want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    this.#options.checkOpen()
    const held = await this.driver.receive(this.name, want, signal)
    this.tally.received += held.length
    return held
  }

  messageOf<T>(held: Held, value: T): Message<T> {
    return new Message(held, value, {
      queue: this.name,
      delayMsMax: Math.min(this.driver.limits.delayMsMax, limits.delayMsMax),
      tally: this.tally,
      settle: (settlement) => this.#settle(settlement),
    })
  }

  /** Resolves when nothing that was submitted is still under way. */
  async idle(): Promise<void> {
    await Promise.all([this.#sends.idle(), this.#settlements.idle()])
  }

  #settle(settlement: Settlement): Promise<SettleOutcome> {
    const refusal = this.#refusalOf(settlement)
    return refusal === null ? this.#settlements.submit(settlement, 0) : Promise.resolve({ error: refusal })
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
