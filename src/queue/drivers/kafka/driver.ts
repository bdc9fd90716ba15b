/**
 * Queues on Kafka: a topic each, with a consumer group of the same name, and a topic of one partition for dead letters. A process
 * holds what it has taken by being a member of the group: leases are kept here (`Hands`), where the driver runs in a thread, and all
 * of them end with a rebalance. A settlement is true when the server has taken a commit of its generation. A message is never
 * settled before its copy is where it must be.
 */
import { isSteadError, sleep } from '../../../base/index.ts'
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
import { batchMax, delayMsMax } from '../../limits.ts'
import type { DriverLimits } from '../../limits.ts'
import { Hands } from '../hands.ts'
import { Together } from '../together.ts'
import type { KafkaEntry } from './book.ts'
import type { KafkaLink, KafkaRead } from './link.ts'
import { newKafkaMessage, recordBytes, recordOf } from './message.ts'
import type { KafkaMessage } from './message.ts'
import { KafkaSession } from './session.ts'
import type { Book } from './session.ts'
import { KafkaTopics } from './topics.ts'

/** Who neither waits for messages nor holds any leaves the group after so long: others get the partitions. */
const idleMs = 5000
/** The least that a receive waits once it is a member: a fetch is under way. */
const lookMs = 300
/** What a message may have beside its body. */
const companyBytesMax: number = 64 * 1024

interface InHand {
  readonly session: KafkaSession
  readonly book: Book
  readonly entry: KafkaEntry<KafkaMessage>
}

export interface KafkaOptions {
  readonly link: KafkaLink
  readonly topics: KafkaTopics
  readonly server: string
  readonly durability: Durability
  readonly messageBytesMax: number
  readonly capabilities: Capabilities
  readonly clock: Clock
}

export class KafkaDriver implements QueueDriver {
  readonly name = 'kafka'
  readonly server: string
  readonly capabilities: Capabilities
  readonly limits: DriverLimits
  readonly #options: KafkaOptions
  readonly #link: KafkaLink
  readonly #hands = new Hands<InHand>()
  readonly #sessions = new Map<string, KafkaSession>()
  /** Receives under way, by queue. */
  readonly #receiving = new Map<string, number>()
  /** One batch leaves after the other, so that keys keep their order. */
  readonly #sending: Together<KafkaMessage, SteadError | null>
  readonly #idling: NodeJS.Timeout
  readonly #idleSince = new Map<string, number>()
  #timer: Disposable | undefined

  constructor(options: KafkaOptions) {
    this.server = options.server
    this.capabilities = options.capabilities
    this.limits = { bodyBytesMax: options.messageBytesMax - companyBytesMax, delayMsMax }
    this.#options = options
    this.#link = options.link
    this.#sending = new Together(options.clock, batchMax, (queue, all) => this.#put(queue, all))
    this.#idling = setInterval(() => this.#leaveIdle(), idleMs / 5)
    this.#idling.unref()
  }

  async declare(queue: string): Promise<void> {
    await this.#options.topics.declare(queue)
  }

  async send(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    const nowMs = this.#options.clock.nowMs()
    const made = messages.map((message) => newKafkaMessage(message, nowMs))
    const errors = await this.#sending.submit(queue, made)
    const { durability } = this.#options
    return messages.map(({ id }, index): SendOutcome => {
      const error = errors[index] ?? null
      return error === null ? { ok: true, id, duplicate: false, durability } : { ok: false, error }
    })
  }

  /** Sends in batches that the server takes. One error or null for each; throws when the first batch is not taken. */
  async #put(topic: string, messages: readonly KafkaMessage[]): Promise<readonly (SteadError | null)[]> {
    const { messageBytesMax } = this.#options
    const errors: (SteadError | null)[] = []
    let failed: SteadError | null = null
    for (let start = 0; start < messages.length;) {
      const records = []
      let bytes = 0
      for (let at = start; at < messages.length; at += 1) {
        const message = messages[at]
        if (message === undefined) break
        const record = recordOf(topic, message)
        bytes += recordBytes(record)
        if (records.length > 0 && bytes > messageBytesMax) break
        records.push(record)
      }
      start += records.length
      try {
        if (failed === null) await this.#link.send(records)
      } catch (error) {
        failed = this.#link.failure(error, true)
        if (errors.length === 0) throw failed
      }
      for (const _record of records) errors.push(failed)
    }
    return errors
  }

  async receive(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    this.#receiving.set(queue, (this.#receiving.get(queue) ?? 0) + 1)
    try {
      return await this.#receive(queue, want, signal)
    } finally {
      this.#receiving.set(queue, (this.#receiving.get(queue) ?? 1) - 1)
    }
  }

  async #receive(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    const { clock } = this.#options
    if (signal.aborted) return []
    const session = this.#session(queue)
    const stopped = Promise.withResolvers<void>()
    const stop = (): void => stopped.resolve()
    signal.addEventListener('abort', stop, { once: true })
    try {
      let untilMs: number | null = null
      for (;;) {
        if (session.ended !== null) throw this.#link.failure(session.ended, false)
        const nowMs = clock.monotonicMs()
        if (session.joined) untilMs ??= nowMs + Math.max(want.waitMs, lookMs)
        const { book } = session
        const entries = session.open ? book.take(want.max) : []
        if (entries.length > 0) return this.#held(queue, session, book, entries, want)
        if (signal.aborted || (untilMs !== null && nowMs >= untilMs)) return []
        const waited = new AbortController()
        const leftMs = untilMs === null ? idleMs : untilMs - nowMs
        await Promise.race([session.changed, stopped.promise, sleep(clock, leftMs, waited.signal).catch(() => {})])
        waited.abort()
      }
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  #held(
    queue: string,
    session: KafkaSession,
    book: Book,
    entries: readonly InHand['entry'][],
    want: Want,
  ): readonly Held[] {
    const nowMs = this.#options.clock.monotonicMs()
    const held = entries.map((entry) => {
      const receipt = this.#hands.hold(queue, { session, book, entry }, want.leaseMs, want.keepMs, nowMs)
      const { id, body, headers, key, sentAtMs } = entry.message
      return { receipt, id, body, headers, key, priority: 0, attempt: entry.attempt, sentAtMs }
    })
    this.#plan()
    return held
  }

  #session(queue: string): KafkaSession {
    const known = this.#sessions.get(queue)
    if (known !== undefined && known.ended === null) return known
    const session: KafkaSession = new KafkaSession(this.#link, queue, this.#options.clock, () =>
      this.#hands.drop((inHand) => inHand.session === session && inHand.book !== session.book),
    )
    this.#sessions.set(queue, session)
    this.#idleSince.delete(queue)
    return session
  }

  async settle(queue: string, settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    const { clock } = this.#options
    const outcomes: SettleOutcome[] = settlements.map(() => 'lost')
    const nowMs = clock.monotonicMs()
    const held = settlements.flatMap(({ receipt, decision }, index) => {
      const inHand = this.#hands.get(queue, receipt, nowMs)
      return inHand === null ? [] : [{ index, receipt, decision, inHand }]
    })
    const dead = held.flatMap(({ index, decision, inHand: { entry } }) =>
      decision.kind === 'reject'
        ? [{ index, message: { ...entry.message, cause: decision.cause, attempts: entry.attempt } }]
        : [],
    )
    const notCopied = new Set<number>()
    if (dead.length > 0) {
      const errors = await this.#put(
        `${queue}.dead`,
        dead.map(({ message }) => message),
      )
      for (const [at, error] of errors.entries()) {
        const index = dead[at]?.index
        if (error === null || index === undefined) continue
        outcomes[index] = { error }
        notCopied.add(index)
      }
    }
    const settled: { readonly index: number; readonly inHand: InHand }[] = []
    for (const { index, receipt, decision, inHand } of held) {
      // The lease may have ended while the copy was made: then both are there, under one id.
      const now = clock.monotonicMs()
      if (notCopied.has(index) || this.#hands.get(queue, receipt, now) === null) continue
      if (decision.kind === 'extend') {
        this.#hands.extend(receipt, now + decision.leaseMs)
        outcomes[index] = 'done'
        continue
      }
      this.#hands.forget(receipt)
      settled.push({ index, inHand })
      if (decision.kind === 'retry')
        inHand.book.giveBack(inHand.entry, inHand.entry.attempt + (decision.countAsFailure ? 1 : 0))
      else inHand.book.settle(inHand.entry)
      inHand.session.wake()
    }
    this.#plan()
    await Promise.all(
      [...Map.groupBy(settled, ({ inHand }) => inHand.session)].map(async ([session, items]) => {
        const outcome = await this.#committed(session)
        for (const { index, inHand } of items)
          outcomes[index] = outcome === 'done' && inHand.book !== session.book ? 'lost' : outcome
      }),
    )
    return outcomes
  }

  /** Whether the server has taken what is settled from this member. */
  async #committed(session: KafkaSession): Promise<SettleOutcome> {
    if (session.ended !== null) return 'lost'
    try {
      await session.commit()
      return 'done'
    } catch (error) {
      const fenced = ['ILLEGAL_GENERATION', 'UNKNOWN_MEMBER_ID', 'FENCED_INSTANCE_ID', 'REBALANCE_IN_PROGRESS']
      if (fenced.some((apiId) => this.#link.says(error, apiId))) return 'lost'
      const said = this.#link.failure(error, true)
      // What was settled here and is not there comes again: nothing is kept of a member that cannot commit.
      session.end(error)
      return { error: said }
    }
  }

  async counts(_queue: string): Promise<Counts> {
    throw unsupported(this.name, 'counts', this.capabilities.counts)
  }

  async peek(queue: string, shelf: Shelf, max: number): Promise<readonly Seen[]> {
    if (shelf === 'ready') throw unsupported(this.name, 'peek', this.capabilities.peek)
    return this.#translated(async () => {
      const { read } = await this.#deadOf(queue, max)
      return read.map(({ message: { id, body, headers, key, sentAtMs, cause, attempts } }) => {
        return { id, body, headers, key, priority: 0, sentAtMs, attempt: attempts, cause }
      })
    })
  }

  /** The first dead messages, and the offset behind them. */
  async #deadOf(queue: string, max: number): Promise<{ readonly read: readonly KafkaRead[]; readonly end: bigint }> {
    const topic = `${queue}.dead`
    const [[first = 0n], [end = 0n]] = await Promise.all([
      this.#link.offsets(topic, 'first'),
      this.#link.offsets(topic, 'end'),
    ])
    const read: KafkaRead[] = []
    let next = first
    while (next < end && read.length < max) {
      const more = (await this.#link.read(this.#link.reader, topic, [[0, next]], lookMs)).filter(
        ({ offset }) => offset >= next,
      )
      const last = more.at(-1)
      if (last === undefined) break
      read.push(...more)
      next = last.batchEnd
    }
    const chosen = read.slice(0, max)
    return { read: chosen, end: chosen.length < read.length ? (chosen.at(-1)?.offset ?? first - 1n) + 1n : next }
  }

  async redrive(queue: string, max: number, ids: readonly string[] | null): Promise<number> {
    return this.#translated(async () => {
      const { read, end } = await this.#deadOf(queue, ids === null ? max : batchMax)
      const messages = read.map(({ message }) => message)
      const chosen = messages.filter(({ id }) => ids === null || ids.includes(id)).slice(0, max)
      if (chosen.length === 0) return 0
      // A log is deleted from its beginning: those that stay are sent again, to its end, before it is.
      const rest = messages.filter((message) => !chosen.includes(message))
      const back = chosen.map((message) => ({ ...message, cause: null, attempts: 0 }))
      for (const [topic, group] of [
        [queue, back],
        [`${queue}.dead`, rest],
      ] as const) {
        const failed = (await this.#put(topic, group)).find((error) => error !== null)
        if (failed !== undefined) throw failed
      }
      await this.#link.deleteBefore(`${queue}.dead`, [[0, end]])
      return chosen.length
    })
  }

  async purge(queue: string, shelf: Shelf): Promise<number> {
    const topic = shelf === 'dead' ? `${queue}.dead` : queue
    return this.#translated(async () => {
      const [first, end, committed] = await Promise.all([
        this.#link.offsets(topic, 'first'),
        this.#link.offsets(topic, 'end'),
        this.#options.topics.committed(topic),
      ])
      const counts = end.map((last, partition) => {
        const from = [first[partition] ?? 0n, committed[partition] ?? -1n].reduce((a, b) => (a > b ? a : b))
        return Number(last - from)
      })
      await this.#link.deleteBefore(
        topic,
        end.map((offset, partition) => [partition, offset]),
      )
      this.#sessions.get(topic)?.book.dropWaiting()
      return counts.reduce((sum, count) => sum + count, 0)
    })
  }

  async remove(queue: string): Promise<void> {
    await this.#sessions.get(queue)?.close()
    this.#sessions.delete(queue)
    await this.#options.topics.remove(queue)
  }

  async close(): Promise<void> {
    clearInterval(this.#idling)
    this.#timer?.[Symbol.dispose]()
    await this.#sending.idle()
    await Promise.all([...this.#sessions.values()].map((session) => session.close()))
    await this.#link.close()
  }

  async #translated<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw isSteadError(error) ? error : this.#link.failure(error, false)
    }
  }

  /** Leaves the groups in which nobody here waits for anything, nor holds anything. */
  #leaveIdle(): void {
    const nowMs = this.#options.clock.monotonicMs()
    for (const [queue, session] of this.#sessions) {
      if ((this.#receiving.get(queue) ?? 0) > 0 || session.book.inHand > 0) {
        this.#idleSince.delete(queue)
        continue
      }
      const sinceMs = this.#idleSince.get(queue) ?? nowMs
      this.#idleSince.set(queue, sinceMs)
      if (nowMs - sinceMs < idleMs) continue
      this.#sessions.delete(queue)
      this.#idleSince.delete(queue)
      void session.close()
    }
  }

  /** Gives back what is held too long, at the right time. */
  #plan(): void {
    this.#timer?.[Symbol.dispose]()
    const nextMs = this.#hands.nextMs()
    if (nextMs === null) return
    const { clock } = this.#options
    this.#timer = clock.after(Math.max(1, nextMs - clock.monotonicMs()), () => {
      for (const { session, book, entry } of this.#hands.overdue(clock.monotonicMs())) {
        book.giveBack(entry, entry.attempt + 1)
        session.wake()
      }
      this.#plan()
    })
  }
}
