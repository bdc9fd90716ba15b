/**
 * Many callers, few calls: what is submitted in one turn of the event loop, or while calls are under way, goes to the driver
 * together. Items leave in the order in which they came. What waits is bounded in number and in bytes: beyond that a
 * submission is refused, so that a slow server cannot fill the memory of its clients.
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

interface Waiting<Item, Result> {
  readonly item: Item
  readonly bytes: number
  resolve(result: Result): void
  reject(error: unknown): void
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

  /** The result for this item. Throws `queue.overloaded` when too much waits already, and what the call threw. */
  submit(item: Item, bytes: number): Promise<Result> {
    const { waitingMax, waitingBytesMax } = this.#limits
    const full = this.#waiting.length >= waitingMax || this.#waitingBytes + bytes > waitingBytesMax
    if (full && this.#waiting.length > 0) {
      const message = `${this.#waiting.length} ${this.#what} wait already`
      const hint = 'Await what was sent before sending more, and look whether the server is slow.'
      return Promise.reject(failure('overloaded', message, hint))
    }
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    this.#waiting.push({ item, bytes, resolve, reject })
    this.#waitingBytes += bytes
    this.#schedule()
    return promise
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
    try {
      const results = await this.#call(members.map(({ item }) => item))
      for (const [index, member] of members.entries()) {
        const result = results[index]
        if (result === undefined) member.reject(new Error(`assertion failed: no result for ${this.#what}`))
        else member.resolve(result)
      }
    } catch (error) {
      for (const member of members) member.reject(error)
    }
    this.#flights -= 1
    this.#schedule()
    if (this.#waiting.length === 0 && this.#flights === 0) for (const done of this.#idle.splice(0)) done()
  }

  /** Takes the next items: at least one, then as many as fit. */
  #next(): readonly Waiting<Item, Result>[] {
    let bytes = 0
    const over = this.#waiting.findIndex((item, index) => {
      bytes += item.bytes
      return index > 0 && (index >= this.#limits.itemsMax || bytes > this.#limits.bytesMax)
    })
    const members = this.#waiting.splice(0, over === -1 ? this.#waiting.length : over)
    this.#waitingBytes -= members.reduce((sum, item) => sum + item.bytes, 0)
    return members
  }
}
