/**
 * For each queue one call after the other, so that what came first is there first; what comes while one is under way goes together in
 * the next. So a server that takes long for each call gets few and large ones, and the program can go on meanwhile. Those who were
 * just answered often have more at once: half as long as the last call took, the next one waits until as much has come again.
 */
import type { Clock } from '../../base/index.ts'

interface Member<Item, Result> {
  readonly items: readonly Item[]
  resolve(results: readonly Result[]): void
  reject(error: unknown): void
}

/** What waits of one queue. It is there while calls of the queue are under way. */
interface Line<Item, Result> {
  readonly members: Member<Item, Result>[]
  items: number
  /** Who waits until there are so many items. */
  enough: { readonly items: number; reached(): void } | null
}

export class Together<Item, Result> {
  readonly #clock: Clock
  readonly #itemsMax: number
  readonly #call: (queue: string, items: readonly Item[]) => Promise<readonly Result[]>
  readonly #lines = new Map<string, Line<Item, Result>>()
  readonly #running = new Set<Promise<void>>()

  /** `call` answers one result for each item, in their order. It gets `itemsMax` items at most, or what was submitted as one. */
  constructor(
    clock: Clock,
    itemsMax: number,
    call: (queue: string, items: readonly Item[]) => Promise<readonly Result[]>,
  ) {
    this.#clock = clock
    this.#itemsMax = itemsMax
    this.#call = call
  }

  /** The results of these items. Throws what the call that they were part of has thrown. */
  submit(queue: string, items: readonly Item[]): Promise<readonly Result[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly Result[]>()
    const known = this.#lines.get(queue)
    const line = known ?? { members: [], items: 0, enough: null }
    line.members.push({ items, resolve, reject })
    line.items += items.length
    if (known === undefined) {
      this.#lines.set(queue, line)
      const running = this.#run(queue, line).finally(() => this.#running.delete(running))
      this.#running.add(running)
    } else if (line.enough !== null && line.items >= line.enough.items) line.enough.reached()
    return promise
  }

  /** Resolves when nothing is under way any more. */
  async idle(): Promise<void> {
    await Promise.all(this.#running)
  }

  async #run(queue: string, line: Line<Item, Result>): Promise<void> {
    while (line.members.length > 0) {
      const members = this.#next(line)
      const items = members.flatMap((member) => member.items)
      const beganMs = this.#clock.monotonicMs()
      try {
        const results = await this.#call(queue, items)
        let from = 0
        for (const member of members) member.resolve(results.slice(from, (from += member.items.length)))
      } catch (error) {
        for (const member of members) member.reject(error)
      }
      const tookMs = this.#clock.monotonicMs() - beganMs
      await this.#company(line, Math.min(this.#itemsMax, line.items + items.length), tookMs / 2)
    }
    this.#lines.delete(queue)
  }

  /** Resolves when so many items wait, or the time is over. */
  async #company(line: Line<Item, Result>, items: number, withinMs: number): Promise<void> {
    if (line.items >= items) return
    const { promise, resolve } = Promise.withResolvers<void>()
    using _late = this.#clock.after(withinMs, resolve)
    line.enough = { items, reached: resolve }
    await promise
    line.enough = null
  }

  #next(line: Line<Item, Result>): readonly Member<Item, Result>[] {
    let items = 0
    let count = 0
    for (const member of line.members) {
      if (count > 0 && items + member.items.length > this.#itemsMax) break
      items += member.items.length
      count += 1
    }
    line.items -= items
    return line.members.splice(0, count)
  }
}
