/**
 * How many tasks of a group run on a node, for the few pairs of group and node where it is not 0: an open-addressed table
 * in one array, three numbers for a pair, at most two thirds full. Kept: no entry has count 0; every entry is reached from
 * its hash without a gap.
 */
import { release } from './grow.ts'

const width = 3

export class CountTable {
  /** Group, node, count; and again. */
  #slots: Int32Array<ArrayBuffer> = new Int32Array(64 * width)
  #mask = 63
  #used = 0

  get(group: number, node: number): number {
    const slots = this.#slots
    for (let slot = this.#hash(group, node); ; slot = (slot + 1) & this.#mask) {
      const at = slot * width
      const count = slots[at + 2] ?? 0
      if (count === 0 || (slots[at + 1] === node && slots[at] === group)) return count
    }
  }

  /** Changes a count and returns what it is then. */
  add(group: number, node: number, change: number): number {
    const slots = this.#slots
    for (let slot = this.#hash(group, node); ; slot = (slot + 1) & this.#mask) {
      const at = slot * width
      const count = slots[at + 2] ?? 0
      if (count === 0) {
        slots[at] = group
        slots[at + 1] = node
        slots[at + 2] = change
        this.#used++
        if (this.#used * 3 > this.#mask * 2) this.#grow()
        return change
      }
      if (slots[at + 1] === node && slots[at] === group) {
        slots[at + 2] = count + change
        if (count + change === 0) this.#close(slot)
        return count + change
      }
    }
  }

  #hash(group: number, node: number): number {
    const mixed = Math.imul(node ^ Math.imul(group, 0x9e3779b1), 0x85ebca6b)
    return (mixed ^ (mixed >>> 15)) & this.#mask
  }

  /** Closes the gap that a removed entry leaves by moving later ones up. */
  #close(gap: number): void {
    const slots = this.#slots
    this.#used--
    let empty = gap
    for (let slot = (gap + 1) & this.#mask; slots[slot * width + 2] !== 0; slot = (slot + 1) & this.#mask) {
      const home = this.#hash(slots[slot * width] ?? 0, slots[slot * width + 1] ?? 0)
      if (((slot - home) & this.#mask) < ((slot - empty) & this.#mask)) continue
      slots.copyWithin(empty * width, slot * width, slot * width + width)
      slots[slot * width + 2] = 0
      empty = slot
    }
  }

  #grow(): void {
    const old = this.#slots
    this.#slots = new Int32Array(old.length * 2)
    this.#mask = this.#mask * 2 + 1
    this.#used = 0
    for (let at = 0; at < old.length; at += width)
      if (old[at + 2] !== 0) this.add(old[at] ?? 0, old[at + 1] ?? 0, old[at + 2] ?? 0)
    release(old)
  }
}
