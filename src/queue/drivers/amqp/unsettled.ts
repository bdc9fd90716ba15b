/**
 * What a channel has delivered and nobody has settled, in the order of delivery: one acknowledgement can say "all up to this one", so
 * most of those that are settled together need a single one. Purely a book: an entry is there from its delivery until its end.
 */

export class Unsettled<Delivery> {
  readonly #open = new Set<Delivery>()

  /** Delivered, after all others. */
  add(delivery: Delivery): void {
    this.#open.add(delivery)
  }

  /** Settled by itself. */
  delete(delivery: Delivery): void {
    this.#open.delete(delivery)
  }

  /** The server has forgotten all of them. */
  clear(): void {
    this.#open.clear()
  }

  /** Takes out those that are acknowledged: all up to `upTo`, if it is not null, and each of `single`. */
  acknowledge(deliveries: readonly Delivery[]): {
    readonly upTo: Delivery | null
    readonly single: readonly Delivery[]
  } {
    const left = new Set(deliveries)
    let upTo: Delivery | null = null
    for (const first of this.#open) {
      if (!left.delete(first)) break
      this.#open.delete(first)
      upTo = first
    }
    for (const delivery of left) this.#open.delete(delivery)
    return { upTo, single: [...left] }
  }
}
