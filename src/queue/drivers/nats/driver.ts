/**
 * Queues on NATS JetStream: a work-queue stream each, with one consumer that all processes share, and one more stream for its dead
 * letters. The server's own lease is the same for all messages and short; the leases that consumers ask for are kept here
 * (`Hands`), where the driver runs in a thread that tells the server who still works. A copy is confirmed before the original
 * is let go.
 */
import type { StoredMsg } from '@nats-io/jetstream'
import type { Msg } from '@nats-io/transport-node'
import { isSteadError } from '../../../base/index.ts'
import type { Clock, SteadError } from '../../../base/index.ts'
import { unsupported } from '../../capability.ts'
import type { Capabilities } from '../../capability.ts'
import type {
  Counts,
  Decision,
  Durability,
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
import { batchMax } from '../../limits.ts'
import type { DriverLimits } from '../../limits.ts'
import { Hands } from '../hands.ts'
import { codeOf, consumerNotFound, streamNotFound } from './link.ts'
import type { NatsLink } from './link.ts'
import { deliveryOf, newNatsMessage, readNatsMessage, writeHeaders } from './message.ts'
import type { NatsMessage } from './message.ts'
import { consumerName, natsNames } from './names.ts'
import { Puller } from './puller.ts'

/** How long the server waits for a word of a holder, and how often it gets one. */
const ackWaitMs = 10_000
const touchMs = 2500
/** Messages that are taken over from a shelf at once. */
const copiesMax = 100
const nanoseconds = 1_000_000

interface InHand {
  readonly queue: string
  readonly ackSubject: string
  readonly message: NatsMessage
  readonly attempt: number
  /** When the server last knew that somebody works on it. */
  knownMs: number
}

export interface NatsOptions {
  readonly link: NatsLink
  readonly server: string
  readonly capabilities: Capabilities
  readonly bodyBytesMax: number
  readonly delayMsMax: number
  readonly durability: Durability
  /** Whether the server keeps messages until their time; a stream that does cannot refuse when it is full, so we count. */
  readonly schedules: boolean
  readonly messagesMax: number | null
  readonly clock: Clock
}

export class NatsDriver implements QueueDriver {
  readonly name = 'nats'
  readonly server: string
  readonly capabilities: Capabilities
  readonly limits: DriverLimits
  readonly #options: NatsOptions
  readonly #link: NatsLink
  readonly #hands = new Hands<InHand>()
  readonly #pullers = new Map<string, Puller<Msg>>()
  readonly #touching: NodeJS.Timeout
  #timer: Disposable | undefined
  #scheduled = 0

  constructor(options: NatsOptions) {
    this.server = options.server
    this.capabilities = options.capabilities
    this.limits = { bodyBytesMax: options.bodyBytesMax, delayMsMax: options.delayMsMax }
    this.#options = options
    this.#link = options.link
    this.#touching = setInterval(() => void this.#touch(), touchMs)
    this.#touching.unref()
  }

  async declare(queue: string): Promise<void> {
    const { schedules, messagesMax } = this.#options
    const names = natsNames(queue)
    const base = { retention: 'workqueue', storage: 'file', allow_direct: true } as const
    const limited = { discard: 'new', ...(messagesMax === null ? {} : { max_msgs: messagesMax }) } as const
    await this.#link.on(async ({ api }) => {
      const made = await api.streams
        .add({
          ...base,
          ...(schedules ? { allow_msg_schedules: true } : limited),
          name: names.stream,
          subjects: [names.ready, `${names.later}.*`],
        })
        .catch(async (error: unknown) => {
          // What is there stays, if it is a queue.
          const { config } = await api.streams.info(names.stream).catch(() => Promise.reject(error))
          if (config.retention === 'workqueue' && config.subjects.includes(names.ready)) return null
          throw error
        })
      // One that an older server made refused when it was full, which does not go with schedules: we count from now on.
      if (made === null && schedules) {
        await api.streams.update(names.stream, { allow_msg_schedules: true, discard: 'old', max_msgs: -1 })
      }
      await api.streams.add({ ...base, retention: 'limits', name: names.deadStream, subjects: [names.dead] })
      await api.consumers.add(names.stream, {
        durable_name: consumerName,
        ack_policy: 'explicit',
        ack_wait: ackWaitMs * nanoseconds,
        filter_subject: names.ready,
        max_ack_pending: -1,
        max_deliver: -1,
        max_waiting: 10_000,
      })
    })
  }

  async send(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    const { durability, clock } = this.#options
    const room = await this.#room(queue)
    const nowMs = clock.nowMs()
    const { ready } = natsNames(queue)
    return Promise.all(
      messages.map(async (message, index): Promise<SendOutcome> => {
        if (index >= room) return { ok: false, error: this.#full(queue) }
        try {
          await this.#put(queue, ready, newNatsMessage(message, nowMs), message.delayMs)
          return { ok: true, id: message.id, duplicate: false, durability }
        } catch (error) {
          if (!isSteadError(error)) throw error
          return { ok: false, error }
        }
      }),
    )
  }

  /** Resolves when the stream has the message, now or for later. */
  async #put(queue: string, subject: string, message: NatsMessage, delayMs = 0): Promise<void> {
    const session = await this.#link.session()
    const headers = writeHeaders(message, session.newHeaders())
    let to = subject
    if (delayMs > 0) {
      // A message that is given back for a time without counting: what is sent with a delay was refused before.
      if (!this.#options.schedules) throw unsupported(this.name, 'delayed-send', this.capabilities['delayed-send'])
      // Whole seconds, never sooner.
      const atMs = Math.ceil((this.#options.clock.nowMs() + delayMs) / 1000) * 1000
      headers.set('Nats-Schedule', `@at ${new Date(atMs).toISOString()}`)
      headers.set('Nats-Schedule-Target', subject)
      to = `${natsNames(queue).later}.${session.token}-${(this.#scheduled += 1)}`
    }
    const answer = await session.ask(to, message.body, headers)
    if (answer.headers?.code === 503) throw await this.#unanswered(queue)
    const said: Said = answer.json()
    if (said.error !== undefined) throw this.#link.refusal(said.error.err_code ?? 0, said.error.description ?? '')
  }

  /** Nobody takes messages of this subject: the stream is gone, or the server does not keep streams yet. */
  async #unanswered(queue: string): Promise<SteadError> {
    const { stream } = natsNames(queue)
    return this.#link.on(async ({ api }) => {
      await api.streams.info(stream)
      return failure('unavailable', `${this.#link.place} does not take messages yet`, 'Try again.')
    })
  }

  /** How many more the queue takes. */
  async #room(queue: string): Promise<number> {
    const { schedules, messagesMax } = this.#options
    if (!schedules || messagesMax === null) return Number.MAX_SAFE_INTEGER
    const { state } = await this.#link.on(({ api }) => api.streams.info(natsNames(queue).stream))
    return Math.max(0, messagesMax - state.messages)
  }

  #full(queue: string): SteadError {
    const message = `the queue ${queue} has ${this.#options.messagesMax} messages, as many as it may`
    return failure('full', message, 'Send again when consumers have taken some.')
  }

  async receive(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    const messages = await this.#puller(queue).take(want.max, want.waitMs, signal)
    const nowMs = this.#options.clock.monotonicMs()
    const held = messages.map((delivery) => {
      const ackSubject = delivery.reply ?? ''
      const { count, sequence } = deliveryOf(ackSubject)
      const message = readNatsMessage(delivery.headers, delivery.data, `message-${sequence}`)
      const attempt = message.counted + count
      const inHand = { queue, ackSubject, message, attempt, knownMs: nowMs }
      const receipt = this.#hands.hold(queue, inHand, want.leaseMs, want.keepMs, nowMs)
      const { id, body, headers, sentAtMs } = message
      return { receipt, id, body, headers, key: null, priority: 0, attempt, sentAtMs }
    })
    if (held.length > 0) this.#plan()
    return held
  }

  #puller(queue: string): Puller<Msg> {
    const known = this.#pullers.get(queue)
    if (known !== undefined) return known
    const { stream, ready } = natsNames(queue)
    const work = {
      pull: async (max: number, expiresMs: number): Promise<readonly Msg[]> => {
        const session = await this.#link.session()
        const { messages, status } = await session.pull(stream, consumerName, max, expiresMs)
        if (messages.length === 0 && status === 503) throw await this.#noConsumer(queue)
        return messages
      },
      giveBack: async (delivery: Msg): Promise<void> => {
        const ackSubject = delivery.reply ?? ''
        const { count, sequence } = deliveryOf(ackSubject)
        const message = readNatsMessage(delivery.headers, delivery.data, `message-${sequence}`)
        await this.#put(queue, ready, { ...message, counted: message.counted + count - 1 })
        await this.#tellAll([{ subject: ackSubject, payload: '+ACK' }])
      },
    }
    const puller = new Puller(work, this.#options.clock)
    this.#pullers.set(queue, puller)
    return puller
  }

  async #noConsumer(queue: string): Promise<SteadError> {
    return this.#link.on(async ({ api }) => {
      await api.consumers.info(natsNames(queue).stream, consumerName)
      return failure('unavailable', `${this.#link.place} gives no messages yet`, 'Try again.')
    })
  }

  async settle(queue: string, settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    const prepared = await Promise.all(settlements.map((settlement) => this.#prepare(queue, settlement)))
    const telling = prepared.filter((step) => typeof step === 'object' && 'subject' in step)
    try {
      await this.#tellAll(telling)
    } catch (error) {
      if (!isSteadError(error)) throw error
      return prepared.map((step) => (typeof step === 'object' && 'subject' in step ? { error } : step))
    }
    for (const step of telling) {
      if (step.decision.kind !== 'extend') this.#hands.forget(step.receipt)
    }
    this.#plan()
    return prepared.map((step) => (typeof step === 'object' && 'subject' in step ? 'done' : step))
  }

  /** What is to be told for a settlement, once its copy is where it must be; or its outcome. */
  async #prepare(
    queue: string,
    { receipt, decision }: Settlement,
  ): Promise<Step | 'lost' | { readonly error: SteadError }> {
    const inHand = this.#holding(queue, receipt)
    if (inHand === null) return 'lost'
    const { message, attempt, ackSubject: subject } = inHand
    const names = natsNames(queue)
    try {
      if (decision.kind === 'reject') {
        await this.#put(queue, names.dead, { ...message, cause: decision.cause, attempts: attempt })
      }
      if (decision.kind === 'retry' && !decision.countAsFailure) {
        // What the server counts cannot be turned back: a copy begins anew, and says what was counted before.
        await this.#put(queue, names.ready, { ...message, counted: attempt - 1 }, decision.delayMs)
      }
    } catch (error) {
      if (!isSteadError(error)) throw error
      return { error }
    }
    // The lease may have ended while the copy was made: then both are there, under one id.
    if (this.#holding(queue, receipt) === null) return 'lost'
    if (decision.kind === 'extend') {
      this.#hands.extend(receipt, this.#options.clock.monotonicMs() + decision.leaseMs)
    }
    return { receipt, decision, subject, payload: wordOf(decision) }
  }

  /** What a receipt holds: null when its lease is over here, or when the server may have given it to another. */
  #holding(queue: string, receipt: string): InHand | null {
    const nowMs = this.#options.clock.monotonicMs()
    const inHand = this.#hands.get(queue, receipt, nowMs)
    if (inHand === null || inHand.knownMs + ackWaitMs > nowMs) return inHand
    this.#hands.forget(receipt)
    return null
  }

  /** Tells all; resolves when the server has heard the last, and so all that were before it. */
  async #tellAll(words: readonly { readonly subject: string; readonly payload: string }[]): Promise<void> {
    const last = words.at(-1)
    if (last === undefined) return
    const session = await this.#link.session()
    for (const { subject, payload } of words.slice(0, -1)) session.tell(subject, payload)
    const answer = await session.ask(last.subject, last.payload)
    if (answer.headers?.code === 503) {
      throw failure('outcome-unknown', `${this.#link.place} did not hear what was settled`, 'It may come again.')
    }
  }

  async counts(queue: string): Promise<Counts> {
    const names = natsNames(queue)
    return this.#link.on(async ({ api }) => {
      const [stream, consumer, dead] = await Promise.all([
        api.streams.info(names.stream, { subjects_filter: names.ready }),
        api.consumers.info(names.stream, consumerName),
        api.streams.info(names.deadStream),
      ])
      return {
        ready: consumer.num_pending,
        delayed: stream.state.messages - (stream.state.subjects?.[names.ready] ?? 0),
        held: consumer.num_ack_pending,
        dead: dead.state.messages,
      }
    })
  }

  async peek(queue: string, shelf: Shelf, max: number): Promise<readonly Seen[]> {
    const stored = await this.#stored(queue, shelf, max)
    return stored.map(({ header, data, seq }) => {
      const message = readNatsMessage(header, data, `message-${seq}`)
      const { id, body, headers, sentAtMs, cause, attempts, counted } = message
      const attempt = shelf === 'dead' ? attempts : counted
      return { id, body, headers, key: null, priority: 0, attempt, sentAtMs, cause }
    })
  }

  /** The first messages of a shelf. Of those ready: the first that were never taken. */
  async #stored(queue: string, shelf: Shelf, max: number): Promise<readonly StoredMsg[]> {
    const names = natsNames(queue)
    const [stream, subject] = shelf === 'dead' ? [names.deadStream, names.dead] : [names.stream, names.ready]
    return this.#link.on(async ({ api }) => {
      let from = 1
      if (shelf === 'ready') from = (await api.consumers.info(stream, consumerName)).delivered.stream_seq + 1
      const stored: StoredMsg[] = []
      while (stored.length < max) {
        const next = await api.direct.getMessage(stream, { seq: from, next_by_subj: subject })
        if (next === null) break
        stored.push(next)
        from = next.seq + 1
      }
      return stored
    })
  }

  async redrive(queue: string, max: number, ids: readonly string[] | null): Promise<number> {
    const names = natsNames(queue)
    const stored = (await this.#stored(queue, 'dead', ids === null ? Math.min(max, batchMax) : batchMax))
      .map((one) => ({ seq: one.seq, message: readNatsMessage(one.header, one.data, `message-${one.seq}`) }))
      .filter(({ message: { id } }) => ids === null || ids.includes(id))
      .slice(0, max)
    await inGroups(stored, async ({ seq, message }) => {
      await this.#put(queue, names.ready, { ...message, counted: 0, cause: null, attempts: 0 })
      await this.#link.on(({ api }) => api.streams.deleteMessage(names.deadStream, seq))
    })
    return stored.length
  }

  async purge(queue: string, shelf: Shelf): Promise<number> {
    const names = natsNames(queue)
    if (shelf === 'dead') {
      return this.#link.on(async ({ api }) => (await api.streams.purge(names.deadStream)).purged)
    }
    const held = await this.#link.on(({ api }) => api.consumers.info(names.stream, consumerName))
    if (held.num_ack_pending === 0) {
      return this.#link.on(async ({ api }) => (await api.streams.purge(names.stream)).purged)
    }
    // A purge would take what is held along: what was never taken goes one by one.
    let count = await this.#link.on(
      async ({ api }) => (await api.streams.purge(names.stream, { filter: `${names.later}.*` })).purged,
    )
    for (;;) {
      const stored = await this.#stored(queue, 'ready', copiesMax)
      if (stored.length === 0) return count
      await inGroups(stored, ({ seq }) => this.#link.on(({ api }) => api.streams.deleteMessage(names.stream, seq)))
      count += stored.length
    }
  }

  async remove(queue: string): Promise<void> {
    const names = natsNames(queue)
    this.#hands.drop((inHand) => inHand.queue === queue)
    await this.#link.on(async ({ api }) => {
      for (const stream of [names.stream, names.deadStream]) {
        await api.streams.delete(stream).catch((error: unknown) => {
          if (codeOf(error) !== streamNotFound && codeOf(error) !== consumerNotFound) throw error
        })
      }
    })
  }

  /** Gives back what is held, and what came too late to be wanted. */
  async close(): Promise<void> {
    clearInterval(this.#touching)
    this.#timer?.[Symbol.dispose]()
    try {
      await Promise.all([...this.#pullers.values()].map((puller) => puller.close()))
      await this.#tellAll(this.#hands.all().map(({ ackSubject }) => ({ subject: ackSubject, payload: '-NAK' })))
    } catch (error) {
      // The server is away: it gives them to others when their time is over.
      if (!isSteadError(error)) throw error
    }
    await this.#link.close()
  }

  /** Gives back what is held too long, at the right time. */
  #plan(): void {
    this.#timer?.[Symbol.dispose]()
    const nextMs = this.#hands.nextMs()
    if (nextMs === null) return
    const { clock } = this.#options
    this.#timer = clock.after(Math.max(1, nextMs - clock.monotonicMs()), () => {
      const words = this.#hands
        .overdue(clock.monotonicMs())
        .map(({ ackSubject }) => ({ subject: ackSubject, payload: '-NAK' }))
      this.#tellAll(words).catch(() => {})
      this.#plan()
    })
  }

  /** Tells the server who still works, and notes that it has heard. */
  async #touch(): Promise<void> {
    const held = this.#hands.all()
    if (held.length === 0) return
    const nowMs = this.#options.clock.monotonicMs()
    try {
      await this.#tellAll(held.map(({ ackSubject }) => ({ subject: ackSubject, payload: '+WPI' })))
      for (const inHand of held) inHand.knownMs = nowMs
    } catch (error) {
      if (!isSteadError(error)) throw error
    }
  }
}

interface Step {
  readonly receipt: string
  readonly decision: Decision
  readonly subject: string
  readonly payload: string
}

/** What JetStream answers to a message. */
interface Said {
  readonly error?: { readonly err_code?: number; readonly description?: string }
}

/** What the server is told about a message; its copy is elsewhere where that is needed. */
function wordOf(decision: Decision): string {
  if (decision.kind === 'extend') return '+WPI'
  if (decision.kind !== 'retry' || !decision.countAsFailure) return '+ACK'
  return decision.delayMs === 0 ? '-NAK' : `-NAK {"delay": ${decision.delayMs * nanoseconds}}`
}

async function inGroups<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < items.length; from += copiesMax) {
    await Promise.all(items.slice(from, from + copiesMax).map(work))
  }
}
