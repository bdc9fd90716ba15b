/**
 * Many callers, few calls: what is submitted in one turn of the event loop, or while calls are under way, goes to the driver
 * together. Items leave in the order in which they came. What waits is bounded in number and in bytes: beyond that a
 * submission is refused, so that a slow server cannot fill the memory of its clients. Answers go to callbacks: a promise for
 * each item and each layer would cost more than the item's way.
 */
import { failure } from './errors.ts'

export interface GatherLimits {
  readonly itemsMax: number
  readonly bytesMax: number
  /** Calls under way at once. */
  readonly flightsMax: number
  /** Items and bytes that wait. */
  readonly waitingMax: number
  readonly waitingBytesMax: number
}

/** Hears once what became of an item: its result, or what the call threw. */
export interface Told<Result> {
  resolve(result: Result): void
  reject(error: unknown): void
}

interface Waiting<Item, Result> {
  readonly item: Item
  readonly bytes: number
  readonly told: Told<Result>
}

/** Gathers items for one kind of call on one queue. */
export class Gather<Item, Result> {
  readonly #what: string
  readonly #limits: GatherLimits
  readonly #call: (items: readonly Item[]) => Promise<readonly Result[]>
  #waiting: Waiting<Item, Result>[] = []
  #waitingBytes = 0
  #flights = 0
  #scheduled = false
  readonly #idle: (() => void)[] = []

  /** `call` answers one result for each item, in their order. */
  constructor(what: string, limits: GatherLimits, call: (items: readonly Item[]) => Promise<readonly Result[]>) {
    this.#what = what
    this.#limits = limits
    this.#call = call
  }

  /** Takes the item in. `told` hears its result; `queue.overloaded` at once when too much waits already; and what the call threw. */
  submit(item: Item, bytes: number, told: Told<Result>): void {
    const { waitingMax, waitingBytesMax } = this.#limits
    const full = this.#waiting.length >= waitingMax || this.#waitingBytes + bytes > waitingBytesMax
    if (full && this.#waiting.length > 0) {
      const message = `${this.#waiting.length} ${this.#what} wait already`
      const hint = 'Await what was sent before sending more, and look whether the server is slow.'
      return told.reject(failure('overloaded', message, hint))
    }
    this.#waiting.push({ item, bytes, told })
    this.#waitingBytes += bytes
    this.#schedule()
  }

  /** Resolves when nothing waits and nothing is under way. */
  idle(): Promise<void> {
    if (this.#waiting.length === 0 && this.#flights === 0) return Promise.resolve()
    return new Promise((resolve) => void this.#idle.push(resolve))
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting.length === 0 || this.#flights >= this.#limits.flightsMax) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      void this.#fly(this.#next())
    })
  }

  async #fly(members: readonly Waiting<Item, Result>[]): Promise<void> {
    this.#flights += 1
    this.#schedule()
    let results: readonly Result[] | null = null
    let thrown: unknown
    try {
      results = await this.#call(members.map(({ item }) => item))
    } catch (error) {
      thrown = error
    }
    this.#flights -= 1
    try {
      this.#answer(members, results, thrown)
    } finally {
      this.#schedule()
      if (this.#waiting.length === 0 && this.#flights === 0) for (const done of this.#idle.splice(0)) done()
    }
  }

  /** Tells all of them, whatever one of them throws: that is a bug, and is thrown when all have heard. */
  #answer(members: readonly Waiting<Item, Result>[], results: readonly Result[] | null, thrown: unknown): void {
    const bugs: unknown[] = []
    for (let index = 0; index < members.length; index += 1) {
      const told = members[index]?.told
      const result = results?.[index]
      try {
        if (results === null) told?.reject(thrown)
        else if (result === undefined) told?.reject(new Error(`assertion failed: no result for ${this.#what}`))
        else told?.resolve(result)
      } catch (error) {
        bugs.push(error)
      }
    }
    if (bugs.length > 0) throw bugs[0]
  }

  /** Takes the next items: at least one, then as many as fit. */
  #next(): readonly Waiting<Item, Result>[] {
    const { itemsMax, bytesMax } = this.#limits
    let bytes = 0
    let count = 0
    for (const item of this.#waiting) {
      if (count > 0 && (count >= itemsMax || bytes + item.bytes > bytesMax)) break
      bytes += item.bytes
      count += 1
    }
    this.#waitingBytes -= bytes
    return this.#waiting.splice(0, count)
  }
}
