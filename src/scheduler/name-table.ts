/**
 * Very many names by number and back: their characters in one row of bytes, and an open-addressed table of numbers. A name takes
 * its length and about 14 bytes, where a string in a Map takes 80 that the collector must visit. Kept: a name that is in the
 * table is reached from its hash without a gap; of the row less than half is names that are gone. Names are ASCII (units.ts).
 */
import { grownNumbers, release } from './grow.ts'

export class NameTable {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(1024)
  #end = 0
  /** Bytes of names that are gone. */
  #lost = 0
  /** By number: where its length stands, and then the name; -1: there is none. */
  #from: Int32Array<ArrayBuffer> = new Int32Array(0)
  /** Number + 1 of the name, 0: nothing. */
  #slots: Int32Array<ArrayBuffer> = new Int32Array(64)
  #mask = 63
  #used = 0

  get(name: string): number | undefined {
    for (let slot = hash(name) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const number = (this.#slots[slot] ?? 0) - 1
      if (number < 0) return undefined
      if (this.#is(number, name)) return number
    }
  }

  /** The name of a number; '' where it has none. */
  nameOf(number: number): string {
    const bytes = this.#bytes
    const from = this.#from[number] ?? -1
    let name = ''
    if (from < 0) return name
    const until = from + (bytes[from] ?? 0)
    for (let at = from + 1; at <= until; at++) name += String.fromCharCode(bytes[at] ?? 0)
    return name
  }

  /** Adds a name that is not there yet, for a number that has none. */
  add(name: string, number: number): void {
    if (++this.#used * 3 > this.#mask * 2) this.#grow()
    if (number >= this.#from.length)
      this.#from = grownNumbers(this.#from, Math.max(64, number + 1, this.#from.length * 2))
    if (this.#end + name.length >= this.#bytes.length) this.#makeRoom(name.length + 1)
    this.#from[number] = this.#end
    this.#bytes[this.#end++] = name.length
    for (let index = 0; index < name.length; index++) this.#bytes[this.#end++] = name.charCodeAt(index)
    this.#put(number)
  }

  /** Forgets a name that is there. */
  remove(number: number): void {
    let slot = this.#home(number)
    while (this.#slots[slot] !== number + 1) slot = (slot + 1) & this.#mask
    this.#used--
    let empty = slot
    for (slot = (slot + 1) & this.#mask; this.#slots[slot] !== 0; slot = (slot + 1) & this.#mask) {
      const home = this.#home((this.#slots[slot] ?? 0) - 1)
      if (((slot - home) & this.#mask) < ((slot - empty) & this.#mask)) continue
      this.#slots[empty] = this.#slots[slot] ?? 0
      empty = slot
    }
    this.#slots[empty] = 0
    this.#lost += 1 + (this.#bytes[this.#from[number] ?? 0] ?? 0)
    this.#from[number] = -1
  }

  #is(number: number, name: string): boolean {
    const from = this.#from[number] ?? 0
    if (this.#bytes[from] !== name.length) return false
    for (let index = name.length; index > 0; index--)
      if (this.#bytes[from + index] !== name.charCodeAt(index - 1)) return false
    return true
  }

  #put(number: number): void {
    let slot = this.#home(number)
    while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask
    this.#slots[slot] = number + 1
  }

  #home(number: number): number {
    const bytes = this.#bytes
    const from = this.#from[number] ?? 0
    const until = from + (bytes[from] ?? 0)
    let state = seed
    for (let at = from + 1; at <= until; at++) state = mixed(state, bytes[at] ?? 0)
    return finished(state) & this.#mask
  }

  #grow(): void {
    const old = this.#slots
    this.#slots = new Int32Array(old.length * 2)
    this.#mask = this.#mask * 2 + 1
    for (const entry of old) if (entry !== 0) this.#put(entry - 1)
    release(old)
  }

  /** Closes the gaps where they are half of the row, and makes the row longer where they are not. */
  #makeRoom(more: number): void {
    if (this.#lost * 2 > this.#end) {
      const packed = new Uint8Array(this.#bytes.length)
      let end = 0
      for (let number = 0; number < this.#from.length; number++) {
        const from = this.#from[number] ?? -1
        if (from < 0) continue
        const name = this.#bytes.subarray(from, from + 1 + (this.#bytes[from] ?? 0))
        packed.set(name, end)
        this.#from[number] = end
        end += name.length
      }
      this.#bytes.buffer.transfer(0)
      this.#bytes = packed
      this.#end = end
      this.#lost = 0
    }
    if (this.#end + more <= this.#bytes.length) return
    this.#bytes = new Uint8Array(this.#bytes.buffer.transfer(Math.max(this.#end + more, this.#bytes.length * 2)))
  }
}

const seed: number = 0x811c9dc5 | 0

/** FNV-1a over the characters, mixed once more because only its low bits are used. */
function hash(name: string): number {
  let state = seed
  for (let index = 0; index < name.length; index++) state = mixed(state, name.charCodeAt(index))
  return finished(state)
}

function mixed(state: number, character: number): number {
  return Math.imul(state ^ character, 0x01000193)
}

function finished(state: number): number {
  return Math.imul(state ^ (state >>> 15), 0x85ebca6b) >>> 8
}
