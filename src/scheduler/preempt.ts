/**
 * Who must stop so that a more important task can run: the fewest tasks; among as few, the least important (compared from
 * the most important of them down); then the node that was added first; then those that started last. A set from which one
 * could be left out is never chosen. Only strictly less important tasks are victims, and a gang stops as a whole, so each
 * of its tasks counts.
 *
 * The common case, one victim, is found by walking the priorities from below, and is exact. Larger sets are enumerated on
 * every node, smallest first, up to `victimSetsMax` sets for each node; beyond that the best set seen so far is taken.
 */
import type { Cluster, Devices } from './cluster.ts'
import type { Fit, Promised } from './fit.ts'
import type { Job } from './job.ts'
import { freeFor } from './resources.ts'
import { victimSetsMax } from './limits.ts'

export interface Preemption {
  readonly node: number
  /** Numbers of tasks on that node. A gang among them stops everywhere. */
  readonly victims: readonly number[]
}

/** What stops together on a node. */
interface Unit {
  readonly tasks: readonly number[]
  /** How many tasks stop, on all nodes. */
  readonly cost: number
  readonly priority: number
}

interface Choice {
  readonly node: number
  readonly units: readonly Unit[]
  readonly cost: number
  /** From the most important down. */
  readonly priorities: readonly number[]
}

interface Taken {
  readonly job: Job
  readonly position: number
  readonly node: number
  readonly startedMs: number
  readonly devices: Devices
}

/** Takes tasks off their node for a try. */
function takeAway(cluster: Cluster, tasks: readonly number[]): Taken[] {
  return tasks.flatMap((task) => {
    const job = cluster.jobOf(task)
    if (job === undefined) return []
    const taken: Taken = {
      job,
      position: cluster.tasks.position[task] ?? 0,
      node: cluster.tasks.node[task] ?? -1,
      startedMs: cluster.tasks.startedMs[task] ?? 0,
      devices: { gpus: cluster.tasks.gpus.get(task), core: cluster.tasks.core.get(task) },
    }
    cluster.take(job, task)
    return [taken]
  })
}

/** Puts them back; in reverse, so that each gets the number back that it had. */
function putBack(cluster: Cluster, taken: readonly Taken[]): void {
  for (const { job, position, node, startedMs, devices } of taken.toReversed())
    cluster.put(job, position, node, startedMs, devices)
}

export class Preemptor {
  readonly #cluster: Cluster
  readonly #fit: Fit

  constructor(cluster: Cluster, fit: Fit) {
    this.#cluster = cluster
    this.#fit = fit
  }

  /** The best of these nodes (null: of all) and who must stop there; null when stopping others does not help. */
  find(job: Job, only: ReadonlySet<number> | null, promised: Promised | null): Preemption | null {
    const { importance } = this.#cluster
    const priorities = importance.below(job.facts.priority)
    if (priorities.length === 0) return null
    this.#fit.promised = promised
    const single = this.#findSingle(job, only, priorities)
    if (single !== null) return single
    let best: Choice | null = null
    const seen = new Set<number>()
    for (const priority of priorities)
      importance.find(priority, (node) => {
        if (only === null || only.has(node)) seen.add(node)
        return null
      })
    for (const node of [...seen].sort((a, b) => a - b)) {
      const choice = this.#bestOn(job, node, best)
      if (choice !== null && (best === null || better(choice, best))) best = choice
    }
    return best === null ? null : { node: best.node, victims: best.units.flatMap(({ tasks }) => tasks) }
  }

  /** One victim of the lowest priority at which one is enough. */
  #findSingle(job: Job, only: ReadonlySet<number> | null, priorities: readonly number[]): Preemption | null {
    const { importance } = this.#cluster
    for (const priority of priorities) {
      const found = importance.find<Preemption>(priority, (node) => {
        if (only !== null && !only.has(node)) return null
        const refused = new Set<number>()
        for (;;) {
          const victim = this.#youngest(job, node, priority, refused)
          if (victim < 0) return null
          if (this.#fitsWithout(job, node, [victim])) return { node, victims: [victim] }
          refused.add(victim)
        }
      })
      if (found !== null) return found
    }
    return null
  }

  /** Of the tasks of this priority that leave enough on the node when they go, the one that started last; -1: none. */
  #youngest(job: Job, node: number, priority: number, refused: ReadonlySet<number>): number {
    const { nodes, tasks } = this.#cluster
    let best = -1
    let known: Job | undefined
    let enough = false
    for (let task = nodes.firstTask[node] ?? -1; task >= 0; task = tasks.after(task)) {
      const victim = this.#cluster.jobOf(task)
      if (victim === undefined || victim.facts.priority !== priority) continue
      if (victim.facts.spec.gang === true && victim.running > 1) continue
      // Tasks of one job leave the same.
      if (victim !== known) enough = this.#hasAmounts(job, node, [task])
      known = victim
      if (enough && (best < 0 || this.#youngerThan(task, best)) && !refused.has(task)) best = task
    }
    return best
  }

  /** The best set on one node, if it is better than what another node offers. */
  #bestOn(job: Job, node: number, known: Choice | null): Choice | null {
    const units = this.#unitsOn(job, node)
    if (
      units.length === 0 ||
      !this.#hasAmounts(
        job,
        node,
        units.flatMap(({ tasks }) => tasks),
      )
    )
      return null
    const found: { best: Choice | null } = { best: null }
    let looked = 0
    const chosen: Unit[] = []
    const costMax = (): number => Math.min(found.best?.cost ?? Infinity, known?.cost ?? Infinity)
    const enumerate = (from: number, size: number, cost: number): void => {
      if (cost + size > costMax() || looked >= victimSetsMax) return
      if (size > 0) {
        for (let index = from; index + size <= units.length; index++) {
          const unit = units[index]
          if (unit === undefined) continue
          chosen.push(unit)
          enumerate(index + 1, size - 1, cost + unit.cost)
          chosen.pop()
        }
        return
      }
      looked++
      const choice: Choice = { node, units: [...chosen], cost, priorities: prioritiesOf(chosen) }
      if (found.best !== null && !better(choice, found.best)) return
      const victims = chosen.flatMap(({ tasks }) => tasks)
      if (this.#hasAmounts(job, node, victims) && this.#fitsWithout(job, node, victims)) found.best = choice
    }
    for (let size = 1; size <= units.length && size <= costMax() && looked < victimSetsMax; size++)
      enumerate(0, size, 0)
    return found.best ?? (looked >= victimSetsMax ? this.#greedyOn(job, node, units) : null)
  }

  /** Without the time to look at all sets: the least important ones until it fits, and then each that was not needed stays. */
  #greedyOn(job: Job, node: number, units: readonly Unit[]): Choice | null {
    let chosen = [...units]
    const victims = (): number[] => chosen.flatMap(({ tasks }) => tasks)
    if (!this.#fitsWithout(job, node, victims())) return null
    for (const unit of units.toReversed()) {
      const kept = chosen
      chosen = chosen.filter((other) => other !== unit)
      if (!this.#hasAmounts(job, node, victims()) || !this.#fitsWithout(job, node, victims())) chosen = kept
    }
    return {
      node,
      units: chosen,
      cost: chosen.reduce((sum, { cost }) => sum + cost, 0),
      priorities: prioritiesOf(chosen),
    }
  }

  /** What could stop on a node, the least important first, then the ones that started last. */
  #unitsOn(job: Job, node: number): Unit[] {
    const gangs = new Map<Job, number[]>()
    const units: Unit[] = []
    for (const task of this.#cluster.tasks.on(this.#cluster.nodes, node)) {
      const victim = this.#cluster.jobOf(task)
      if (victim === undefined || victim.facts.priority >= job.facts.priority) continue
      if (victim.facts.spec.gang !== true) units.push({ tasks: [task], cost: 1, priority: victim.facts.priority })
      else gangs.set(victim, [...(gangs.get(victim) ?? []), task])
    }
    for (const [gang, tasks] of gangs) units.push({ tasks, cost: gang.running, priority: gang.facts.priority })
    return units.sort(
      (a, b) => a.priority - b.priority || (this.#youngerThan(a.tasks[0] ?? 0, b.tasks[0] ?? 0) ? -1 : 1),
    )
  }

  /** Whether a task started after another; of those that started together the one that was submitted last. */
  #youngerThan(task: number, other: number): boolean {
    const { tasks } = this.#cluster
    const later = (tasks.startedMs[task] ?? 0) - (tasks.startedMs[other] ?? 0)
    if (later !== 0) return later > 0
    const sequence = (this.#cluster.jobOf(task)?.sequence ?? 0) - (this.#cluster.jobOf(other)?.sequence ?? 0)
    return sequence === 0 ? (tasks.position[task] ?? 0) > (tasks.position[other] ?? 0) : sequence > 0
  }

  /** Whether there would be enough of every amount; cheap, and necessary. */
  #hasAmounts(job: Job, node: number, victims: readonly number[]): boolean {
    const { nodes } = this.#cluster
    const freed = (column: number): number => {
      let sum = nodes.free[column]?.[node] ?? 0
      for (const task of victims) {
        const victim = this.#cluster.jobOf(task)
        if (victim === undefined) continue
        for (let index = 0; index < victim.columns.length; index++)
          if (victim.columns[index] === column) sum += victim.amounts[index] ?? 0
      }
      return sum
    }
    if (freed(0) < freeFor(job.cpu) || freed(1) < freeFor(job.memory)) return false
    for (let index = 0; index < job.checkedColumns.length; index++)
      if (freed(job.checkedColumns[index] ?? 0) < (job.checkedAmounts[index] ?? 0)) return false
    return true
  }

  /** Tries it: takes the victims away, asks every rule, and puts them back. */
  #fitsWithout(job: Job, node: number, victims: readonly number[]): boolean {
    const single = victims.length === 1 && this.#cluster.jobOf(victims[0] ?? -1)?.facts.spec.gang !== true
    const taken = takeAway(this.#cluster, single ? victims : this.#withGangs(victims))
    this.#fit.judge(job, true)
    const fits = this.#fit.fitsWhole(node)
    putBack(this.#cluster, taken)
    return fits
  }

  /** Gangs among the victims stop as a whole. */
  #withGangs(victims: readonly number[]): number[] {
    const all = new Set(victims)
    for (const task of victims) {
      const victim = this.#cluster.jobOf(task)
      if (victim?.facts.spec.gang === true) for (const other of victim.tasks) if (other >= 0) all.add(other)
    }
    return [...all]
  }
}

/** One entry for each task that stops, from the most important down. */
function prioritiesOf(units: readonly Unit[]): number[] {
  return units.flatMap(({ cost, priority }) => Array.from({ length: cost }, () => priority)).sort((a, b) => b - a)
}

function better(a: Choice, b: Choice): boolean {
  if (a.cost !== b.cost) return a.cost < b.cost
  for (let index = 0; index < a.priorities.length && index < b.priorities.length; index++) {
    const difference = (a.priorities[index] ?? 0) - (b.priorities[index] ?? 0)
    if (difference !== 0) return difference < 0
  }
  return a.node < b.node
}
