/**
 * Queues on AMQP 0-9-1: a quorum queue each, and one more for its dead letters. A consumer takes exactly what it asked for: it listens with that many unsettled messages allowed, and stops listening. Messages
 * belong to a channel, so leases are kept here (`Hands`), where the driver runs in a thread. A copy is confirmed before the
 * original is let go.
 */
import type { ConsumeMessage, GetMessage } from 'amqplib'
import { isSteadError } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import { unsupported } from '../../capability.ts'
import type { Capabilities } from '../../capability.ts'
import type {
  Counts,
  Decision,
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
import { batchMax } from '../../limits.ts'
import type { DriverLimits } from '../../limits.ts'
import { AmqpLink } from './link.ts'
import type { NumberedChannel } from './link.ts'
import { bytesOf, newMessage, propertiesOf, readMessage } from './message.ts'
import type { AmqpMessage } from './message.ts'
import { Hands } from '../hands.ts'

/** The server's own limit of deliveries is put out of the way: attempts are counted by us. */
const deliveryLimit = 1_000_000

interface InHand {
  readonly from: NumberedChannel
  readonly delivery: ConsumeMessage
  readonly message: AmqpMessage
  readonly attempt: number
  readonly queue: string
}

export interface AmqpOptions {
  readonly url: string
  readonly messagesMax: number | null
  readonly capabilities: Capabilities
  readonly bodyBytesMax: number
  readonly clock: Clock
}

export class AmqpDriver implements QueueDriver {
  readonly name = 'amqp'
  readonly capabilities: Capabilities
  readonly limits: DriverLimits
  readonly #options: AmqpOptions
  readonly #link: AmqpLink
  readonly #hands = new Hands<InHand>()
  /** For each queue: one begins to listen after the other. */
  readonly #turns = new Map<string, Promise<unknown>>()
  #timer: Disposable | undefined

  constructor(options: AmqpOptions) {
    this.capabilities = options.capabilities
    this.limits = { bodyBytesMax: options.bodyBytesMax, delayMsMax: 0 }
    this.#options = options
    this.#link = new AmqpLink(options.url, (lost) => this.#hands.drop(({ from }) => from === lost))
  }

  get server(): string {
    return this.#link.product
  }

  async connect(): Promise<void> {
    await this.#link.connection()
  }

  async declare(queue: string): Promise<void> {
    const { messagesMax } = this.#options
    const limited = messagesMax === null ? {} : { 'x-max-length': messagesMax, 'x-overflow': 'reject-publish' }
    const base = { 'x-queue-type': 'quorum', 'x-delivery-limit': deliveryLimit }
    await this.#link.apart(async (channel) => {
      await channel.assertQueue(queue, { durable: true, arguments: { ...base, ...limited } })
      await channel.assertQueue(`${queue}.dead`, { durable: true, arguments: base })
    })
  }

  async send(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    const nowMs = this.#options.clock.nowMs()
    const publishing = await this.#link.publishing()
    const outcomes: SendOutcome[] = []
    const { promise, resolve } = Promise.withResolvers<readonly SendOutcome[]>()
    let left = messages.length
    for (const [index, message] of messages.entries()) {
      const { id, body } = message
      const properties = propertiesOf(newMessage(message, nowMs))
      this.#link.publish(publishing, queue, bytesOf(body), properties, (error) => {
        outcomes[index] =
          error === null ? { ok: true, id, duplicate: false, durability: 'fsync' } : { ok: false, error }
        if ((left -= 1) === 0) resolve(outcomes)
      })
    }
    return promise
  }

  /** Puts a copy of a message. Throws when it is not there for sure. */
  async #put(queue: string, message: AmqpMessage): Promise<void> {
    const publishing = await this.#link.publishing()
    return new Promise((resolve, reject) => {
      this.#link.publish(publishing, queue, bytesOf(message.body), propertiesOf(message), (error) =>
        error === null ? resolve() : reject(error),
      )
    })
  }

  async receive(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    if (signal.aborted) return []
    const deliveries = await this.#listen(queue, want, signal)
    const nowMs = this.#options.clock.monotonicMs()
    const held = deliveries.map(({ from, delivery }) => {
      const message = readMessage(delivery)
      const inHand = { from, delivery, message, attempt: message.attempt, queue }
      const receipt = this.#hands.hold(queue, inHand, want.leaseMs, want.keepMs, nowMs)
      const { id, body, headers, attempt, sentAtMs } = message
      return { receipt, id, body, headers, key: null, priority: 0, attempt, sentAtMs }
    })
    this.#plan()
    return held
  }

  /** Listens until there is something, or the time is over; then stops, and answers all that has come until the stop was confirmed. */
  async #listen(
    queue: string,
    want: Want,
    signal: AbortSignal,
  ): Promise<readonly { readonly from: NumberedChannel; readonly delivery: ConsumeMessage }[]> {
    const from = await this.#link.channel(queue)
    const { channel } = from
    const got: { readonly from: NumberedChannel; readonly delivery: ConsumeMessage }[] = []
    const enough = Promise.withResolvers<void>()
    const listening = (this.#turns.get(queue) ?? Promise.resolve()).then(async () => {
      await channel.prefetch(want.max)
      return channel.consume(queue, (delivery) => {
        // The server ends a listening by saying nothing, as when the queue is removed.
        if (delivery !== null) {
          from.unsettled.add(delivery)
          got.push({ from, delivery })
        }
        enough.resolve()
      })
    })
    this.#turns.set(
      queue,
      listening.catch(() => {}),
    )
    const stop = (): void => enough.resolve()
    signal.addEventListener('abort', stop, { once: true })
    channel.once('close', stop)
    try {
      const { consumerTag } = await listening
      using _late = this.#options.clock.after(Math.max(want.waitMs, 50), stop)
      await enough.promise
      await channel.cancel(consumerTag)
    } catch (error) {
      // What has come is held by a channel that is gone: the server gives it to others.
      throw this.#link.failure(error)
    } finally {
      signal.removeEventListener('abort', stop)
      channel.off('close', stop)
    }
    return from.open ? got : []
  }

  async settle(queue: string, settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    const nowMs = this.#options.clock.monotonicMs()
    const outcomes: SettleOutcome[] = settlements.map(() => 'lost')
    const acknowledged = new Map<NumberedChannel, ConsumeMessage[]>()
    const copying: Promise<void>[] = []
    for (const [index, { receipt, decision }] of settlements.entries()) {
      const inHand = this.#hands.get(queue, receipt, nowMs)
      if (inHand === null) continue
      const { from, delivery } = inHand
      if (decision.kind === 'ack') {
        const own = acknowledged.get(from) ?? []
        if (own.length === 0) acknowledged.set(from, own)
        own.push(delivery)
        this.#hands.forget(receipt)
      } else if (decision.kind === 'extend') {
        this.#hands.extend(receipt, nowMs + decision.leaseMs)
      } else if (decision.kind === 'retry' && decision.countAsFailure) {
        this.#hands.forget(receipt)
        giveBack(inHand)
      } else {
        const settling = this.#settleByCopy(queue, receipt, decision, inHand)
        copying.push(settling.then((outcome) => void (outcomes[index] = outcome)))
        continue
      }
      outcomes[index] = 'done'
    }
    for (const [{ channel, unsettled }, deliveries] of acknowledged) {
      const { upTo, single } = unsettled.acknowledge(deliveries)
      if (upTo !== null) channel.ack(upTo, true)
      for (const delivery of single) channel.ack(delivery)
    }
    this.#plan()
    await Promise.all(copying)
    return outcomes
  }

  async #settleByCopy(queue: string, receipt: string, decision: Decision, inHand: InHand): Promise<SettleOutcome> {
    const { message, attempt, from, delivery } = inHand
    try {
      if (decision.kind === 'reject') {
        await this.#put(`${queue}.dead`, { ...message, cause: decision.cause, attempts: attempt })
      } else {
        // The copy begins anew with the server, so it carries what was counted before.
        await this.#put(queue, { ...message, counted: attempt - 1 })
      }
    } catch (error) {
      if (!isSteadError(error)) throw error
      return { error }
    }
    // The lease or the channel may have ended while the copy was made: then both are there, under one id.
    if (this.#hands.get(queue, receipt, this.#options.clock.monotonicMs()) === null) return 'lost'
    this.#hands.forget(receipt)
    from.unsettled.delete(delivery)
    from.channel.ack(delivery)
    return 'done'
  }

  async counts(_queue: string): Promise<Counts> {
    throw unsupported(this.name, 'counts', this.capabilities.counts)
  }

  async peek(queue: string, shelf: Shelf, max: number): Promise<readonly Seen[]> {
    if (shelf === 'ready') throw unsupported(this.name, 'peek', this.capabilities.peek)
    return this.#link.apart(async (channel) => {
      const seen: Seen[] = []
      for (let got = await channel.get(`${queue}.dead`); got !== false; got = await channel.get(`${queue}.dead`)) {
        const { id, body, headers, sentAtMs, cause, attempts } = readMessage(got)
        seen.push({ id, body, headers, key: null, priority: 0, sentAtMs, attempt: attempts, cause })
        if (seen.length >= max) break
      }
      // Closing the channel gives all of them back.
      return seen
    })
  }

  async redrive(queue: string, max: number, ids: readonly string[] | null): Promise<number> {
    return this.#link.apart(async (channel) => {
      const got: GetMessage[] = []
      while (got.length < batchMax) {
        const message = await channel.get(`${queue}.dead`)
        if (message === false) break
        got.push(message)
      }
      const chosen = got.filter((message) => ids === null || ids.includes(readMessage(message).id)).slice(0, max)
      for (const delivery of chosen) {
        await this.#put(queue, { ...readMessage(delivery), counted: 0, cause: null, attempts: 0 })
        channel.ack(delivery)
      }
      return chosen.length
    })
  }

  async purge(queue: string, shelf: Shelf): Promise<number> {
    const name = shelf === 'dead' ? `${queue}.dead` : queue
    const { messageCount } = await this.#link.apart((channel) => channel.purgeQueue(name))
    return messageCount
  }

  async remove(queue: string): Promise<void> {
    for (const { from } of this.#hands.all().filter((inHand) => inHand.queue === queue)) from.unsettled.clear()
    this.#hands.drop((inHand) => inHand.queue === queue)
    await this.#link.apart(async (channel) => {
      await channel.deleteQueue(queue)
      await channel.deleteQueue(`${queue}.dead`)
    })
  }

  async close(): Promise<void> {
    this.#timer?.[Symbol.dispose]()
    await this.#link.close()
  }

  /** Gives back what is held too long, at the right time. */
  #plan(): void {
    this.#timer?.[Symbol.dispose]()
    const nextMs = this.#hands.nextMs()
    if (nextMs === null) return
    const { clock } = this.#options
    this.#timer = clock.after(Math.max(1, nextMs - clock.monotonicMs()), () => {
      for (const inHand of this.#hands.overdue(clock.monotonicMs())) if (inHand.from.open) giveBack(inHand)
      this.#plan()
    })
  }
}

/** To the server, which counts it. */
function giveBack({ from, delivery }: InHand): void {
  from.unsettled.delete(delivery)
  from.channel.reject(delivery, true)
}
