/** A binary heap of things that fall due, the earliest first; of those at the same time the one that was added first. */

export class DueHeap<Item> {
  readonly #atMs: number[] = []
  readonly #order: number[] = []
  readonly #items: Item[] = []
  #added = 0

  get size(): number {
    return this.#items.length
  }

  /** When the first falls due; Infinity when there is none. */
  get nextMs(): number {
    return this.#atMs[0] ?? Infinity
  }

  push(atMs: number, item: Item): void {
    this.#atMs.push(atMs)
    this.#order.push(this.#added++)
    this.#items.push(item)
    let child = this.#items.length - 1
    while (child > 0) {
      const parent = (child - 1) >> 1
      if (!this.#before(child, parent)) break
      this.#swap(child, parent)
      child = parent
    }
  }

  /** Drops what is no longer wanted; the order of the rest stays. */
  retain(wanted: (item: Item) => boolean): void {
    const kept = this.#items
      .map((item, index) => ({ item, atMs: this.#atMs[index] ?? 0, order: this.#order[index] ?? 0 }))
      .filter(({ item }) => wanted(item))
      .sort((a, b) => a.atMs - b.atMs || a.order - b.order)
    // A sorted list is a heap.
    this.#items.length = 0
    this.#atMs.length = 0
    this.#order.length = 0
    for (const { item, atMs, order } of kept) {
      this.#items.push(item)
      this.#atMs.push(atMs)
      this.#order.push(order)
    }
  }

  /** Takes the first. */
  pop(): Item | undefined {
    const last = this.#items.length - 1
    if (last > 0) this.#swap(0, last)
    this.#atMs.pop()
    this.#order.pop()
    const item = this.#items.pop()
    for (let parent = 0; ;) {
      const left = parent * 2 + 1
      if (left >= last) break
      const child = left + 1 < last && this.#before(left + 1, left) ? left + 1 : left
      if (!this.#before(child, parent)) break
      this.#swap(child, parent)
      parent = child
    }
    return item
  }

  #before(a: number, b: number): boolean {
    const difference = (this.#atMs[a] ?? 0) - (this.#atMs[b] ?? 0)
    return difference === 0 ? (this.#order[a] ?? 0) < (this.#order[b] ?? 0) : difference < 0
  }

  #swap(a: number, b: number): void {
    swap(this.#atMs, a, b)
    swap(this.#order, a, b)
    swap(this.#items, a, b)
  }
}

function swap(array: unknown[], a: number, b: number): void {
  const first = array[a]
  const second = array[b]
  if (first === undefined || second === undefined) return
  array[a] = second
  array[b] = first
}
