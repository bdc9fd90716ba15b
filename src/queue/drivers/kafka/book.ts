/**
 * What one member of a group has of its partitions, purely: records that wait, those that are in hand, and how far each partition is
 * settled. Records of one key leave one at a time, in their order; what is given back is taken before those behind it. A partition
 * is settled up to its first record that is not: what was settled behind that one is remembered here alone.
 */

export interface KafkaEntry<Message> {
  readonly partition: number
  readonly offset: bigint
  readonly key: string | null
  readonly message: Message
  /** What it takes of memory, about. */
  readonly bytes: number
  attempt: number
}

interface Partition<Message> {
  /** The offset that is fetched next. */
  next: bigint
  /** What is not settled, by offset, in their order: what waits and what is in hand. */
  readonly open: Map<bigint, KafkaEntry<Message>>
  /** What waits, in its order. */
  waiting: KafkaEntry<Message>[]
}

export class KafkaBook<Message> {
  readonly #partitions = new Map<number, Partition<Message>>()
  readonly #inHand = new Set<KafkaEntry<Message>>()
  readonly #busyKeys = new Set<string>()
  #waiting = 0
  #waitingBytes = 0
  #turn = 0

  /** `from`: where each partition begins. */
  constructor(from: ReadonlyMap<number, bigint>) {
    for (const [partition, next] of from) this.#partitions.set(partition, { next, open: new Map(), waiting: [] })
  }

  /** Records that wait to be taken. */
  get waiting(): number {
    return this.#waiting
  }

  /** What those take of memory, about. */
  get waitingBytes(): number {
    return this.#waitingBytes
  }

  get inHand(): number {
    return this.#inHand.size
  }

  /** Where each partition goes on. */
  nexts(): readonly (readonly [number, bigint])[] {
    return [...this.#partitions].map(([partition, { next }]) => [partition, next])
  }

  /** Takes in a record that was fetched; one that was taken in before changes nothing. */
  add(partition: number, offset: bigint, key: string | null, bytes: number, message: Message): void {
    const place = this.#partitions.get(partition)
    if (place === undefined || offset < place.next) return
    const entry = { partition, offset, key, message, bytes, attempt: 1 }
    place.open.set(offset, entry)
    place.waiting.push(entry)
    place.next = offset + 1n
    this.#waiting += 1
    this.#waitingBytes += bytes
  }

  /** There are no records before `next` any more: batches can end with what is no message. */
  skipTo(partition: number, next: bigint): void {
    const place = this.#partitions.get(partition)
    if (place !== undefined && next > place.next) place.next = next
  }

  /** Up to `max` records whose keys are free, from all partitions in turn. They are in hand then. */
  take(max: number): readonly KafkaEntry<Message>[] {
    const taken: KafkaEntry<Message>[] = []
    const places = [...this.#partitions.values()]
    this.#turn += 1
    for (let index = 0; index < places.length && taken.length < max; index += 1) {
      const place = places[(index + this.#turn) % places.length]
      if (place !== undefined) this.#takeFrom(place, max, taken)
    }
    this.#waiting -= taken.length
    for (const { bytes } of taken) this.#waitingBytes -= bytes
    return taken
  }

  #takeFrom(place: Partition<Message>, max: number, taken: KafkaEntry<Message>[]): void {
    const passed: KafkaEntry<Message>[] = []
    let at = 0
    for (; at < place.waiting.length && taken.length < max; at += 1) {
      const entry = place.waiting[at]
      if (entry === undefined) break
      if (entry.key !== null && this.#busyKeys.has(entry.key)) {
        passed.push(entry)
        continue
      }
      this.#inHand.add(entry)
      if (entry.key !== null) this.#busyKeys.add(entry.key)
      taken.push(entry)
    }
    place.waiting = [...passed, ...place.waiting.slice(at)]
  }

  /** It is done with. */
  settle(entry: KafkaEntry<Message>): void {
    if (this.#leave(entry)) this.#partitions.get(entry.partition)?.open.delete(entry.offset)
  }

  /** It waits again, at its old place; `attempt` is that of its next delivery. */
  giveBack(entry: KafkaEntry<Message>, attempt: number): void {
    const place = this.#partitions.get(entry.partition)
    if (place === undefined || !this.#leave(entry)) return
    entry.attempt = attempt
    const behind = place.waiting.findIndex(({ offset }) => offset > entry.offset)
    place.waiting.splice(behind === -1 ? place.waiting.length : behind, 0, entry)
    this.#waiting += 1
    this.#waitingBytes += entry.bytes
  }

  /** Forgets all that waits: it was deleted. */
  dropWaiting(): void {
    for (const place of this.#partitions.values()) {
      for (const { offset } of place.waiting) place.open.delete(offset)
      place.waiting = []
    }
    this.#waiting = 0
    this.#waitingBytes = 0
  }

  /** How far each partition is settled: where somebody else would begin. */
  settled(): readonly (readonly [number, bigint])[] {
    return [...this.#partitions].map(([partition, place]) => [partition, settledTo(place)])
  }

  /** The most that is settled behind a record that is not. */
  get aheadMax(): number {
    const aheads = [...this.#partitions.values()].map(
      (place) => Number(place.next - settledTo(place)) - place.open.size,
    )
    return Math.max(0, ...aheads)
  }

  #leave(entry: KafkaEntry<Message>): boolean {
    if (!this.#inHand.delete(entry)) return false
    if (entry.key !== null) this.#busyKeys.delete(entry.key)
    return true
  }
}

function settledTo({ open, next }: Partition<unknown>): bigint {
  const [first] = open.keys()
  return first ?? next
}
