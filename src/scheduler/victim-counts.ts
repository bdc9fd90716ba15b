/**
 * How many tasks must stop at least on each node so that there is enough of every amount for one more task of certain needs:
 * a bound from below, by which the search for victims passes over most nodes without a look at them. The counts are the leaves
 * of a tree of minima. Kept: after `catchUp` every count is that of now; it costs what has changed since the last time.
 */
import type { Cluster } from './cluster.ts'
import type { Job } from './job.ts'
import type { KindFilter } from './kinds.ts'
import { open } from './nodes.ts'
import { cpuColumn, freeFor, memoryColumn } from './resources.ts'
import type { Takes } from './takes.ts'

/** Of a node that is not for such a job, or has not enough of something when all less important tasks stop. */
const never = 2 ** 16 - 1

export class VictimCounts {
  readonly takes: Takes
  readonly filter: KindFilter
  readonly priority: number
  readonly #cluster: Cluster
  /** Of node n at `#width + n`; above it the lesser of every two. */
  #tree: Uint16Array = new Uint16Array(0)
  #width = 0
  /** The state of the nodes that the counts are of: see Nodes. */
  #version = -1
  #changes = 0

  constructor(cluster: Cluster, { takes, filter, facts }: Job) {
    this.#cluster = cluster
    this.takes = takes
    this.filter = filter
    this.priority = facts.priority
  }

  isOf({ takes, filter, facts }: Job): boolean {
    return takes === this.takes && filter === this.filter && facts.priority === this.priority
  }

  catchUp(): void {
    const { nodes } = this.#cluster
    if (this.#version !== nodes.version || !nodes.eachChanged(this.#changes, (node) => this.#put(node))) this.#rebuild()
    this.#version = nodes.version
    this.#changes = nodes.changes
  }

  /** Fewer are not enough on any node; Infinity: no number of them is. */
  get least(): number {
    const least = this.#tree[1] ?? never
    return least === never ? Infinity : least
  }

  /** The first node from `from` on where so few may be enough; -1: there is none. */
  next(from: number, count: number): number {
    const most = Math.min(count, never - 1)
    if (from >= this.#width) return -1
    let at = this.#width + from
    while ((this.#tree[at] ?? never) > most) {
      // Up while this is a right half, then over to the next one.
      while ((at & 1) === 1) at >>= 1
      if (at === 0) return -1
      at++
    }
    while (at < this.#width) at = (this.#tree[at * 2] ?? never) <= most ? at * 2 : at * 2 + 1
    return at - this.#width
  }

  #rebuild(): void {
    const { size } = this.#cluster.nodes
    if (this.#width < size || this.#width === 0) {
      this.#width = Math.max(1, this.#width)
      while (this.#width < size) this.#width *= 2
      this.#tree = new Uint16Array(this.#width * 2)
    }
    this.#tree.fill(never)
    for (let node = 0; node < size; node++) this.#tree[this.#width + node] = this.#count(node)
    for (let at = this.#width - 1; at > 0; at--) this.#tree[at] = this.#lesser(at)
  }

  #put(node: number): void {
    let at = this.#width + node
    this.#tree[at] = this.#count(node)
    for (at >>= 1; at > 0; at >>= 1) {
      const lesser = this.#lesser(at)
      if (this.#tree[at] === lesser) return
      this.#tree[at] = lesser
    }
  }

  #lesser(at: number): number {
    return Math.min(this.#tree[at * 2] ?? never, this.#tree[at * 2 + 1] ?? never)
  }

  #count(node: number): number {
    const { nodes, tasks, jobs } = this.#cluster
    if (nodes.state[node] !== open || !nodes.kinds.accepts(this.filter, nodes.kind[node] ?? -1)) return never
    const lacks = lacksOf(this.takes, this.#cluster, node)
    const most = lacks.map(() => 0)
    const all = lacks.map(() => 0)
    let known = -1
    let leaves: readonly number[] = []
    for (let task = nodes.firstTask[node] ?? -1; task >= 0; task = tasks.after(task)) {
      const number = tasks.job[task] ?? -1
      if (number !== known) {
        const victim = jobs[number]
        leaves = victim === undefined || victim.facts.priority >= this.priority ? [] : leavesOf(this.takes, victim, 1)
        known = number
      }
      for (let index = 0; index < leaves.length; index++) {
        most[index] = Math.max(most[index] ?? 0, leaves[index] ?? 0)
        all[index] = (all[index] ?? 0) + (leaves[index] ?? 0)
      }
    }
    let count = 0
    for (let index = 0; index < lacks.length; index++) {
      const lack = lacks[index] ?? 0
      if (lack > (all[index] ?? 0)) return never
      if (lack > 0) count = Math.max(count, Math.ceil(lack / (most[index] ?? 1)))
    }
    return Math.min(count, never - 1)
  }
}

/** How much of each amount is not free on the node; 0 or less: enough. */
export function lacksOf(takes: Takes, { nodes: { free } }: Cluster, node: number): number[] {
  const { cpu, memory, checkedColumns, checkedAmounts } = takes
  const lack = (column: number, needed: number): number => needed - (free[column]?.[node] ?? 0)
  return [
    lack(cpuColumn, freeFor(cpu)),
    lack(memoryColumn, freeFor(memory)),
    ...checkedColumns.map((column, index) => lack(column, checkedAmounts[index] ?? 0)),
  ]
}

/** What so many tasks of a job leave of each amount that is needed. */
export function leavesOf({ checkedColumns }: Takes, victim: Job, count: number): number[] {
  const { columns, amounts } = victim.takes
  const leaves = (column: number): number => count * (amounts[columns.indexOf(column)] ?? 0)
  return [leaves(cpuColumn), leaves(memoryColumn), ...checkedColumns.map(leaves)]
}
