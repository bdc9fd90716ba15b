/** Counts what happens in windows of time, by key: for what must be bounded and must not vanish. Bounded itself. */

/** Keys that are counted at one time; with more all begin anew. */
const keysMax = 10_000

interface Window {
  readonly count: number
  readonly sinceMs: number
}

export class Counts {
  readonly #windows = new Map<string, Window>()

  /** How often it has happened in the window that goes on. */
  of(key: string, nowMs: number, windowMs: number): number {
    const found = this.#windows.get(key)
    return found === undefined || nowMs - found.sinceMs >= windowMs ? 0 : found.count
  }

  /**
   * Counts one more. `write`: it is one of the first `max` of its window. `omitted`: how many more than `max` there were in
   * the window before, when this is the first of a new one.
   */
  add(
    key: string,
    nowMs: number,
    windowMs: number,
    max: number,
  ): { readonly write: boolean; readonly omitted: number } {
    const before = this.#windows.get(key)
    if (before === undefined && this.#windows.size >= keysMax) this.#windows.clear()
    const count = this.of(key, nowMs, windowMs) + 1
    const fresh = count === 1 || before === undefined
    this.#windows.set(key, { count, sinceMs: fresh ? nowMs : before.sinceMs })
    return { write: count <= max, omitted: fresh && before !== undefined ? Math.max(before.count - max, 0) : 0 }
  }
}
