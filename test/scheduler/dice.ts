/** Random choices from a seed, for generated cases. The same seed gives the same case. */
import { seededRandom } from '../../src/base/index.ts'

export class Dice {
  readonly #random

  constructor(seed: number) {
    // Neighbouring seeds must not begin alike.
    this.#random = seededRandom(Math.imul(seed + 1, 0x9e3779b1))
    this.#random.bytes(16)
  }

  /** 0 .. below - 1. */
  number(below: number): number {
    const [a = 0, b = 0, c = 0] = this.#random.bytes(3)
    return ((a << 16) | (b << 8) | c) % below
  }

  /** True in so many of a hundred cases. */
  percent(chance: number): boolean {
    return this.number(100) < chance
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.number(items.length)]
    if (item === undefined) throw new Error('nothing to pick from')
    return item
  }
}
