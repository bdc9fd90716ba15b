/**
 * Who must stop so that a more important task can run: the fewest tasks; among as few, the least important (compared from
 * the most important of them down); then the node that was added first; then those that started last. A set from which one
 * could be left out is never chosen. Only strictly less important tasks are victims, and a gang stops as a whole, so each
 * of its tasks counts.
 *
 * The common case, one victim, is found by walking the priorities from below, and is exact. Larger sets are enumerated on
 * every node, smallest first, where tasks that leave the same are tried once; up to `victimSetsMax` sets for each node, and beyond
 * that the best set seen so far is taken. A node on which more must stop than on the best one so far is passed over without
 * that (victim-counts.ts).
 */
import type { Cluster, Devices } from './cluster.ts'
import type { Fit, Promised } from './fit.ts'
import type { Job } from './job.ts'
import { victimSetsMax } from './limits.ts'
import { freeFor } from './resources.ts'
import { lacksOf, leavesOf, VictimCounts } from './victim-counts.ts'

/** Needs for which it is remembered how many must stop on each node. */
const countsMax = 4

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
  /** What it leaves of each of the amounts that are wanted. */
  readonly leaves: readonly number[]
  /** Units with the same number are as good as one another. */
  readonly kind: number
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

  #counts: VictimCounts[] = []

  constructor(cluster: Cluster, fit: Fit) {
    this.#cluster = cluster
    this.#fit = fit
  }

  /** The best of these nodes (null: of all) and who must stop there; null when stopping others does not help. */
  find(job: Job, only: readonly number[] | null, promised: Promised | null): Preemption | null {
    if (!this.#cluster.importance.hasBelow(job.facts.priority)) return null
    this.#fit.promised = promised
    this.#fit.judge(job, true)
    const known = this.#counts.find((one) => one.isOf(job))
    known?.catchUp()
    if (known === undefined || known.least <= 1) {
      const single = this.#findSingle(job, only)
      if (single !== null) return single
    }
    const counts = known ?? this.#count(job)
    if (counts.least === Infinity) return null
    // Mostly the bound is what it takes; where it is not, everything is looked at.
    const best = this.#findSet(job, only, counts, counts.least) ?? this.#findSet(job, only, counts, Infinity)
    return best === null ? null : { node: best.node, victims: best.units.flatMap(({ tasks }) => tasks) }
  }

  /** The best set of all nodes that costs no more than `costMax`. */
  #findSet(job: Job, only: readonly number[] | null, counts: VictimCounts, costMax: number): Choice | null {
    const lowest = this.#cluster.importance.least
    let best: Choice | null = null
    let most = costMax
    for (let node = counts.next(0, most); node >= 0; node = counts.next(node + 1, most)) {
      if ((only !== null && !only.includes(node)) || !this.#fit.admits(node)) continue
      const choice = this.#bestOn(job, node, most)
      if (choice === null || (best !== null && !better(choice, best))) continue
      best = choice
      // As many as on an earlier node are only better when they are less important.
      most = choice.priorities[0] === lowest ? choice.cost - 1 : choice.cost
    }
    return best
  }

  /** Bounds are counted once one victim was not enough, and then kept for jobs that need as much and are as important. */
  #count(job: Job): VictimCounts {
    const made = new VictimCounts(this.#cluster, job)
    made.catchUp()
    this.#counts = [made, ...this.#counts.slice(0, countsMax - 1)]
    return made
  }

  /** One victim of the lowest priority at which one is enough. */
  #findSingle(job: Job, only: readonly number[] | null): Preemption | null {
    return this.#cluster.importance.find<Preemption>(job.facts.priority, (node, priority) => {
      if ((only !== null && !only.includes(node)) || !this.#fit.admits(node)) return null
      let refused: Set<number> | null = null
      for (;;) {
        const victim = this.#youngest(job, node, priority, refused)
        if (victim < 0) return null
        if (this.#fitsWithout(job, node, [victim])) return { node, victims: [victim] }
        refused ??= new Set()
        refused.add(victim)
      }
    })
  }

  /** Of the tasks of this priority that leave enough on the node when they go, the one that started last; -1: none. */
  #youngest(job: Job, node: number, priority: number, refused: ReadonlySet<number> | null): number {
    const { nodes, tasks } = this.#cluster
    let best = -1
    let known = -1
    let enough = false
    for (let task = nodes.firstTask[node] ?? -1; task >= 0; task = tasks.after(task)) {
      const number = tasks.job[task] ?? -1
      if (number !== known) {
        // Tasks of one job leave the same.
        const victim = this.#cluster.jobs[number]
        enough =
          victim !== undefined &&
          victim.facts.priority === priority &&
          (victim.facts.spec.gang !== true || victim.running === 1) &&
          this.#hasAmounts(job, node, [task])
        known = number
      }
      if (enough && (best < 0 || this.#youngerThan(task, best)) && refused?.has(task) !== true) best = task
    }
    return best
  }

  /** The best set on one node that costs no more than `costMax`. */
  #bestOn(job: Job, node: number, costMax: number): Choice | null {
    const units = this.#unitsOn(job, node)
    const wanted = lacksOf(job.takes, this.#cluster, node)
    const most = wanted.map((_, index) => Math.max(0, ...units.map(({ leaves }) => leaves[index] ?? 0)))
    const found: { best: Choice | null } = { best: null }
    let looked = 0
    const chosen: Unit[] = []
    const limit = (): number => Math.min(costMax, found.best?.cost ?? Infinity)
    const enumerate = (from: number, size: number, cost: number, lacks: readonly number[]): void => {
      if (cost + size > limit() || looked >= victimSetsMax) return
      if (lacks.some((lack, index) => lack > size * (most[index] ?? 0))) return
      if (size > 0) {
        const tried = new Set<number>()
        for (let index = from; index + size <= units.length; index++) {
          const unit = units[index]
          if (unit === undefined || tried.has(unit.kind)) continue
          tried.add(unit.kind)
          chosen.push(unit)
          const left = lacks.map((lack, wantedIndex) => lack - (unit.leaves[wantedIndex] ?? 0))
          enumerate(index + 1, size - 1, cost + unit.cost, left)
          chosen.pop()
        }
        return
      }
      looked++
      const choice: Choice = { node, units: [...chosen], cost, priorities: prioritiesOf(chosen) }
      if (found.best !== null && !better(choice, found.best)) return
      const victims = chosen.flatMap(({ tasks }) => tasks)
      if (this.#fitsWithout(job, node, victims)) found.best = choice
    }
    for (let size = 1; size <= units.length && size <= limit() && looked < victimSetsMax; size++)
      enumerate(0, size, 0, wanted)
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
    const { gpuCount, cpuTime } = job.facts.needs
    const gangs = new Map<Job, number[]>()
    const kinds = new Map<unknown, number>()
    const units: Unit[] = []
    const add = (victim: Job, tasks: readonly number[], cost: number, likeness: unknown): void => {
      const kind = kinds.get(likeness) ?? kinds.size
      kinds.set(likeness, kind)
      units.push({
        tasks,
        cost,
        priority: victim.facts.priority,
        leaves: leavesOf(job.takes, victim, tasks.length),
        kind,
      })
    }
    for (const task of this.#cluster.tasks.on(this.#cluster.nodes, node)) {
      const victim = this.#cluster.jobOf(task)
      if (victim === undefined || victim.facts.priority >= job.facts.priority) continue
      // Tasks of one job differ in their GPUs and cores only.
      if (victim.facts.spec.gang !== true)
        add(victim, [task], 1, gpuCount === 0 && cpuTime === null ? victim : units.length)
      else gangs.set(victim, [...(gangs.get(victim) ?? []), task])
    }
    for (const [gang, tasks] of gangs) add(gang, tasks, gang.running, gang)
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
    if (
      this.#freed(0, node, victims) < freeFor(job.takes.cpu) ||
      this.#freed(1, node, victims) < freeFor(job.takes.memory)
    )
      return false
    for (let index = 0; index < job.takes.checkedColumns.length; index++)
      if (this.#freed(job.takes.checkedColumns[index] ?? 0, node, victims) < (job.takes.checkedAmounts[index] ?? 0))
        return false
    return true
  }

  /** What would be free of a column without the victims. */
  #freed(column: number, node: number, victims: readonly number[]): number {
    let sum = this.#cluster.nodes.free[column]?.[node] ?? 0
    for (const task of victims) {
      const victim = this.#cluster.jobOf(task)
      if (victim === undefined) continue
      for (let index = 0; index < victim.takes.columns.length; index++)
        if (victim.takes.columns[index] === column) sum += victim.takes.amounts[index] ?? 0
    }
    return sum
  }

  /** Tries it, where amounts are enough: takes the victims away, asks every rule, and puts them back. */
  #fitsWithout(job: Job, node: number, victims: readonly number[]): boolean {
    if (this.#fit.byAmountsAlone) return true
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
