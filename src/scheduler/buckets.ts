/**
 * Where a node with just enough room is, without looking at all of them. Nodes stand in a grid of 64 x 64 buckets by free
 * cpu and free memory, one grid for each cell (nodes that are alike in zone, labels, taints and the like).
 *
 *     memory ^  . . # . .      Tight search starts at the bucket of the need (a) and goes up and right. The corner of a
 *            |  . a x x .      bucket bounds the room of all nodes in it, so whole rows are left out once a node with less
 *            |  . . x . .      room is found (branch and bound). Loose search comes from the other corner.
 *            +----------> cpu
 *
 * Kept: every node that takes tasks is in exactly one bucket, the one of its free amounts. Complete: when the bounded look
 * finds nothing and has left something out, everything is looked at, so a node with room is never missed. Bucket widths grow with the square of their
 * number: fine where room is scarce. Among the compared nodes the one with the least (loose: most) room wins, and then the
 * one with the smallest number, which is the order in which nodes were added.
 */
import { grownNumbers } from './grow.ts'
import { comparedMax } from './limits.ts'

const side = 64
/** How many nodes of one bucket the bounded look visits. */
const visitedMax = 12
/** The least share of the scale that a bucket's nodes have, a hair less so that rounding never hides a node. */
const low: Float64Array = Float64Array.from({ length: side + 1 }, (_, bucket) => (bucket / side) ** 2 * (1 - 1e-12))
const high: Float64Array = Float64Array.from({ length: side }, (_, bucket) => ((bucket + 1) / side) ** 2 * (1 + 1e-12))

interface Grid {
  /** First and last node of each bucket, -1: none. */
  readonly heads: Int32Array
  readonly tails: Int32Array
  /** Two words for each row: which of its buckets hold a node. */
  readonly columns: Uint32Array
  readonly rows: Uint32Array
}

/** Says whether a node that has the cpu and the memory is fit in every other way. */
export interface Judge {
  fits(node: number): boolean
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word)
}

export class BucketIndex {
  #grids: Grid[] = []
  #next: Int32Array<ArrayBuffer> = new Int32Array(0)
  #previous: Int32Array<ArrayBuffer> = new Int32Array(0)
  /** Bucket of each node, -1: in none. */
  #bucket: Int32Array<ArrayBuffer> = new Int32Array(0)
  #cell: Int32Array<ArrayBuffer> = new Int32Array(0)
  #cpu: Float64Array = new Float64Array(0)
  #memory: Float64Array = new Float64Array(0)
  #cpuScale = 1
  #memoryScale = 1
  #best = -1
  #bestScore = 0
  #compared = 0
  /** Whether the bounded look has left out a node. */
  #cut = false

  /** Room for more nodes; `cpu` and `memory` are the columns of what is free, which the caller goes on changing. */
  grow(length: number, cpu: Float64Array, memory: Float64Array): void {
    this.#next = grownNumbers(this.#next, length)
    this.#previous = grownNumbers(this.#previous, length)
    this.#bucket = grownNumbers(this.#bucket, length)
    this.#cell = grownNumbers(this.#cell, length)
    this.#cpu = cpu
    this.#memory = memory
  }

  /** Sees to it that amounts up to these can be told apart; rarely anything to do. */
  rescale(cpu: number, memory: number): void {
    if (cpu <= this.#cpuScale && memory <= this.#memoryScale) return
    while (this.#cpuScale < cpu) this.#cpuScale *= 2
    while (this.#memoryScale < memory) this.#memoryScale *= 2
    for (let node = 0; node < this.#bucket.length; node++)
      if ((this.#bucket[node] ?? -1) >= 0) {
        const cell = this.#cell[node] ?? 0
        this.unlink(node)
        this.link(node, cell)
      }
  }

  /** How much of the largest node is left on one with so much free; what the search compares. */
  roomOf(node: number): number {
    return (this.#cpu[node] ?? 0) / this.#cpuScale + (this.#memory[node] ?? 0) / this.#memoryScale
  }

  /** Puts a node into a cell. */
  link(node: number, cell: number): void {
    while (this.#grids.length <= cell)
      this.#grids.push({
        heads: new Int32Array(side * side).fill(-1),
        tails: new Int32Array(side * side).fill(-1),
        columns: new Uint32Array(side * 2),
        rows: new Uint32Array(2),
      })
    this.#cell[node] = cell
    this.#insert(node, cell, this.#bucketOf(node))
  }

  /** Takes a node out; nothing happens when it is in no bucket. */
  unlink(node: number): void {
    const bucket = this.#bucket[node] ?? -1
    if (bucket < 0) return
    const grid = this.#grids[this.#cell[node] ?? 0]
    if (grid === undefined) return
    const next = this.#next[node] ?? -1
    const previous = this.#previous[node] ?? -1
    if (next >= 0) this.#previous[next] = previous
    else grid.tails[bucket] = previous
    if (previous >= 0) this.#next[previous] = next
    else {
      grid.heads[bucket] = next
      if (next < 0) this.#clearBit(grid, bucket)
    }
    this.#bucket[node] = -1
  }

  /** After a change of what is free on a node. */
  moved(node: number): void {
    const old = this.#bucket[node] ?? -1
    if (old < 0) return
    const bucket = this.#bucketOf(node)
    if (bucket === old) return
    const cell = this.#cell[node] ?? 0
    this.unlink(node)
    this.#insert(node, cell, bucket)
  }

  /** The node in the first `count` of these cells with the least room of those that fit; -1 when none does. */
  findTight(cells: Int32Array, count: number, cpu: number, memory: number, judge: Judge): number {
    for (const cap of [visitedMax, Infinity]) {
      this.#best = -1
      this.#bestScore = Infinity
      this.#compared = 0
      this.#cut = false
      for (let index = 0; index < count; index++) {
        const grid = this.#grids[cells[index] ?? 0]
        if (grid !== undefined) this.#walkTight(grid, cpu, memory, cap, judge)
      }
      if (this.#best >= 0 || !this.#cut) return this.#best
    }
    return -1
  }

  /** The node in the first `count` of these cells with the most room of those that fit; -1 when none does. */
  findLoose(cells: Int32Array, count: number, cpu: number, memory: number, judge: Judge): number {
    for (const cap of [visitedMax, Infinity]) {
      this.#best = -1
      this.#bestScore = -Infinity
      this.#compared = 0
      this.#cut = false
      for (let index = 0; index < count; index++) {
        const grid = this.#grids[cells[index] ?? 0]
        if (grid !== undefined) this.#walkLoose(grid, cpu, memory, cap, judge)
      }
      if (this.#best >= 0 || !this.#cut) return this.#best
    }
    return -1
  }

  #walkTight(grid: Grid, cpu: number, memory: number, cap: number, judge: Judge): void {
    const firstRow = this.#side(cpu / this.#cpuScale)
    const firstColumn = this.#side(memory / this.#memoryScale)
    const lowestColumn = low[firstColumn] ?? 0
    for (let half = firstRow >> 5; half < 2; half++) {
      let rows = grid.rows[half] ?? 0
      if (half === firstRow >> 5) rows &= -1 << (firstRow & 31)
      while (rows !== 0) {
        const row = (half << 5) + lowestBit(rows)
        rows &= rows - 1
        const rowLow = low[row] ?? 0
        if (rowLow + lowestColumn > this.#bestScore) return
        for (let word = firstColumn >> 5; word < 2; word++) {
          let columns = grid.columns[row * 2 + word] ?? 0
          if (word === firstColumn >> 5) columns &= -1 << (firstColumn & 31)
          while (columns !== 0) {
            const column = (word << 5) + lowestBit(columns)
            if (rowLow + (low[column] ?? 0) > this.#bestScore) break
            columns &= columns - 1
            this.#compareTight(grid.heads[row * side + column] ?? -1, cpu, memory, cap, judge)
            if (this.#compared > comparedMax) return
          }
        }
      }
    }
  }

  #compareTight(head: number, cpu: number, memory: number, cap: number, judge: Judge): void {
    const next = this.#next
    const cpus = this.#cpu
    const memories = this.#memory
    const perCpu = 1 / this.#cpuScale
    const perMemory = 1 / this.#memoryScale
    let left = cap
    for (let node = head; node >= 0; node = next[node] ?? -1) {
      if (left-- <= 0) {
        this.#cut = true
        return
      }
      const freeCpu = cpus[node] ?? 0
      const freeMemory = memories[node] ?? 0
      if (freeCpu < cpu || freeMemory < memory) continue
      const score = freeCpu * perCpu + freeMemory * perMemory
      if (score > this.#bestScore || (score === this.#bestScore && node > this.#best)) continue
      if (!judge.fits(node)) continue
      this.#bestScore = score
      this.#best = node
      this.#compared++
    }
  }

  #walkLoose(grid: Grid, cpu: number, memory: number, cap: number, judge: Judge): void {
    const lastRow = this.#side(cpu / this.#cpuScale)
    const lastColumn = this.#side(memory / this.#memoryScale)
    for (let row = side - 1; row >= lastRow; row--) {
      if (((grid.rows[row >> 5] ?? 0) & (1 << (row & 31))) === 0) continue
      if ((high[row] ?? 0) + (high[side - 1] ?? 0) < this.#bestScore) return
      for (let column = side - 1; column >= lastColumn; column--) {
        if ((high[row] ?? 0) + (high[column] ?? 0) < this.#bestScore) break
        if (((grid.columns[row * 2 + (column >> 5)] ?? 0) & (1 << (column & 31))) === 0) continue
        this.#compareLoose(grid.heads[row * side + column] ?? -1, cpu, memory, cap, judge)
        if (this.#compared > comparedMax) return
      }
    }
  }

  #compareLoose(head: number, cpu: number, memory: number, cap: number, judge: Judge): void {
    let left = cap
    for (let node = head; node >= 0; node = this.#next[node] ?? -1) {
      if (left-- <= 0) {
        this.#cut = true
        return
      }
      if ((this.#cpu[node] ?? 0) < cpu || (this.#memory[node] ?? 0) < memory) continue
      const score = this.roomOf(node)
      if (score < this.#bestScore || (score === this.#bestScore && node > this.#best)) continue
      if (!judge.fits(node)) continue
      this.#bestScore = score
      this.#best = node
      this.#compared++
    }
  }

  #side(share: number): number {
    const bucket = (Math.sqrt(share) * side) | 0
    return bucket < side ? bucket : side - 1
  }

  #bucketOf(node: number): number {
    const row = this.#side((this.#cpu[node] ?? 0) / this.#cpuScale)
    return row * side + this.#side((this.#memory[node] ?? 0) / this.#memoryScale)
  }

  #insert(node: number, cell: number, bucket: number): void {
    const grid = this.#grids[cell]
    if (grid === undefined) return
    // At the end: what changed last is what the next task of the same job must avoid most often.
    const tail = grid.tails[bucket] ?? -1
    this.#next[node] = -1
    this.#previous[node] = tail
    grid.tails[bucket] = node
    if (tail >= 0) this.#next[tail] = node
    else {
      const row = bucket >> 6
      const column = bucket & 63
      const word = row * 2 + (column >> 5)
      grid.columns[word] = (grid.columns[word] ?? 0) | (1 << (column & 31))
      grid.rows[row >> 5] = (grid.rows[row >> 5] ?? 0) | (1 << (row & 31))
      grid.heads[bucket] = node
    }
    this.#bucket[node] = bucket
  }

  #clearBit(grid: Grid, bucket: number): void {
    const row = bucket >> 6
    const column = bucket & 63
    const word = row * 2 + (column >> 5)
    grid.columns[word] = (grid.columns[word] ?? 0) & ~(1 << (column & 31))
    if (((grid.columns[row * 2] ?? 0) | (grid.columns[row * 2 + 1] ?? 0)) === 0)
      grid.rows[row >> 5] = (grid.rows[row >> 5] ?? 0) & ~(1 << (row & 31))
  }
}
