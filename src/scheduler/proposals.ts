/**
 * Moves that would make things better, as proposals: nothing is moved here, and a service is never interrupted because an index
 * would like it. First those that break a rule where they are now (labels, taints or neighbours have changed), then those that
 * would empty a little used node.
 *
 * Kept: never more than `movesMax`; the moves are possible one after another in the order given; a node is only proposed
 * to be emptied when everything on it finds a place elsewhere. The cluster is afterwards as it was.
 */
import type { Cluster, Devices } from './cluster.ts'
import type { Job } from './job.ts'
import { open } from './nodes.ts'
import type { Placer } from './place.ts'
import { taskName } from './tasks.ts'

export interface Move {
  readonly task: string
  readonly from: string
  /** Null: it should go, and there is no place for it now. */
  readonly to: string | null
  readonly reason: string
}

/** Tasks that are asked whether they still fit where they are. */
const askedMax = 100_000
/** Little used nodes that are tried. */
const emptiedMax = 100

interface Tried {
  readonly job: Job
  readonly position: number
  readonly from: number
  readonly startedMs: number
  readonly devices: Devices
}

class Trial {
  readonly #cluster: Cluster
  readonly #tried: Tried[] = []

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  get length(): number {
    return this.#tried.length
  }

  /** Takes a task off its node. */
  take(job: Job, task: number): Tried {
    const { tasks } = this.#cluster
    const tried: Tried = {
      job,
      position: tasks.position[task] ?? 0,
      from: tasks.node[task] ?? -1,
      startedMs: tasks.startedMs[task] ?? 0,
      devices: { gpus: tasks.gpus.get(task), core: tasks.core.get(task) },
    }
    this.#cluster.take(job, task)
    this.#tried.push(tried)
    return tried
  }

  put({ job, position, startedMs }: Tried, node: number): void {
    this.#cluster.put(job, position, node, startedMs)
  }

  /** Back to where things stood after so many steps. */
  backTo(length: number): void {
    while (this.#tried.length > length) {
      const tried = this.#tried.pop()
      if (tried === undefined) return
      const { job, position, from, startedMs, devices } = tried
      const task = job.tasks[position] ?? -1
      if (task >= 0) this.#cluster.take(job, task)
      this.#cluster.put(job, position, from, startedMs, devices)
    }
  }
}

/** At most `movesMax` moves. */
export function proposeMoves(cluster: Cluster, placer: Placer, movesMax: number): Move[] {
  const trial = new Trial(cluster)
  const moves = rulesFirst(cluster, placer, trial, movesMax)
  moves.push(...emptied(cluster, placer, trial, movesMax - moves.length))
  trial.backTo(0)
  return moves
}

function rulesFirst(cluster: Cluster, placer: Placer, trial: Trial, movesMax: number): Move[] {
  const moves: Move[] = []
  let asked = 0
  for (const job of cluster.jobs) {
    if (job === undefined || job.facts.spec.gang === true) continue
    cluster.others.refresh(job)
    for (const task of job.tasks) {
      const node = task < 0 ? -1 : (cluster.tasks.node[task] ?? -1)
      if (node < 0 || cluster.nodes.state[node] !== open) continue
      if (moves.length >= movesMax || ++asked > askedMax) return moves
      const before = trial.length
      const tried = trial.take(job, task)
      placer.fit.promised = null
      placer.fit.judge(job, true)
      if (placer.fit.fitsWhole(node)) {
        trial.backTo(before)
        continue
      }
      const to = placer.find(job, null)
      moves.push(moveOf(cluster, tried, to, 'breaks a rule where it is'))
      if (to >= 0) trial.put(tried, to)
      else trial.backTo(before)
    }
  }
  return moves
}

/** Nodes with the fewest tasks first; only what is alone on little used nodes is worth a move. */
function emptied(cluster: Cluster, placer: Placer, trial: Trial, movesMax: number): Move[] {
  const { nodes, tasks } = cluster
  const used: number[] = []
  for (let node = 0; node < nodes.size; node++)
    if (nodes.state[node] === open && (nodes.tasks[node] ?? 0) > 0 && usedShare(cluster, node) < 0.5) used.push(node)
  used.sort(
    (a, b) => (nodes.tasks[a] ?? 0) - (nodes.tasks[b] ?? 0) || usedShare(cluster, a) - usedShare(cluster, b) || a - b,
  )
  const moves: Move[] = []
  const targets = new Set<number>()
  for (const node of used.slice(0, emptiedMax)) {
    const own = tasks.on(nodes, node)
    if (moves.length + own.length > movesMax || targets.has(node)) continue
    const before = trial.length
    const found: Move[] = []
    const to: number[] = []
    for (const task of own) {
      const job = cluster.jobOf(task)
      if (job === undefined || job.facts.spec.gang === true) break
      const tried = trial.take(job, task)
      // Only nodes that are in use anyway, and not the one that is to be emptied.
      const others = used.concat(full(cluster)).filter((other) => other !== node && (nodes.tasks[other] ?? 0) > 0)
      const target = placer.findAmong(job, new Set(others), null)
      if (target < 0) break
      trial.put(tried, target)
      to.push(target)
      found.push(moveOf(cluster, tried, target, `empties ${nodes.nameOf(node)}`))
    }
    if (found.length < own.length) {
      trial.backTo(before)
      continue
    }
    moves.push(...found)
    for (const target of to) targets.add(target)
  }
  return moves
}

/** Nodes that are at least half full. */
function full(cluster: Cluster): number[] {
  const found: number[] = []
  for (let node = 0; node < cluster.nodes.size; node++)
    if (cluster.nodes.state[node] === open && usedShare(cluster, node) >= 0.5) found.push(node)
  return found
}

/** The larger of the used shares of cpu and memory. */
function usedShare({ nodes }: Cluster, node: number): number {
  return Math.max(
    ...[0, 1].map((column) => {
      const total = nodes.totalOf(column, node)
      return total === 0 ? 0 : 1 - nodes.freeOf(column, node) / total
    }),
  )
}

function moveOf({ nodes }: Cluster, { job, position, from }: Tried, to: number, reason: string): Move {
  return {
    task: taskName(job, position),
    from: nodes.nameOf(from),
    to: to < 0 ? null : nodes.nameOf(to),
    reason,
  }
}
