/**
 * Two counts over the last while, pure: of all that happened, and of what was marked among it. Kept in ten slots, so that
 * what is older than the window is forgotten at most a tenth of it late, and nothing grows.
 */

const slotsInWindow = 10

/** How many there were, and how many of them were marked. */
export interface Share {
  readonly all: number
  readonly marked: number
}

export class SlidingShare {
  readonly #slotMs: number
  readonly #all: number[] = Array.from({ length: slotsInWindow }, () => 0)
  readonly #marked: number[] = Array.from({ length: slotsInWindow }, () => 0)
  #slot = Number.NEGATIVE_INFINITY

  constructor(windowMs: number) {
    this.#slotMs = windowMs / slotsInWindow
  }

  /** Adds to the slot of now. Time that steps back counts as standing still. */
  add(nowMs: number, all: number, marked: number): void {
    const at = this.#turn(nowMs) % slotsInWindow
    this.#all[at] = (this.#all[at] ?? 0) + all
    this.#marked[at] = (this.#marked[at] ?? 0) + marked
  }

  /** What is in the window that ends now. */
  total(nowMs: number): Share {
    this.#turn(nowMs)
    const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0)
    return { all: sum(this.#all), marked: sum(this.#marked) }
  }

  clear(): void {
    this.#all.fill(0)
    this.#marked.fill(0)
  }

  /** Empties the slots that have fallen out of the window; answers the number of the slot of now. */
  #turn(nowMs: number): number {
    const slot = Math.max(this.#slot, Math.floor(nowMs / this.#slotMs))
    const first = Math.max(this.#slot + 1, slot - slotsInWindow + 1)
    for (let old = first; old <= slot; old += 1) {
      this.#all[old % slotsInWindow] = 0
      this.#marked[old % slotsInWindow] = 0
    }
    this.#slot = slot
    return slot
  }
}
