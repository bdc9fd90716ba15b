/**
 * From names to numbers for very many names: an open-addressed table of numbers beside the list of names, 8 to 16 bytes for
 * a name where a Map takes 50. Kept: a name that is in the table is reached from its hash without a gap.
 */
import { release } from './grow.ts'

export class NameTable {
  readonly #names: readonly (string | undefined)[]
  /** Number + 1 of the name, 0: nothing. */
  #slots: Int32Array<ArrayBuffer> = new Int32Array(64)
  #mask = 63
  #used = 0

  /** `names` is the caller's list: the name of number n stands at n as long as the table knows it. */
  constructor(names: readonly (string | undefined)[]) {
    this.#names = names
  }

  get(name: string): number | undefined {
    for (let slot = hash(name) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const number = (this.#slots[slot] ?? 0) - 1
      if (number < 0) return undefined
      if (this.#names[number] === name) return number
    }
  }

  /** Adds a name that is not there yet. */
  add(name: string, number: number): void {
    if (++this.#used * 3 > this.#mask * 2) this.#grow()
    this.#put(name, number)
  }

  /** Forgets a name that is there. */
  remove(name: string): void {
    let slot = hash(name) & this.#mask
    while (this.#names[(this.#slots[slot] ?? 0) - 1] !== name) slot = (slot + 1) & this.#mask
    this.#used--
    let empty = slot
    for (slot = (slot + 1) & this.#mask; this.#slots[slot] !== 0; slot = (slot + 1) & this.#mask) {
      const home = hash(this.#names[(this.#slots[slot] ?? 0) - 1] ?? '') & this.#mask
      if (((slot - home) & this.#mask) < ((slot - empty) & this.#mask)) continue
      this.#slots[empty] = this.#slots[slot] ?? 0
      empty = slot
    }
    this.#slots[empty] = 0
  }

  #put(name: string, number: number): void {
    let slot = hash(name) & this.#mask
    while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask
    this.#slots[slot] = number + 1
  }

  #grow(): void {
    const old = this.#slots
    this.#slots = new Int32Array(old.length * 2)
    this.#mask = this.#mask * 2 + 1
    for (const entry of old) if (entry !== 0) this.#put(this.#names[entry - 1] ?? '', entry - 1)
    release(old)
  }
}

/** FNV-1a over the characters, mixed once more because only its low bits are used. */
function hash(name: string): number {
  let state = 0x811c9dc5
  for (let index = 0; index < name.length; index++) state = Math.imul(state ^ name.charCodeAt(index), 0x01000193)
  return Math.imul(state ^ (state >>> 15), 0x85ebca6b) >>> 8
}
