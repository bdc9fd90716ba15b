/**
 * The nodes, as columns of numbers: what each has, what of it is free, where it stands, whether it takes tasks.
 *
 * Kept: free + taken = capacity for every column, exactly (all amounts are integers); a node is in the bucket index if and
 * only if it takes tasks. A node is a number here, given in the order of adding; numbers of removed nodes are used again.
 */
import { BucketIndex } from './buckets.ts'
import { Domains } from './domains.ts'
import { duplicateName, tooLarge } from './errors.ts'
import { grownFloats, grownNumbers } from './grow.ts'
import { NodeKinds, type NodeKind } from './kinds.ts'
import { nodesMax } from './limits.ts'
import { NameTable } from './name-table.ts'
import type { NeedFacts, NodeFacts } from './read.ts'
import { cpuColumn, isShared, memoryColumn, Resources, sharedColumnOf } from './resources.ts'
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
  readonly names: string[] = []
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
  /** By column of the resource. A column that is not there is 0 for all. */
  readonly free: (Float64Array<ArrayBuffer> | undefined)[] = []
  readonly total: (Float64Array<ArrayBuffer> | undefined)[] = []
  readonly gpus: Map<number, NodeGpus> = new Map()
  readonly realtimeCores: Map<number, number> = new Map()
  /** Sum over all nodes that are there, by column, and of GPUs in thousandths. */
  readonly capacity: number[] = []
  gpuMilli = 0
  /** Of the largest node that there was: cpu, and GPUs, both in thousandths. */
  readonly largest: { cpu: number; gpuMilli: number } = { cpu: 1, gpuMilli: 0 }
  /** Cells are split into nodes with and without tasks (see the policy 'cost'). */
  readonly #splitsEmpty: boolean
  readonly #numbers = new NameTable(this.names)
  readonly #unused: number[] = []
  readonly #factor = new Map<number, number>()
  readonly #takes = new TakesTable(this.resources, (column) => this.openShared(column))
  #length = 0

  constructor(splitsEmpty: boolean) {
    this.#splitsEmpty = splitsEmpty
  }

  number(name: string): number | undefined {
    return this.#numbers.get(name)
  }

  kindOf(node: number): NodeKind | undefined {
    return this.kinds.all[this.kind[node] ?? -1]
  }

  /** Adds a node. Throws `scheduler.duplicate-name`, `scheduler.too-large`; nothing is changed then. */
  add(facts: NodeFacts): number {
    if (this.#numbers.get(facts.name) !== undefined) throw duplicateName('node', facts.name)
    if (this.count >= nodesMax) throw tooLarge('nodes', nodesMax)
    const node = this.#unused.pop() ?? this.size++
    if (node >= this.#length) this.#grow(Math.max(64, this.#length * 2))
    this.names[node] = facts.name
    this.#numbers.add(facts.name, node)
    this.zone[node] = this.zones.number(facts.zone)
    this.rack[node] = this.racks.number(`${facts.zone}/${facts.rack}`)
    this.kind[node] = this.kinds.of(facts, this.zone[node] ?? 0).number
    this.tasks[node] = 0
    this.#touch(node)
    this.firstTask[node] = -1
    for (const [resource, amount] of facts.amounts) this.#give(node, this.resources.column(resource), amount)
    if (facts.bestEffortFactor !== 1) this.#factor.set(node, facts.bestEffortFactor)
    for (let column = 0; column < this.free.length; column++) this.#shareColumn(node, column)
    if (facts.gpuCount > 0) {
      this.gpus.set(node, { model: facts.gpuModel, free: new Int16Array(facts.gpuCount).fill(1000) })
      this.gpuMilli += facts.gpuCount * 1000
    }
    if (facts.realtimeCores > 0) this.realtimeCores.set(node, facts.realtimeCores)
    this.#measure(node, facts.gpuCount)
    this.count++
    this.setState(node, facts.cordoned ? cordoned : open)
    return node
  }

  /** Takes an empty node away. */
  remove(node: number): void {
    this.setState(node, gone)
    this.#numbers.remove(this.names[node] ?? '')
    for (let column = 0; column < this.total.length; column++) {
      const total = this.total[column]
      if (total === undefined) continue
      this.capacity[column] = (this.capacity[column] ?? 0) - (total[node] ?? 0)
      total[node] = 0
      const free = this.free[column]
      if (free !== undefined) free[node] = 0
    }
    this.gpuMilli -= (this.gpus.get(node)?.free.length ?? 0) * 1000
    this.gpus.delete(node)
    this.realtimeCores.delete(node)
    this.#factor.delete(node)
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
    if (resize) this.#resize(node, facts)
    this.kind[node] = this.kinds.of(facts, this.zone[node] ?? 0).number
    this.setState(node, state)
  }

  /** How much of what can be squeezed all tasks together may ask for. */
  factorOf(node: number): number {
    return this.#factor.get(node) ?? 1
  }

  amount(columns: readonly (Float64Array | undefined)[], column: number, node: number): number {
    return columns[column]?.[node] ?? 0
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

  /** What a task with these needs takes. */
  takesOf(needs: NeedFacts): Takes {
    return this.#takes.of(needs)
  }

  /** Makes the column in which all requests of a squeezable resource count; from then on it is kept. */
  openShared(column: number): void {
    const shared = sharedColumnOf(column)
    if (shared === undefined || this.free[shared] !== undefined) return
    const total = new Float64Array(this.#length)
    const free = new Float64Array(this.#length)
    this.total[shared] = total
    this.free[shared] = free
    for (let node = 0; node < this.size; node++) this.#shareColumn(node, column)
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

  #shareColumn(node: number, column: number): void {
    const shared = sharedColumnOf(column)
    const total = shared === undefined ? undefined : this.total[shared]
    const free = shared === undefined ? undefined : this.free[shared]
    if (total === undefined || free === undefined) return
    const capacity = this.amount(this.total, column, node)
    total[node] = Math.floor(capacity * this.factorOf(node))
    free[node] = (total[node] ?? 0) - (capacity - this.amount(this.free, column, node))
  }

  #resize(node: number, facts: NodeFacts): void {
    const wanted = new Map(facts.amounts.map(([resource, amount]) => [this.resources.column(resource), amount]))
    for (const column of wanted.keys()) if (this.total[column] === undefined) this.#give(node, column, 0)
    if (facts.bestEffortFactor === 1) this.#factor.delete(node)
    else this.#factor.set(node, facts.bestEffortFactor)
    for (let column = 0; column < this.total.length; column++)
      if (this.total[column] !== undefined && !isShared(column)) this.#setTotal(node, column, wanted.get(column) ?? 0)
    this.gpuMilli += (facts.gpuCount - (this.gpus.get(node)?.free.length ?? 0)) * 1000
    if (facts.gpuCount === 0) this.gpus.delete(node)
    else this.gpus.set(node, { model: facts.gpuModel, free: new Int16Array(facts.gpuCount).fill(1000) })
    if (facts.realtimeCores === 0) this.realtimeCores.delete(node)
    else this.realtimeCores.set(node, facts.realtimeCores)
    this.#measure(node, facts.gpuCount)
    this.#touch(node)
  }

  /** What is taken stays taken. */
  #setTotal(node: number, column: number, amount: number): void {
    const change = amount - this.amount(this.total, column, node)
    this.#shift(node, column, change)
    this.capacity[column] = (this.capacity[column] ?? 0) + change
    const shared = sharedColumnOf(column)
    if (shared === undefined || this.total[shared] === undefined) return
    const all = Math.floor(amount * this.factorOf(node))
    this.#shift(node, shared, all - this.amount(this.total, shared, node))
  }

  #shift(node: number, column: number, change: number): void {
    for (const columns of [this.total, this.free]) {
      const values = columns[column]
      if (values !== undefined) values[node] = (values[node] ?? 0) + change
    }
  }

  /** The scales against which nodes are compared. */
  #measure(node: number, gpuCount: number): void {
    const cpu = this.amount(this.total, cpuColumn, node)
    this.largest.cpu = Math.max(this.largest.cpu, cpu)
    this.largest.gpuMilli = Math.max(this.largest.gpuMilli, gpuCount * 1000)
    this.index.rescale(cpu, this.amount(this.total, memoryColumn, node))
  }

  #cell(kind: NodeKind, node: number): number {
    return this.#splitsEmpty ? kind.cell * 2 + ((this.tasks[node] ?? 0) === 0 ? 1 : 0) : kind.cell
  }

  #give(node: number, column: number, amount: number): void {
    const total = (this.total[column] ??= new Float64Array(this.#length))
    const free = (this.free[column] ??= new Float64Array(this.#length))
    total[node] = amount
    free[node] = amount
    this.capacity[column] = (this.capacity[column] ?? 0) + amount
  }

  #grow(length: number): void {
    this.#length = length
    this.state = new Uint8Array(this.state.buffer.transfer(length))
    this.kind = grownNumbers(this.kind, length)
    this.zone = grownNumbers(this.zone, length)
    this.rack = grownNumbers(this.rack, length)
    this.tasks = grownNumbers(this.tasks, length)
    this.stamp = grownNumbers(this.stamp, length)
    this.firstTask = grownNumbers(this.firstTask, length)
    for (const columns of [this.free, this.total])
      columns.forEach((column, index) => {
        if (column !== undefined) columns[index] = grownFloats(column, length)
      })
    this.free[cpuColumn] ??= new Float64Array(length)
    this.free[memoryColumn] ??= new Float64Array(length)
    this.index.grow(length, this.free[cpuColumn], this.free[memoryColumn])
  }
}
