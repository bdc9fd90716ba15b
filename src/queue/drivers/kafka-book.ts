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
  attempt: number
}

interface Partition<Message> {
  /** The offset from which on somebody else would begin. */
  settledTo: bigint
  /** The offset that is fetched next. */
  next: bigint
  /** Settled behind one that is not. */
  readonly settledAhead: Set<bigint>
  /** Not settled, in their order: those that wait and those in hand. */
  readonly open: KafkaEntry<Message>[]
}

export class KafkaBook<Message> {
  readonly #partitions = new Map<number, Partition<Message>>()
  readonly #inHand = new Set<KafkaEntry<Message>>()
  readonly #busyKeys = new Set<string>()
  #waiting = 0
  #turn = 0

  /** `from`: where each partition begins. */
  constructor(from: ReadonlyMap<number, bigint>) {
    for (const [partition, offset] of from) {
      this.#partitions.set(partition, { settledTo: offset, next: offset, settledAhead: new Set(), open: [] })
    }
  }

  /** Records that wait to be taken. */
  get waiting(): number {
    return this.#waiting
  }

  get inHand(): number {
    return this.#inHand.size
  }

  /** Where each partition goes on. */
  nexts(): readonly (readonly [number, bigint])[] {
    return [...this.#partitions].map(([partition, { next }]) => [partition, next])
  }

  /** Takes in a record that was fetched; one that was taken in before changes nothing. */
  add(partition: number, offset: bigint, key: string | null, message: Message): void {
    const place = this.#partitions.get(partition)
    if (place === undefined || offset < place.next) return
    place.open.push({ partition, offset, key, message, attempt: 1 })
    place.next = offset + 1n
    this.#waiting += 1
  }

  /** Offsets before `next` have no more records: batches can end with what is no message. */
  skipTo(partition: number, next: bigint): void {
    const place = this.#partitions.get(partition)
    if (place === undefined || next <= place.next) return
    place.next = next
    if (place.open.length === 0) place.settledTo = next
  }

  /** Up to `max` records whose keys are free, from all partitions in turn. They are in hand then. */
  take(max: number): readonly KafkaEntry<Message>[] {
    const taken: KafkaEntry<Message>[] = []
    const places = [...this.#partitions.values()]
    this.#turn += 1
    for (let index = 0; index < places.length && taken.length < max; index += 1) {
      for (const entry of places[(index + this.#turn) % places.length]?.open ?? []) {
        if (taken.length >= max) break
        if (this.#inHand.has(entry) || (entry.key !== null && this.#busyKeys.has(entry.key))) continue
        this.#inHand.add(entry)
        if (entry.key !== null) this.#busyKeys.add(entry.key)
        taken.push(entry)
      }
    }
    this.#waiting -= taken.length
    return taken
  }

  /** It is done with. */
  settle(entry: KafkaEntry<Message>): void {
    const place = this.#partitions.get(entry.partition)
    if (place === undefined || !this.#leave(entry)) return
    place.open.splice(place.open.indexOf(entry), 1)
    place.settledAhead.add(entry.offset)
    const first = place.open[0]?.offset ?? place.next
    if (first <= place.settledTo) return
    place.settledTo = first
    for (const offset of place.settledAhead) if (offset < first) place.settledAhead.delete(offset)
  }

  /** It waits again, at its old place; `attempt` is that of its next delivery. */
  giveBack(entry: KafkaEntry<Message>, attempt: number): void {
    if (!this.#leave(entry)) return
    entry.attempt = attempt
    this.#waiting += 1
  }

  /** Forgets all that waits, up to where partitions end now: it was deleted. */
  dropWaiting(): void {
    for (const place of this.#partitions.values()) {
      const held = place.open.filter((entry) => this.#inHand.has(entry))
      place.open.splice(0, place.open.length, ...held)
    }
    this.#waiting = 0
  }

  /** How far each partition is settled. */
  settled(): readonly (readonly [number, bigint])[] {
    return [...this.#partitions].map(([partition, { settledTo }]) => [partition, settledTo])
  }

  /** The most that is settled behind a record that is not. */
  get aheadMax(): number {
    return Math.max(0, ...[...this.#partitions.values()].map(({ settledAhead }) => settledAhead.size))
  }

  #leave(entry: KafkaEntry<Message>): boolean {
    if (!this.#inHand.delete(entry)) return false
    if (entry.key !== null) this.#busyKeys.delete(entry.key)
    return true
  }
}
