/**
 * Queues on Pulsar, over its WebSockets: a topic each with one shared subscription, and one more for dead letters. Messages belong to the
 * connection that has taken them, so leases are kept here (`Hands`), where the driver runs in a thread. The broker forgets how often
 * it has delivered: what is given back goes in as a copy that carries its count, and is there before the original is acknowledged.
 */
import { isSteadError } from '../../../base/index.ts'
import type { Clock, SteadError } from '../../../base/index.ts'
import { unsupported } from '../../capability.ts'
import type { Capabilities } from '../../capability.ts'
import type {
  Counts,
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
import { batchMax, delayMsMax } from '../../limits.ts'
import type { DriverLimits } from '../../limits.ts'
import { Hands } from '../hands.ts'
import type { PulsarLink } from './link.ts'
import { messageOf, newPulsarMessage, sendOf } from './message.ts'
import type { PulsarMessage } from './message.ts'
import { PulsarSender } from './sender.ts'
import { PulsarTaker } from './taker.ts'

/** The broker delivers up to a tick of its clock too soon; this is its usual one. */
const tickMs = 1000
/** What nobody asks for any more goes back after so long. */
const idleMs = 300
/** How long a look waits for what the broker has counted. */
const lookMs = 3000

interface InHand {
  readonly taker: PulsarTaker
  readonly messageId: string
  readonly message: PulsarMessage
  readonly attempt: number
}

export interface PulsarOptions {
  readonly link: PulsarLink
  readonly server: string
  readonly durability: Durability
  readonly bodyBytesMax: number
  readonly messagesMax: number | null
  readonly capabilities: Capabilities
  readonly clock: Clock
}

export class PulsarDriver implements QueueDriver {
  readonly name = 'pulsar'
  readonly server: string
  readonly capabilities: Capabilities
  readonly limits: DriverLimits
  readonly #options: PulsarOptions
  readonly #link: PulsarLink
  readonly #hands = new Hands<InHand>()
  readonly #senders = new Map<string, Promise<PulsarSender>>()
  readonly #takers = new Map<string, Promise<PulsarTaker>>()
  /** All that are open, also those that take nothing more. */
  readonly #open = new Set<PulsarTaker>()
  readonly #idling: NodeJS.Timeout
  #timer: Disposable | undefined

  constructor(options: PulsarOptions) {
    this.server = options.server
    this.capabilities = options.capabilities
    this.limits = { bodyBytesMax: options.bodyBytesMax, delayMsMax }
    this.#options = options
    this.#link = options.link
    this.#idling = setInterval(() => {
      for (const taker of this.#open) taker.retireWhenIdle(idleMs)
    }, idleMs / 3)
    this.#idling.unref()
  }

  async declare(queue: string): Promise<void> {
    await this.#link.make(queue)
    await this.#link.make(`${queue}.dead`)
  }

  async send(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    const { clock, durability } = this.#options
    const room = await this.#room(queue)
    const nowMs = clock.nowMs()
    const sends = messages.slice(0, room).map((message) => {
      const deliverAtMs = message.delayMs === 0 ? null : nowMs + message.delayMs + tickMs
      return sendOf(newPulsarMessage(message, nowMs), deliverAtMs)
    })
    const sender = await this.#sender(queue)
    const errors = await sender.send(sends)
    return messages.map(({ id }, index): SendOutcome => {
      const error = index < room ? (errors[index] ?? null) : this.#full(queue)
      return error === null ? { ok: true, id, duplicate: false, durability } : { ok: false, error }
    })
  }

  async #room(queue: string): Promise<number> {
    const { messagesMax } = this.#options
    if (messagesMax === null) return Number.POSITIVE_INFINITY
    return Math.max(0, messagesMax - (await this.#link.known(queue)).backlog)
  }

  #full(queue: string): SteadError {
    return failure('full', `${this.#link.place} has as many messages in ${queue} as it may`, 'Send again later.')
  }

  /** A message into a queue. Throws when it is not there for sure. */
  async #put(queue: string, message: PulsarMessage, delayMs: number): Promise<void> {
    const deliverAtMs = delayMs === 0 ? null : this.#options.clock.nowMs() + delayMs + tickMs
    const [error = null] = await (await this.#sender(queue)).send([sendOf(message, deliverAtMs)])
    if (error !== null) throw error
  }

  #sender(queue: string): Promise<PulsarSender> {
    const lives = (sender: PulsarSender): boolean => !sender.ended
    return shared(this.#senders, queue, lives, async () => {
      // A topic that nobody has declared would come into being, and keep nothing.
      await this.#link.known(queue)
      const { clock } = this.#options
      return new PulsarSender(await this.#link.sending(queue), queue, this.#link.place, clock)
    })
  }

  async receive(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    if (signal.aborted) return []
    const taker = await this.#taker(queue)
    const deliveries = await taker.take(want.max, want.waitMs, signal)
    const nowMs = this.#options.clock.monotonicMs()
    const held = deliveries.map((delivery): Held => {
      const { attempt, ...message } = messageOf(delivery)
      const inHand = { taker, messageId: delivery.messageId, message, attempt }
      const receipt = this.#hands.hold(queue, inHand, want.leaseMs, want.keepMs, nowMs)
      const { id, body, headers, sentAtMs } = message
      return { receipt, id, body, headers, key: null, priority: 0, attempt, sentAtMs }
    })
    this.#plan()
    return held
  }

  #taker(queue: string): Promise<PulsarTaker> {
    const lives = (taker: PulsarTaker): boolean => !taker.over
    return shared(this.#takers, queue, lives, async () => {
      await this.#link.known(queue)
      return this.#openTaker(queue)
    })
  }

  async #openTaker(queue: string): Promise<PulsarTaker> {
    const socket = await this.#link.taking(queue)
    const taker: PulsarTaker = new PulsarTaker(
      socket,
      this.#options.clock,
      (messageId) => this.#hands.drop((inHand) => inHand.taker === taker && inHand.messageId === messageId),
      () => {
        this.#open.delete(taker)
        this.#hands.drop((inHand) => inHand.taker === taker)
      },
    )
    this.#open.add(taker)
    return taker
  }

  async settle(queue: string, settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    const told = new Map<PulsarTaker, Promise<SettleOutcome>>()
    const outcomes = await Promise.all(
      settlements.map(async ({ receipt, decision }): Promise<PulsarTaker | SettleOutcome> => {
        const nowMs = this.#options.clock.monotonicMs()
        const inHand = this.#hands.get(queue, receipt, nowMs)
        if (inHand === null) return 'lost'
        if (decision.kind === 'extend') {
          this.#hands.extend(receipt, nowMs + decision.leaseMs)
          this.#plan()
          return 'done'
        }
        const { taker, message, attempt, messageId } = inHand
        try {
          if (decision.kind === 'reject') {
            await this.#put(`${queue}.dead`, { ...message, cause: decision.cause, attempts: attempt }, 0)
          }
          if (decision.kind === 'retry') {
            const counted = decision.countAsFailure ? attempt : attempt - 1
            await this.#put(queue, { ...message, counted }, decision.delayMs)
          }
        } catch (error) {
          if (!isSteadError(error)) throw error
          return { error }
        }
        // The lease or the connection may have ended while the copy was made: then both are there, under one id.
        if (this.#hands.get(queue, receipt, this.#options.clock.monotonicMs()) === null) return 'lost'
        this.#hands.forget(receipt)
        taker.acknowledge(messageId)
        return taker
      }),
    )
    return Promise.all(
      outcomes.map(async (outcome) => {
        if (!(outcome instanceof PulsarTaker)) return outcome
        const heard = told.get(outcome) ?? this.#heard(outcome)
        told.set(outcome, heard)
        return heard
      }),
    )
  }

  /** Whether the broker has heard what was said to it, while the connection that holds the messages lived. */
  async #heard(taker: PulsarTaker): Promise<SettleOutcome> {
    try {
      await taker.confirmed()
      return 'done'
    } catch (error) {
      const said = `${this.#link.place} has gone before it said that it heard`
      return { error: failure('outcome-unknown', said, 'The message may come again.', error) }
    }
  }

  async counts(queue: string): Promise<Counts> {
    const [standing, dead] = await Promise.all([this.#link.known(queue), this.#link.known(`${queue}.dead`)])
    const { backlog, held, delayed } = standing
    return { ready: Math.max(0, backlog - held - delayed), delayed, held, dead: dead.backlog }
  }

  async peek(queue: string, shelf: Shelf, max: number): Promise<readonly Seen[]> {
    if (shelf === 'ready') throw unsupported(this.name, 'peek', this.capabilities.peek)
    return this.#withDead(queue, max, async (dead) =>
      dead.map(({ message: { id, body, headers, sentAtMs, cause, attempts } }) => {
        return { id, body, headers, key: null, priority: 0, sentAtMs, attempt: attempts, cause }
      }),
    )
  }

  async redrive(queue: string, max: number, ids: readonly string[] | null): Promise<number> {
    return this.#withDead(queue, ids === null ? max : batchMax, async (dead, taker) => {
      const chosen = dead.filter(({ message: { id } }) => ids === null || ids.includes(id)).slice(0, max)
      for (const { message, messageId } of chosen) {
        await this.#put(queue, { ...message, counted: 0, cause: null, attempts: 0 }, 0)
        taker.acknowledge(messageId)
      }
      await taker.confirmed()
      return chosen.length
    })
  }

  /** Takes dead messages for a moment; those that are not acknowledged go back when the connection ends. */
  async #withDead<T>(
    queue: string,
    max: number,
    work: (
      dead: readonly { readonly message: PulsarMessage; readonly messageId: string }[],
      taker: PulsarTaker,
    ) => Promise<T>,
  ): Promise<T> {
    const { clock } = this.#options
    const { backlog } = await this.#link.known(`${queue}.dead`)
    const taker = await this.#openTaker(`${queue}.dead`)
    try {
      const wanted = Math.min(max, backlog)
      const dead: { readonly message: PulsarMessage; readonly messageId: string }[] = []
      const untilMs = clock.monotonicMs() + lookMs
      while (dead.length < wanted && clock.monotonicMs() < untilMs) {
        const got = await taker.take(wanted - dead.length, lookMs, new AbortController().signal)
        for (const delivery of got) dead.push({ message: messageOf(delivery), messageId: delivery.messageId })
      }
      return await work(dead, taker)
    } finally {
      await taker.close()
    }
  }

  async purge(queue: string, shelf: Shelf): Promise<number> {
    const name = shelf === 'dead' ? `${queue}.dead` : queue
    const { backlog, held } = await this.#link.known(name)
    await this.#link.skipAll(name)
    return Math.max(0, backlog - held)
  }

  async remove(queue: string): Promise<void> {
    for (const name of [queue, `${queue}.dead`]) {
      const [sender, taker] = [this.#senders.get(name), this.#takers.get(name)]
      this.#senders.delete(name)
      this.#takers.delete(name)
      await sender?.then((one) => one.close()).catch(() => {})
      await taker?.then((one) => one.close()).catch(() => {})
      await this.#link.remove(name)
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#idling)
    this.#timer?.[Symbol.dispose]()
    for (const sender of this.#senders.values()) await sender.then((one) => one.close()).catch(() => {})
    await Promise.all([...this.#open].map((taker) => taker.close()))
  }

  /** Gives back what is held too long, at the right time. */
  #plan(): void {
    this.#timer?.[Symbol.dispose]()
    const nextMs = this.#hands.nextMs()
    if (nextMs === null) return
    const { clock } = this.#options
    this.#timer = clock.after(Math.max(1, nextMs - clock.monotonicMs()), () => {
      for (const { taker, messageId } of this.#hands.overdue(clock.monotonicMs())) taker.giveBack(messageId)
      this.#plan()
    })
  }
}

/** The living one of a name; opened once where there is none. */
async function shared<T>(
  all: Map<string, Promise<T>>,
  name: string,
  lives: (one: T) => boolean,
  open: () => Promise<T>,
): Promise<T> {
  const known = all.get(name)
  const living = (await known?.catch(() => null)) ?? null
  if (living !== null && lives(living)) return living
  // Whoever looked at the same time has opened the next one already.
  const next = all.get(name)
  if (next !== undefined && next !== known) return next
  const opening = open()
  all.set(name, opening)
  return opening
}
