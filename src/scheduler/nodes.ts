/**
 * The nodes, as columns of numbers: what each has, what of it is free, where it stands, whether it takes tasks.
 *
 * Kept: free + taken = capacity for every column, exactly (all amounts are integers); a node is in the bucket index if and
 * only if it takes tasks. A node is a number here, given in the order of adding; numbers of removed nodes are used again.
 */
import { BucketIndex } from './buckets.ts'
import { Domains } from './domains.ts'
import { tooLarge } from './errors.ts'
import { grownFloats, grownNumbers } from './grow.ts'
import { NodeKinds, type NodeKind } from './kinds.ts'
import { nodesMax } from './limits.ts'
import { NameTable } from './name-table.ts'
import type { NeedFacts, NodeFacts } from './read.ts'
import { amountOf, NodeSizes, type NodeSize } from './node-sizes.ts'
import { baseColumnOf, cpuColumn, memoryColumn, Resources, sharedColumnOf } from './resources.ts'
import { TakesTable, type Takes } from './takes.ts'

/** Of a node: removed, takes tasks, takes none (cordoned). */
export const gone = 0
export const open = 1
export const cordoned = 2

/** The GPUs of a node: free thousandths of each. */
export interface NodeGpus {
  readonly model: string
  readonly free: Int16Array
}

/** So many of the last changes are known one by one; a power of two. */
const changesKept = 1024

export class Nodes {
  readonly resources: Resources = new Resources()
  readonly kinds: NodeKinds = new NodeKinds()
  readonly zones: Domains = new Domains('zones')
  readonly racks: Domains = new Domains('racks')
  readonly index: BucketIndex = new BucketIndex()
  /** Numbers below this have been given. */
  size = 0
  /** How many are there now. */
  count = 0
  /** Grows whenever a node appears, goes, or changes in what it takes. */
  version = 1
  state: Uint8Array<ArrayBuffer> = new Uint8Array(0)
  kind: Int32Array<ArrayBuffer> = new Int32Array(0)
  zone: Int32Array<ArrayBuffer> = new Int32Array(0)
  rack: Int32Array<ArrayBuffer> = new Int32Array(0)
  /** Tasks on the node: how many, and the first of the list that tasks.ts keeps. */
  tasks: Int32Array<ArrayBuffer> = new Int32Array(0)
  firstTask: Int32Array<ArrayBuffer> = new Int32Array(0)
  /** Grows whenever something on any node changes; of the last ones it is known which node it was. */
  changes = 0
  readonly #changed = new Int32Array(changesKept)
  /** Grows whenever something on the node changes. */
  stamp: Int32Array<ArrayBuffer> = new Int32Array(0)
  /** What is free, by column of the resource. A column that is not there is 0 for all. */
  readonly free: (Float64Array<ArrayBuffer> | undefined)[] = []
  readonly gpus: Map<number, NodeGpus> = new Map()
  /** Sum over all nodes that are there, by column, and of GPUs in thousandths. */
  readonly capacity: number[] = []
  gpuMilli = 0
  /** Of the largest node that there was: cpu, and GPUs, both in thousandths. */
  readonly largest: { cpu: number; gpuMilli: number } = { cpu: 1, gpuMilli: 0 }
  /** Cells are split into nodes with and without tasks (see the policy 'cost'). */
  readonly #splitsEmpty: boolean
  readonly #names = new NameTable()
  readonly #unused: number[] = []
  readonly #sizes = new NodeSizes(this.resources)
  /** Number of the node's size. */
  #size: Int32Array<ArrayBuffer> = new Int32Array(0)
  readonly #takes = new TakesTable(this.resources, (column) => this.openShared(column))
  #length = 0

  constructor(splitsEmpty: boolean) {
    this.#splitsEmpty = splitsEmpty
  }

  number(name: string): number | undefined {
    return this.#names.get(name)
  }

  /** The name of a node; '' where there is none. */
  nameOf(node: number): string {
    return this.#names.nameOf(node)
  }

  kindOf(node: number): NodeKind | undefined {
    return this.kinds.all[this.kind[node] ?? -1]
  }

  /** Adds a node whose name nobody has. Throws `scheduler.too-large`; nothing is changed then. */
  add(facts: NodeFacts): number {
    if (this.count >= nodesMax) throw tooLarge('nodes', nodesMax)
    const zone = this.zones.number(facts.zone)
    const rack = this.racks.number(`${facts.zone}/${facts.rack}`)
    const node = this.#unused.pop() ?? this.size++
    if (node >= this.#length) this.#grow(Math.max(64, this.#length * 2))
    this.#names.add(facts.name, node)
    this.zone[node] = zone
    this.rack[node] = rack
    this.kind[node] = this.kinds.of(facts, zone).number
    this.tasks[node] = 0
    this.#touch(node)
    this.firstTask[node] = -1
    this.#resize(node, facts)
    this.count++
    this.setState(node, facts.cordoned ? cordoned : open)
    return node
  }

  /** Takes an empty node away. */
  remove(node: number): void {
    this.setState(node, gone)
    this.#names.remove(node)
    this.#resize(node, null)
    this.count--
    this.#unused.push(node)
  }

  /** Opens, cordons or closes a node. */
  setState(node: number, state: number): void {
    const old = this.state[node] ?? gone
    this.state[node] = state
    this.version++
    const kind = this.kindOf(node)
    if (kind === undefined || old === state) return
    if (old === open) {
      this.index.unlink(node)
      this.kinds.count(kind, -1)
    }
    if (state === open) {
      this.kinds.count(kind, 1)
      this.index.link(node, this.#cell(kind, node))
    }
  }

  /**
   * Gives a node other labels, taints, GPU model or clock; `facts` are all of its facts, changed. With `resize` also other
   * amounts: what runs keeps what it has, so less than nothing may be free then.
   */
  reclassify(node: number, facts: NodeFacts, resize: boolean): void {
    const state = this.state[node] ?? gone
    this.setState(node, cordoned)
    if (resize) {
      this.#resize(node, facts)
      this.#touch(node)
    }
    this.kind[node] = this.kinds.of(facts, this.zone[node] ?? 0).number
    this.setState(node, state)
  }

  /** How much of what can be squeezed all tasks together may ask for. */
  factorOf(node: number): number {
    return this.#sizeOf(node)?.factor ?? 1
  }

  /** Cores on which CPU time may be reserved. */
  realtimeCoresOf(node: number): number {
    return this.#sizeOf(node)?.realtimeCores ?? 0
  }

  freeOf(column: number, node: number): number {
    return this.free[column]?.[node] ?? 0
  }

  /** What is free or taken. */
  totalOf(column: number, node: number): number {
    return amountOf(this.#sizeOf(node), column)
  }

  /** A task comes (1) or goes (-1) with these amounts. */
  move(node: number, columns: readonly number[], amounts: readonly number[], direction: 1 | -1): void {
    for (let index = 0; index < columns.length; index++) {
      const free = this.free[columns[index] ?? 0]
      if (free !== undefined) free[node] = (free[node] ?? 0) - direction * (amounts[index] ?? 0)
    }
    const tasks = (this.tasks[node] ?? 0) + direction
    this.tasks[node] = tasks
    this.#touch(node)
    if (this.state[node] !== open) return
    if (this.#splitsEmpty && (tasks === 0 || (direction === 1 && tasks === 1))) {
      const kind = this.kindOf(node)
      if (kind === undefined) return
      this.index.unlink(node)
      this.index.link(node, this.#cell(kind, node))
    } else this.index.moved(node)
  }

  /** Keeps a node out of the search for a while; nothing may be said of its state meanwhile. */
  hide(node: number): void {
    this.index.unlink(node)
  }

  /** Ends that. */
  show(node: number): void {
    const kind = this.kindOf(node)
    if (kind !== undefined && this.state[node] === open) this.index.link(node, this.#cell(kind, node))
  }

  /** What a task with these needs takes. */
  takesOf(needs: NeedFacts): Takes {
    return this.#takes.of(needs)
  }

  /** Makes the column in which all requests of a squeezable resource count; from then on it is kept. */
  openShared(column: number): void {
    const shared = sharedColumnOf(column)
    if (shared === undefined || this.free[shared] !== undefined) return
    const free = new Float64Array(this.#length)
    this.free[shared] = free
    for (let node = 0; node < this.size; node++)
      free[node] = this.totalOf(shared, node) - (this.totalOf(column, node) - this.freeOf(column, node))
  }

  /** Calls back with each node on which something has changed since `changes` had that value; false: these are too many. */
  eachChanged(since: number, visit: (node: number) => void): boolean {
    if (this.changes - since > changesKept) return false
    for (let change = since; change < this.changes; change++) visit(this.#changed[change & (changesKept - 1)] ?? 0)
    return true
  }

  #touch(node: number): void {
    this.stamp[node] = (this.stamp[node] ?? 0) + 1
    this.#changed[this.changes++ & (changesKept - 1)] = node
  }

  #sizeOf(node: number): NodeSize | undefined {
    return this.#sizes.get(this.#size[node] ?? -1)
  }

  /** Gives a node another size, or none; what is taken stays taken. */
  #resize(node: number, facts: NodeFacts | null): void {
    const old = this.#sizeOf(node)
    const size = facts === null ? undefined : this.#sizes.take(facts)
    this.#size[node] = size?.number ?? -1
    const columns = Math.max(this.free.length, size?.amounts.length ?? 0)
    for (let column = 0; column < columns; column++) {
      const change = amountOf(size, column) - amountOf(old, column)
      if (change === 0) continue
      if (baseColumnOf(column) === undefined) {
        this.capacity[column] = (this.capacity[column] ?? 0) + change
        this.free[column] ??= new Float64Array(this.#length)
      }
      const free = this.free[column]
      if (free !== undefined) free[node] = (free[node] ?? 0) + change
    }
    const gpuCount = size?.gpuCount ?? 0
    this.gpuMilli += (gpuCount - (this.gpus.get(node)?.free.length ?? 0)) * 1000
    if (gpuCount > 0 && facts !== null)
      this.gpus.set(node, { model: facts.gpuModel, free: new Int16Array(gpuCount).fill(1000) })
    else if (this.gpus.size > 0) this.gpus.delete(node)
    if (old !== undefined) this.#sizes.letGo(old)
    if (size !== undefined) this.#measure(node, gpuCount)
  }

  /** The scales against which nodes are compared. */
  #measure(node: number, gpuCount: number): void {
    const cpu = this.totalOf(cpuColumn, node)
    this.largest.cpu = Math.max(this.largest.cpu, cpu)
    this.largest.gpuMilli = Math.max(this.largest.gpuMilli, gpuCount * 1000)
    this.index.rescale(cpu, this.totalOf(memoryColumn, node))
  }

  #cell(kind: NodeKind, node: number): number {
    return this.#splitsEmpty ? kind.cell * 2 + ((this.tasks[node] ?? 0) === 0 ? 1 : 0) : kind.cell
  }

  #grow(length: number): void {
    this.#length = length
    this.state = new Uint8Array(this.state.buffer.transfer(length))
    this.kind = grownNumbers(this.kind, length)
    this.#size = grownNumbers(this.#size, length)
    this.zone = grownNumbers(this.zone, length)
    this.rack = grownNumbers(this.rack, length)
    this.tasks = grownNumbers(this.tasks, length)
    this.stamp = grownNumbers(this.stamp, length)
    this.firstTask = grownNumbers(this.firstTask, length)
    this.free.forEach((column, index) => {
      if (column !== undefined) this.free[index] = grownFloats(column, length)
    })
    this.free[cpuColumn] ??= new Float64Array(length)
    this.free[memoryColumn] ??= new Float64Array(length)
    this.index.grow(length, this.free[cpuColumn], this.free[memoryColumn])
  }
}
