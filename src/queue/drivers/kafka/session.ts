/**
 * One member of the group of a queue: it joins, fetches from the partitions that are its own, and commits how far they are settled. A
 * rebalance ends everything it holds: the partitions begin again from what is committed, with a new book, wherever they are then.
 * Whatever fails ends the session; the next receive begins a new one.
 */
import type { Consumer } from '@platformatic/kafka'
import { sleep } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import { KafkaBook } from './book.ts'
import type { KafkaLink } from './link.ts'
import type { KafkaMessage } from './message.ts'

const fetchMs = 500
/** Records that wait here, and what they take of memory; with more, nothing is fetched. */
const waitingMax = 2000
const waitingBytesMax: number = 16 * 1024 * 1024
/** What a record takes beside its body, about. */
const entryBytes = 500
/** Settled records behind one that is not; with more, nothing is handed out until that one is settled. */
const aheadMax = 10_000
/** The coordinator of a group comes with the first member, and moves: so long it is waited for. */
const coordinatorMs = 15_000
const pauseMs = 200
const coming = ['COORDINATOR_NOT_AVAILABLE', 'COORDINATOR_LOAD_IN_PROGRESS', 'NOT_COORDINATOR']
/** Committed records are deleted so often. */
const trimMs = 30_000

export type Book = KafkaBook<KafkaMessage>

export class KafkaSession {
  book: Book = new KafkaBook(new Map())
  /** What has ended it; null while it lives. */
  ended: unknown = null
  readonly #link: KafkaLink
  readonly #topic: string
  readonly #clock: Clock
  readonly #onLost: () => void
  readonly #member: Consumer
  readonly #reader: Consumer
  readonly #stop = new AbortController()
  #generation = -1
  #changed = Promise.withResolvers<void>()
  #committing: Promise<void> | undefined
  #nextCommit: Promise<void> | undefined
  #fetching: Promise<void> = Promise.resolve()
  #trimmedMs: number

  /** `onLost` hears when all that is held of it is void. */
  constructor(link: KafkaLink, topic: string, clock: Clock, onLost: () => void) {
    this.#link = link
    this.#topic = topic
    this.#clock = clock
    this.#onLost = onLost
    this.#trimmedMs = clock.monotonicMs()
    this.#member = link.member(topic)
    this.#reader = link.member(topic)
    this.#member.on('consumer:group:join', ({ generationId = 0 }) => void this.#assigned(generationId))
    // A generation that ends is heard of here first: nothing that is held may be settled any more.
    this.#member.on('consumer:group:rebalance', () => this.#replace(new KafkaBook(new Map())))
    this.#member.on('consumer:heartbeat:error', ({ error }) => this.end(error))
    this.#member.on('error', (error: unknown) => this.end(error))
    void this.#join()
  }

  /** Resolves when something may have changed. */
  get changed(): Promise<void> {
    return this.#changed.promise
  }

  /** Whether what a partition has may be handed out. */
  get open(): boolean {
    return this.ended === null && this.book.aheadMax < aheadMax
  }

  get joined(): boolean {
    return this.#generation >= 0
  }

  wake(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }

  async #join(): Promise<void> {
    this.#member.topics.track(this.#topic)
    const untilMs = this.#clock.monotonicMs() + coordinatorMs
    for (;;) {
      try {
        await this.#member.joinGroup({})
        return
      } catch (error) {
        const passes = coming.some((apiId) => this.#link.says(error, apiId)) && this.#clock.monotonicMs() < untilMs
        if (!passes || this.ended !== null) return this.end(error)
        await sleep(this.#clock, pauseMs, this.#stop.signal).catch(() => {})
      }
    }
  }

  #replace(book: Book): void {
    this.book = book
    this.#onLost()
    this.wake()
  }

  /** A new generation: its partitions begin where they were committed. */
  async #assigned(generation: number): Promise<void> {
    this.#replace(new KafkaBook(new Map()))
    const assignment = this.#member.assignments?.find(({ topic }) => topic === this.#topic)
    const partitions = assignment?.partitions ?? []
    try {
      const from = new Map<number, bigint>()
      if (partitions.length > 0) {
        const [committed, first] = await Promise.all([
          this.#member.listCommittedOffsets({ topics: [{ topic: this.#topic, partitions }] }),
          this.#link.offsets(this.#topic, 'first'),
        ])
        for (const partition of partitions) {
          const known = committed.get(this.#topic)?.[partition] ?? -1n
          const least = first[partition] ?? 0n
          from.set(partition, known > least ? known : least)
        }
      }
      if (this.#member.generationId !== generation || this.ended !== null) return
      const book: Book = new KafkaBook(from)
      this.#replace(book)
      this.#generation = generation
      this.wake()
      // Two at once on one connection would confuse each other's place in it.
      const fetching = this.#fetching.then(() => this.#fetch(book))
      this.#fetching = fetching.catch(() => {})
      await fetching
    } catch (error) {
      this.end(error)
    }
  }

  async #fetch(book: Book): Promise<void> {
    while (this.book === book && this.ended === null && book.nexts().length > 0) {
      if (book.waiting >= waitingMax || book.waitingBytes >= waitingBytesMax) {
        await Promise.race([this.changed, sleep(this.#clock, fetchMs, this.#stop.signal).catch(() => {})])
        continue
      }
      const records = await this.#link.read(this.#reader, this.#topic, book.nexts(), fetchMs)
      // What was fetched for an older generation is not for this one.
      if (this.book !== book) return
      for (const { partition, offset, message } of records) {
        book.add(partition, offset, message.key, entryBytes + message.body.length, message)
      }
      for (const { partition, batchEnd } of records) book.skipTo(partition, batchEnd)
      if (records.length > 0) this.wake()
    }
  }

  /** Commits how far everything is settled now. Callers share a commit that has not begun yet. Rejects with what the client threw. */
  commit(): Promise<void> {
    this.#nextCommit ??= (this.#committing ?? Promise.resolve())
      .catch(() => {})
      .then(() => {
        this.#nextCommit = undefined
        this.#committing = this.#commitNow()
        return this.#committing
      })
    return this.#nextCommit
  }

  async #commitNow(): Promise<void> {
    const settled = this.book.settled()
    if (settled.length === 0) return
    const offsets = settled.map(([partition, offset]) => ({ topic: this.#topic, partition, offset, leaderEpoch: -1 }))
    await this.#member.commit({ offsets })
    if (this.#clock.monotonicMs() - this.#trimmedMs > trimMs) this.#trim(settled)
  }

  /** What is settled for good needs no room any more. That it is still there hurts nobody. */
  #trim(settled: readonly (readonly [number, bigint])[]): void {
    this.#trimmedMs = this.#clock.monotonicMs()
    const some = settled.filter(([, offset]) => offset > 0n)
    if (some.length > 0) this.#link.deleteBefore(this.#topic, some).catch(() => {})
  }

  /** Ends it because of an error: its partitions go to others when the server notices. */
  end(error: unknown): void {
    if (this.ended !== null) return
    this.ended = error
    void this.#leave()
  }

  /** Leaves the group: its partitions go to others now. */
  async close(): Promise<void> {
    const settled = this.book.settled()
    this.ended ??= new Error('the member has left')
    await this.#leave()
    this.#trim(settled)
  }

  async #leave(): Promise<void> {
    this.#stop.abort()
    this.#replace(new KafkaBook(new Map()))
    await Promise.allSettled([this.#member.close(true), this.#reader.close(true)])
  }
}
