/** Dice for tests: seeded, so that what they found can be found again. */
import { seededRandom } from '../base/index.ts'

export class Dice {
  readonly #random: ReturnType<typeof seededRandom>

  constructor(seed: number) {
    this.#random = seededRandom(seed)
  }

  /** A number from 0 to `count` - 1. */
  below(count: number): number {
    const [a = 0, b = 0] = this.#random.bytes(2)
    return (a * 256 + b) % count
  }

  /** One of them. */
  of<T>(items: readonly [T, ...T[]]): T {
    return items[this.below(items.length)] ?? items[0]
  }
}
