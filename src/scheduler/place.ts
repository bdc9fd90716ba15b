/**
 * Finds the node for a task. Where the candidates are few and known (near its data, beside a certain task) they are
 * compared one by one; otherwise the bucket index is asked. The same state gives the same node.
 */
import type { Cluster } from './cluster.ts'
import { Fit, zoneAllowed, type Promised } from './fit.ts'
import type { Job } from './job.ts'
import { freeFor } from './resources.ts'

/** Beyond so many tasks in a group its nodes are found through the index, not by walking through its tasks. */
const walkedMax = 256

/** How a policy finds a node among all those that fit. */
export type Strategy =
  /** The node with the least room left. */
  | { readonly kind: 'tight' }
  /** The node with the most room left. */
  | { readonly kind: 'loose' }
  /** A node in use with the least room left; else the cheapest empty one. */
  | { readonly kind: 'cheap' }
  /** The node with the highest score, of equal ones the first in the order of the scorer; all are looked at. */
  | { readonly kind: 'scored'; readonly scorer: Scorer }

/** Gives a node for a job by looking at all of them; -1 when none fits. */
export interface Scorer {
  best(job: Job, fit: Fit): number
  /** The GPUs of the node that go with its score, as bits. */
  gpusFor(job: Job, node: number): number
  /** Tasks were submitted. */
  learn(job: Job, count: number): void
}

export class Placer {
  readonly #cluster: Cluster
  readonly #strategy: Strategy
  readonly fit: Fit
  #cells: Int32Array = new Int32Array(64)
  #split: Int32Array = new Int32Array(64)

  constructor(cluster: Cluster, strategy: Strategy) {
    this.#cluster = cluster
    this.#strategy = strategy
    this.fit = new Fit(cluster)
    if (strategy.kind === 'scored') cluster.pickGpus = (job, node) => strategy.scorer.gpusFor(job, node)
  }

  /** A job was submitted. */
  learn(job: Job): void {
    if (this.#strategy.kind === 'scored') this.#strategy.scorer.learn(job, job.count)
  }

  /** A node for one more task of the job; -1 when there is none. */
  find(job: Job, promised: Promised | null): number {
    this.#cluster.others.refresh(job)
    this.fit.promised = promised
    const { near } = job.facts.spec
    if (near !== undefined) {
      const numbers = near.nodes.map((name) => this.#cluster.nodes.number(name) ?? -1).filter((node) => node >= 0)
      this.fit.judge(job, true)
      const first = numbers.find((node) => this.fit.fitsWhole(node))
      if (first !== undefined) return first
      if (near.required) return -1
    }
    const known = this.#knownCandidates(job)
    if (known !== null) return this.findAmong(job, known, promised)
    if (this.#strategy.kind === 'scored') {
      this.fit.judge(job, true)
      return this.#strategy.scorer.best(job, this.fit)
    }
    this.fit.judge(job, false)
    return this.#ask(job)
  }

  /** The best of these nodes for the job; -1 when none fits. */
  findAmong(job: Job, candidates: Iterable<number>, promised: Promised | null): number {
    this.#cluster.others.refresh(job)
    this.fit.promised = promised
    this.fit.judge(job, true)
    const { index } = this.#cluster.nodes
    const sign = this.#strategy.kind === 'loose' ? -1 : 1
    let best = -1
    let bestRoom = Infinity
    for (const node of candidates) {
      const room = sign * index.roomOf(node)
      if (room > bestRoom || (room === bestRoom && node >= best) || !this.fit.fitsWhole(node)) continue
      best = node
      bestRoom = room
    }
    return best
  }

  /** The only nodes that can be, where an affinity names few; null when it does not. */
  #knownCandidates(job: Job): Set<number> | null {
    for (const { group, level, own } of job.together) {
      if (level === 'zone' || (own && group.total === 0) || group.total > walkedMax) continue
      const nodes = new Set<number>()
      for (const member of this.#cluster.groups.membersOf(group.key))
        this.#cluster.groups.eachNode(member, (node) => nodes.add(node))
      if (level === 'node') return nodes
      const racks = new Set([...nodes].map((node) => this.#cluster.nodes.rack[node] ?? 0))
      return new Set(
        [...racks].flatMap((rack) => (this.#cluster.nodes.size > 0 ? this.#cluster.nodesOfRack(rack) : [])),
      )
    }
    return null
  }

  #ask(job: Job): number {
    const { nodes } = this.#cluster
    const count = this.#allowedCells(job)
    switch (this.#strategy.kind) {
      case 'loose':
        return nodes.index.findLoose(this.#cells, count, freeFor(job.takes.cpu), freeFor(job.takes.memory), this.fit)
      case 'cheap':
        return this.#askCheap(job, count)
      case 'tight':
      case 'scored':
        return nodes.index.findTight(this.#cells, count, freeFor(job.takes.cpu), freeFor(job.takes.memory), this.fit)
    }
  }

  /** Writes the cells of accepted kinds in allowed zones to `#cells`; returns how many. */
  #allowedCells(job: Job): number {
    const { kinds } = this.#cluster.nodes
    const cells = kinds.cellsOf(job.filter)
    if (this.#cells.length < cells.length) {
      this.#cells = new Int32Array(cells.length * 2)
      this.#split = new Int32Array(cells.length * 2)
    }
    if (!job.ruledZones) {
      this.#cells.set(cells)
      return cells.length
    }
    let count = 0
    let zone = -1
    let allowed = false
    for (let index = 0; index < cells.length; index++) {
      const cell = cells[index] ?? 0
      const zoneOfCell = kinds.zoneOfCell[cell] ?? 0
      if (zoneOfCell !== zone) {
        zone = zoneOfCell
        allowed = zoneAllowed(this.#cluster, job, zone)
      }
      if (allowed) this.#cells[count++] = cell
    }
    return count
  }

  #askCheap(job: Job, count: number): number {
    const { nodes } = this.#cluster
    const { index, kinds } = nodes
    for (let cell = 0; cell < count; cell++) this.#split[cell] = (this.#cells[cell] ?? 0) * 2
    const used = index.findTight(this.#split, count, freeFor(job.takes.cpu), freeFor(job.takes.memory), this.fit)
    if (used >= 0) return used
    const prices = new Map<number, number[]>()
    const allowed = new Set(this.#cells.subarray(0, count))
    for (const kind of kinds.all)
      if (kind.nodes > 0 && allowed.has(kind.cell)) {
        const cells = prices.get(kind.pricePerHour) ?? []
        prices.set(kind.pricePerHour, cells)
        if (!cells.includes(kind.cell)) cells.push(kind.cell)
      }
    for (const [, cells] of [...prices].sort(([a], [b]) => a - b)) {
      const empty = Int32Array.from(cells, (cell) => cell * 2 + 1)
      const node = index.findTight(empty, empty.length, freeFor(job.takes.cpu), freeFor(job.takes.memory), this.fit)
      if (node >= 0) return node
    }
    return -1
  }
}
