/** Time limits of tasks, and the warnings before them, by when they are due. Those of tasks that have ended meanwhile come up too, and mean nothing then. */

export interface Due {
  readonly atMs: number
  readonly task: string
  readonly what: 'warning' | 'limit'
}

export class Deadlines {
  /** The one that is due last first. */
  readonly #waiting: Due[] = []

  get nextMs(): number {
    return this.#waiting.at(-1)?.atMs ?? Infinity
  }

  add(due: Due): void {
    let low = 0
    let high = this.#waiting.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#waiting[middle]?.atMs ?? 0) > due.atMs) low = middle + 1
      else high = middle
    }
    this.#waiting.splice(low, 0, due)
  }

  /** Takes out those that are due. */
  due(nowMs: number): readonly Due[] {
    const due: Due[] = []
    for (;;) {
      const next = this.#waiting.at(-1)
      if (next === undefined || next.atMs > nowMs) return due
      due.push(next)
      this.#waiting.pop()
    }
  }
}
