/**
 * For each queue one call after the other, so that what came first is there first; what comes while one is under way goes together in
 * the next. So a server that takes long for each call gets few and large ones, and the program can go on meanwhile.
 */

interface Member<Item, Result> {
  readonly items: readonly Item[]
  resolve(results: readonly Result[]): void
  reject(error: unknown): void
}

export class Together<Item, Result> {
  readonly #itemsMax: number
  readonly #call: (queue: string, items: readonly Item[]) => Promise<readonly Result[]>
  /** What waits, by queue: there while calls of the queue are under way. */
  readonly #waiting = new Map<string, Member<Item, Result>[]>()
  readonly #running = new Set<Promise<void>>()

  /** `call` answers one result for each item, in their order. It gets `itemsMax` items at most, or what was submitted as one. */
  constructor(itemsMax: number, call: (queue: string, items: readonly Item[]) => Promise<readonly Result[]>) {
    this.#itemsMax = itemsMax
    this.#call = call
  }

  /** The results of these items. Throws what the call that they were part of has thrown. */
  submit(queue: string, items: readonly Item[]): Promise<readonly Result[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly Result[]>()
    const member = { items, resolve, reject }
    const waiting = this.#waiting.get(queue)
    if (waiting !== undefined) waiting.push(member)
    else {
      const begun = [member]
      this.#waiting.set(queue, begun)
      const running = this.#run(queue, begun).finally(() => this.#running.delete(running))
      this.#running.add(running)
    }
    return promise
  }

  /** Resolves when nothing is under way any more. */
  async idle(): Promise<void> {
    await Promise.all(this.#running)
  }

  async #run(queue: string, waiting: Member<Item, Result>[]): Promise<void> {
    while (waiting.length > 0) {
      const members = this.#next(waiting)
      try {
        const results = await this.#call(
          queue,
          members.flatMap(({ items }) => items),
        )
        let from = 0
        for (const member of members) member.resolve(results.slice(from, (from += member.items.length)))
      } catch (error) {
        for (const member of members) member.reject(error)
      }
    }
    this.#waiting.delete(queue)
  }

  #next(waiting: Member<Item, Result>[]): readonly Member<Item, Result>[] {
    let items = 0
    let count = 0
    for (const member of waiting) {
      items += member.items.length
      if (count > 0 && items > this.#itemsMax) break
      count += 1
    }
    return waiting.splice(0, count)
  }
}
