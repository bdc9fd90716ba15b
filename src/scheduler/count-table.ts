/**
 * How many tasks of a group run on a node, for the few pairs of group and node where it is not 0: an open-addressed table
 * in three number arrays, 12 bytes for a pair at most half full. Kept: no entry has count 0; every entry is reached from
 * its hash without a gap.
 */
export class CountTable {
  #groups: Int32Array = new Int32Array(64)
  #nodes: Int32Array = new Int32Array(64)
  #counts: Int32Array = new Int32Array(64)
  #mask = 63
  #used = 0

  get(group: number, node: number): number {
    let slot = this.#hash(group, node)
    for (;;) {
      const count = this.#counts[slot] ?? 0
      if (count === 0) return 0
      if (this.#nodes[slot] === node && this.#groups[slot] === group) return count
      slot = (slot + 1) & this.#mask
    }
  }

  /** Changes a count and returns what it is then. */
  add(group: number, node: number, change: number): number {
    let slot = this.#hash(group, node)
    for (;;) {
      const count = this.#counts[slot] ?? 0
      if (count === 0) {
        if (change === 0) return 0
        this.#groups[slot] = group
        this.#nodes[slot] = node
        this.#counts[slot] = change
        this.#used++
        if (this.#used * 2 > this.#mask) this.#grow()
        return change
      }
      if (this.#nodes[slot] === node && this.#groups[slot] === group) {
        this.#counts[slot] = count + change
        if (count + change === 0) this.#close(slot)
        return count + change
      }
      slot = (slot + 1) & this.#mask
    }
  }

  /** Forgets a group. */
  clear(group: number): void {
    const nodes: number[] = []
    for (let slot = 0; slot <= this.#mask; slot++)
      if (this.#counts[slot] !== 0 && this.#groups[slot] === group) nodes.push(this.#nodes[slot] ?? 0)
    for (const node of nodes) this.add(group, node, -this.get(group, node))
  }

  #hash(group: number, node: number): number {
    const mixed = Math.imul(node ^ Math.imul(group, 0x9e3779b1), 0x85ebca6b)
    return (mixed ^ (mixed >>> 15)) & this.#mask
  }

  /** Closes the gap that a removed entry leaves by moving later ones up. */
  #close(gap: number): void {
    this.#counts[gap] = 0
    this.#used--
    let empty = gap
    for (let slot = (gap + 1) & this.#mask; this.#counts[slot] !== 0; slot = (slot + 1) & this.#mask) {
      const home = this.#hash(this.#groups[slot] ?? 0, this.#nodes[slot] ?? 0)
      if (((slot - home) & this.#mask) < ((slot - empty) & this.#mask)) continue
      this.#groups[empty] = this.#groups[slot] ?? 0
      this.#nodes[empty] = this.#nodes[slot] ?? 0
      this.#counts[empty] = this.#counts[slot] ?? 0
      this.#counts[slot] = 0
      empty = slot
    }
  }

  #grow(): void {
    const groups = this.#groups
    const nodes = this.#nodes
    const counts = this.#counts
    const length = counts.length * 2
    this.#groups = new Int32Array(length)
    this.#nodes = new Int32Array(length)
    this.#counts = new Int32Array(length)
    this.#mask = length - 1
    this.#used = 0
    for (let slot = 0; slot < counts.length; slot++)
      if (counts[slot] !== 0) this.add(groups[slot] ?? 0, nodes[slot] ?? 0, counts[slot] ?? 0)
  }
}
