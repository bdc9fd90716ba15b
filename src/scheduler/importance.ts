/**
 * On which nodes tasks of each priority run, as bit sets, so that the search for victims starts with the least important
 * ones and never visits a node that has none. Kept: a bit is set if and only if such a task runs there. Nothing is counted
 * while all tasks have the same priority, which is common; then there is nobody to stop.
 */
import { CountTable } from './count-table.ts'

interface PriorityLevel {
  readonly priority: number
  readonly number: number
  bits: Int32Array
  /** No word before this one has a bit. */
  first: number
}

export class Importance {
  /** Sorted from the least important. */
  readonly #levels: PriorityLevel[] = []
  readonly #counts = new CountTable()
  #counting = false
  #only: number | null = null

  /** A job of this priority appears. True when counting begins: then every running task must be counted with `move`. */
  know(priority: number): boolean {
    if (this.#counting) return false
    this.#only ??= priority
    if (this.#only === priority) return false
    this.#counting = true
    return true
  }

  /** A task comes to a node (1) or leaves it (-1). */
  move(priority: number, node: number, change: 1 | -1): void {
    if (!this.#counting) return
    const level = this.#level(priority)
    const count = this.#counts.add(level.number, node, change)
    const word = node >> 5
    if (word >= level.bits.length) {
      const bits = new Int32Array(Math.max(word + 1, level.bits.length * 2))
      bits.set(level.bits)
      level.bits = bits
    }
    if (count === 0) level.bits[word] = (level.bits[word] ?? 0) & ~(1 << (node & 31))
    else if (change === 1 && count === 1) {
      level.bits[word] = (level.bits[word] ?? 0) | (1 << (node & 31))
      level.first = Math.min(level.first, word)
    }
  }

  /**
   * Asks about each node that runs a task less important than `priority`, from the least important up and in the order of the
   * nodes, until there is an answer. A node is asked about once for each priority that runs there.
   */
  find<Answer>(priority: number, ask: (node: number, priority: number) => Answer | null): Answer | null {
    for (const level of this.#levels) {
      if (level.priority >= priority) return null
      const { bits } = level
      while (level.first < bits.length && bits[level.first] === 0) level.first++
      for (let word = level.first; word < bits.length; word++) {
        let left = bits[word] ?? 0
        while (left !== 0) {
          const node = (word << 5) + (31 - Math.clz32(left & -left))
          left &= left - 1
          const answer = ask(node, level.priority)
          if (answer !== null) return answer
        }
      }
    }
    return null
  }

  /** Whether a task that is less important than this runs, or ran. */
  hasBelow(priority: number): boolean {
    return (this.#levels[0]?.priority ?? Infinity) < priority
  }

  /** No task that runs is less important; -Infinity when that is not known. */
  get least(): number {
    return this.#levels.find(({ bits }) => bits.some((word) => word !== 0))?.priority ?? -Infinity
  }

  #level(priority: number): PriorityLevel {
    let index = 0
    for (; index < this.#levels.length; index++) {
      const level = this.#levels[index]
      if (level?.priority === priority) return level
      if (level !== undefined && level.priority > priority) break
    }
    const level: PriorityLevel = { priority, number: this.#levels.length, bits: new Int32Array(0), first: 0 }
    this.#levels.splice(index, 0, level)
    return level
  }
}
