/**
 * What will be free when: for each node the running tasks until their time limits, and what was promised to jobs that
 * wait. Answers when so many tasks of a job can start at the earliest, and whether a task may start now without touching
 * what was promised.
 *
 * Counted are amounts, GPUs (as a sum of thousandths), kinds of nodes, one task per node, and reservations. Rules about
 * other tasks (affinity, spread) are not: where others will be then is not known. Kept: times of a node's steps ascend.
 */
import type { Cluster } from './cluster.ts'
import type { Promised } from './fit.ts'
import type { Job } from './job.ts'
import { open } from './nodes.ts'

/** GPUs have no column of their own; here they count as one. */
const gpuColumn = -1

/** The job holds `tasks` times its needs on the node from `fromMs` on. */
interface Hold {
  readonly job: Job
  readonly tasks: number
  readonly fromMs: number
  readonly untilMs: number
}

export interface Plan {
  readonly startMs: number
  /** Tasks by node. */
  readonly nodes: ReadonlyMap<number, number>
}

export class Timeline implements Promised {
  readonly #cluster: Cluster
  readonly #holds = new Map<number, Hold[]>()
  readonly #ends = new Set<number>()

  /** Starts with what runs. */
  constructor(cluster: Cluster) {
    this.#cluster = cluster
    const { tasks } = cluster
    for (const job of cluster.jobs)
      for (const task of job?.tasks ?? [])
        if (job && task >= 0) this.started(job, tasks.node[task] ?? -1, tasks.startedMs[task] ?? 0)
  }

  /** A task runs from now on. */
  started(job: Job, node: number, startedMs: number): void {
    this.#add(node, { job, tasks: 1, fromMs: startedMs, untilMs: startedMs + job.facts.timeLimitMs })
  }

  /** A task has stopped. */
  stopped(job: Job, node: number): void {
    const holds = this.#holds.get(node) ?? []
    const index = holds.findIndex((hold) => hold.job === job && hold.fromMs <= this.#cluster.nowMs)
    if (index >= 0) holds.splice(index, 1)
  }

  promise(job: Job, plan: Plan): void {
    for (const [node, tasks] of plan.nodes)
      this.#add(node, { job, tasks, fromMs: plan.startMs, untilMs: plan.startMs + job.facts.timeLimitMs })
  }

  takeBack(job: Job, plan: Plan): void {
    for (const node of plan.nodes.keys()) {
      const holds = this.#holds.get(node) ?? []
      const index = holds.findIndex((hold) => hold.job === job && hold.fromMs === plan.startMs)
      if (index >= 0) holds.splice(index, 1)
    }
  }

  allows(job: Job, node: number): boolean {
    const { nowMs } = this.#cluster
    return this.#room(job, node, nowMs, nowMs + job.facts.timeLimitMs) >= 1
  }

  /**
   * The earliest start of so many tasks at once; null when no time is known at which they fit. Starts are looked for where
   * something ends, and at `promisedMs`, which was found when other things ended.
   */
  earliest(job: Job, tasks: number, promisedMs: number | undefined): Plan | null {
    const { nowMs, nodes } = this.#cluster
    const candidates: number[] = []
    for (let node = 0; node < nodes.size; node++)
      if (nodes.state[node] === open && nodes.kinds.accepts(job.filter, nodes.kind[node] ?? -1)) candidates.push(node)
    const later = [...this.#ends, promisedMs ?? nowMs].filter((atMs) => atMs > nowMs && atMs !== Infinity)
    const starts = [nowMs, ...later.sort((a, b) => a - b)]
    for (const startMs of starts) {
      const plan = new Map<number, number>()
      let left = tasks
      for (const node of candidates) {
        const room = Math.min(left, this.#room(job, node, startMs, startMs + job.facts.timeLimitMs))
        if (room <= 0) continue
        plan.set(node, room)
        left -= room
        if (left === 0) return { startMs, nodes: plan }
      }
    }
    return null
  }

  #add(node: number, hold: Hold): void {
    const holds = this.#holds.get(node)
    if (holds === undefined) this.#holds.set(node, [hold])
    else holds.push(hold)
    this.#ends.add(hold.untilMs)
  }

  /** How many tasks of the job the node holds during the whole of a time. */
  #room(job: Job, node: number, fromMs: number, untilMs: number): number {
    if (this.#reserved(job, node, fromMs, untilMs)) return 0
    const holds = (this.#holds.get(node) ?? []).filter((hold) => hold.fromMs < untilMs && hold.untilMs > fromMs)
    const { nodes } = this.#cluster
    let room = job.facts.spec.onePerNode === true ? 1 : Infinity
    for (const [column, amount] of checkedOf(job)) {
      const total = column === gpuColumn ? (nodes.gpus.get(node)?.free.length ?? 0) * 1000 : nodes.totalOf(column, node)
      room = Math.min(room, Math.floor((total - mostHeld(holds, column, fromMs, untilMs)) / amount))
      if (room <= 0) return 0
    }
    return room
  }

  #reserved(job: Job, node: number, fromMs: number, untilMs: number): boolean {
    const name = this.#cluster.nodes.nameOf(node)
    return (this.#cluster.reserved.get(name) ?? []).some(
      (reservation) =>
        reservation.name !== job.facts.spec.reservation && reservation.fromMs < untilMs && reservation.untilMs > fromMs,
    )
  }
}

/** The most that is held at once during a time: what is held when it begins, and then every begin and end in turn. */
function mostHeld(holds: readonly Hold[], column: number, fromMs: number, untilMs: number): number {
  let held = 0
  const changes: { readonly atMs: number; readonly change: number }[] = []
  for (const hold of holds) {
    const amount = hold.tasks * amountOf(hold.job, column)
    if (amount === 0) continue
    if (hold.fromMs <= fromMs) held += amount
    else changes.push({ atMs: hold.fromMs, change: amount })
    if (hold.untilMs < untilMs) changes.push({ atMs: hold.untilMs, change: -amount })
  }
  let most = held
  // What ends makes room for what begins at the same time.
  changes.sort((a, b) => a.atMs - b.atMs || a.change - b.change)
  for (const { change } of changes) {
    held += change
    most = Math.max(most, held)
  }
  return most
}

/** The columns that limit a job, with what one task needs. */
function checkedOf(job: Job): [number, number][] {
  const checked: [number, number][] = []
  if (job.takes.cpu > 0) checked.push([0, job.takes.cpu])
  if (job.takes.memory > 0) checked.push([1, job.takes.memory])
  job.takes.checkedColumns.forEach((column, index) => checked.push([column, job.takes.checkedAmounts[index] ?? 0]))
  const { gpuCount, gpuMilli } = job.facts.needs
  if (gpuCount > 0) checked.push([gpuColumn, gpuCount * gpuMilli])
  return checked
}

function amountOf(job: Job, column: number): number {
  if (column === gpuColumn) return job.facts.needs.gpuCount * job.facts.needs.gpuMilli
  const index = job.takes.columns.indexOf(column)
  return index < 0 ? 0 : (job.takes.amounts[index] ?? 0)
}
