/**
 * Starts what waits: one task, or a whole gang or nothing of it. Stops others where that is allowed and needed. Everything
 * it does is one transaction: when the last task of a gang finds no place, nodes, counts and victims are as before, and no
 * decision was made.
 */
import type { Accounts } from './accounts.ts'
import type { Cluster, Devices } from './cluster.ts'
import { domainOf, type Promised } from './fit.ts'
import { gpusOf } from './gpus.ts'
import { dependsOnOthers, nextPosition, waitingOf, type Job } from './job.ts'
import type { Decision, StopReason } from './model.ts'
import type { Placer } from './place.ts'
import type { Preemptor } from './preempt.ts'
import { taskName } from './tasks.ts'

/** Zones or racks in which the first task of a gang is tried. */
const gangStartsMax = 32

interface Stopped {
  readonly job: Job
  readonly position: number
  readonly node: number
  readonly startedMs: number
  readonly devices: Devices
}

/** What the scheduler wants to know of what was done. */
export interface StartListener {
  /** A task came to a node or left it, perhaps only for a try. */
  moved(job: Job, node: number, direction: 1 | -1): void
  /** It is settled that a task has started. */
  started(job: Job, position: number): void
  /** It is settled that a task was stopped and waits again. */
  returned(job: Job, node: number): void
}

export class Starter {
  readonly #cluster: Cluster
  readonly #placer: Placer
  readonly #preemptor: Preemptor
  readonly #accounts: Accounts
  readonly #listener: StartListener

  constructor(cluster: Cluster, placer: Placer, preemptor: Preemptor, accounts: Accounts, listener: StartListener) {
    this.#cluster = cluster
    this.#placer = placer
    this.#preemptor = preemptor
    this.#accounts = accounts
    this.#listener = listener
  }

  /**
   * Starts up to `most` waiting tasks of the job, in order. Returns how many (a gang counts as one); fewer means that the
   * next one fits nowhere.
   * `only` names the nodes that can have become fit, null all of them.
   */
  start(
    job: Job,
    most: number,
    only: readonly number[] | null,
    promised: Promised | null,
    decisions: Decision[],
  ): number {
    if (job.facts.spec.gang === true) return this.#startGang(job, promised, decisions) ? 1 : 0
    let started = 0
    // Of an array with at most one task a node, the search must not come upon the same nodes for each task.
    const hidden: number[] | null = job.onePerNode && most > 1 && waitingOf(job) > 1 ? [] : null
    while (started < most && waitingOf(job) > 0 && job.running < job.facts.atOnceMax) {
      if (this.#accounts.exceeds(job, 1) !== null) break
      const node = only === null ? this.#placer.find(job, promised) : this.#placer.findAmong(job, only, promised)
      if (node >= 0) {
        this.#listener.started(job, this.#place(job, node, decisions))
        if (hidden !== null) {
          this.#cluster.nodes.hide(node)
          hidden.push(node)
        }
      } else if (!this.#preempt(job, only, promised, decisions)) break
      started++
    }
    for (const node of hidden ?? []) this.#cluster.nodes.show(node)
    return started
  }

  /** Stops a running task, which waits again. A gang stops with it. */
  stop(job: Job, task: number, reason: StopReason, decisions: Decision[]): void {
    const stopped: Stopped[] = []
    this.#stop(job, task, reason, decisions, stopped)
    for (const { node } of stopped) this.#listener.returned(job, node)
  }

  /** Puts back a task that ran under an earlier scheduler. */
  resume(job: Job, position: number, node: number, startedMs: number, devices: Devices): void {
    this.#cluster.put(job, position, node, startedMs, devices)
    this.#listener.moved(job, node, 1)
    this.#accounts.move(job, 1, this.#cluster.nowMs)
  }

  /** Adds to `all` what was stopped. */
  #stop(job: Job, task: number, reason: StopReason, decisions: Decision[], all: Stopped[], wanted?: string): void {
    if (job.facts.spec.gang !== true) this.#stopOne(job, task, reason, decisions, all, wanted)
    else for (const one of job.tasks) if (one >= 0) this.#stopOne(job, one, reason, decisions, all, wanted)
  }

  #stopOne(job: Job, task: number, reason: StopReason, decisions: Decision[], all: Stopped[], wanted?: string): void {
    const { tasks, nodes } = this.#cluster
    const position = tasks.position[task] ?? 0
    const node = tasks.node[task] ?? -1
    const devices = { gpus: tasks.gpus.get(task), core: tasks.core.get(task) }
    all.push({ job, position, node, startedMs: tasks.startedMs[task] ?? 0, devices })
    this.#take(job, task)
    give(job, position)
    const name = taskName(job, position)
    const nodeName = nodes.nameOf(node)
    if (wanted === undefined) decisions.push({ kind: 'stop', task: name, node: nodeName, reason })
    else decisions.push({ kind: 'stop', task: name, node: nodeName, reason, for: wanted })
  }

  /**
   * A gang whose tasks want one another near is bound to wherever its first task goes, so other zones (or racks) are tried for
   * that one too, before anybody is stopped.
   */
  #startGang(job: Job, promised: Promised | null, decisions: Decision[]): boolean {
    if (this.#accounts.exceeds(job, waitingOf(job)) !== null) return false
    const starts = this.#startsOf(job, promised)
    if (
      starts.length > 0 &&
      [promised, ...starts].some((first) => this.#tryGang(job, first, promised, false, decisions))
    )
      return true
    return this.#tryGang(job, promised, promised, true, decisions)
  }

  /** Restrictions for the first task of a gang, one for each zone or rack that may be tried. */
  #startsOf(job: Job, promised: Promised | null): Promised[] {
    const own = job.together.filter((rule) => rule.own && rule.level !== 'node')
    const level = own.some((rule) => rule.level === 'rack') ? 'rack' : 'zone'
    if (own.length === 0 && job.latency.length === 0) return []
    const { nodes } = this.#cluster
    const domains = level === 'rack' ? nodes.racks.size : nodes.zones.size
    return Array.from({ length: Math.min(domains, gangStartsMax) }, (_, domain): Promised => ({
      allows: (asked, node) =>
        domainOf(this.#cluster, level, node) === domain && (promised === null || promised.allows(asked, node)),
    }))
  }

  #tryGang(
    job: Job,
    first: Promised | null,
    promised: Promised | null,
    stops: boolean,
    decisions: Decision[],
  ): boolean {
    const own: Decision[] = []
    const started: number[] = []
    const victims: Stopped[] = []
    while (waitingOf(job) > 0) {
      const node = this.#placer.find(job, started.length === 0 ? first : promised)
      if (node >= 0) started.push(this.#place(job, node, own))
      else {
        const stopped = stops ? this.#stopFor(job, null, promised, own) : null
        if (stopped === null) {
          this.#undo(job, started, victims)
          return false
        }
        victims.push(...stopped.victims)
        started.push(this.#place(job, stopped.node, own))
      }
    }
    // Where the victims stand matters to rules about other tasks, and a guaranteed one may overdraw what is shared; then
    // none is put back, and places follow the stops that they count on. Otherwise all stops come first.
    const ordered = dependsOnOthers(job) || job.facts.needs.bestEffort.length > 0
    const stopped = ordered ? victims : this.#spare(victims, own)
    if (!ordered) own.sort((a, b) => Number(a.kind === 'place') - Number(b.kind === 'place'))
    for (const victim of stopped) this.#listener.returned(victim.job, victim.node)
    for (const position of started) this.#listener.started(job, position)
    decisions.push(...own)
    return true
  }

  #preempt(job: Job, only: readonly number[] | null, promised: Promised | null, decisions: Decision[]): boolean {
    const stopped = this.#stopFor(job, only, promised, decisions)
    if (stopped === null) return false
    for (const victim of stopped.victims) this.#listener.returned(victim.job, victim.node)
    this.#listener.started(job, this.#place(job, stopped.node, decisions))
    return true
  }

  #stopFor(
    job: Job,
    only: readonly number[] | null,
    promised: Promised | null,
    decisions: Decision[],
  ): { node: number; victims: Stopped[] } | null {
    if (job.facts.spec.preempts === false) return null
    const preemption = this.#preemptor.find(job, only, promised)
    if (preemption === null) return null
    const victims: Stopped[] = []
    for (const task of preemption.victims) {
      const victim = this.#cluster.jobOf(task)
      // A gang that another victim belonged to has stopped already.
      if (victim !== undefined) this.#stop(victim, task, 'preempted', decisions, victims, job.facts.name)
    }
    return { node: preemption.node, victims }
  }

  /** Victims of a gang's first tasks that turn out not to be in the way of the whole go on as if nothing had been. Returns the others. */
  #spare(victims: readonly Stopped[], decisions: Decision[]): Stopped[] {
    return victims.filter((victim) => {
      const { job } = victim
      if (job.facts.spec.gang === true) return true
      this.#cluster.others.refresh(job)
      this.#placer.fit.promised = null
      this.#placer.fit.judge(job, true)
      if (!this.#placer.fit.fitsWhole(victim.node)) return true
      this.#restore(victim)
      const name = taskName(job, victim.position)
      decisions.splice(
        decisions.findIndex((decision) => decision.kind === 'stop' && decision.task === name),
        1,
      )
      return false
    })
  }

  #undo(job: Job, started: readonly number[], victims: readonly Stopped[]): void {
    for (const position of started.toReversed()) {
      this.#take(job, job.tasks[position] ?? -1)
      give(job, position)
    }
    for (const victim of victims.toReversed()) this.#restore(victim)
  }

  #restore({ job, position, node, startedMs, devices }: Stopped): void {
    takePosition(job, position)
    this.resume(job, position, node, startedMs, devices)
  }

  /** Starts the next task of the job on a node. Returns its position. */
  #place(job: Job, node: number, decisions: Decision[]): number {
    const { nowMs, nodes, tasks } = this.#cluster
    const position = nextPosition(job)
    takePosition(job, position)
    const task = this.#cluster.put(job, position, node, nowMs)
    this.#accounts.move(job, 1, nowMs)
    this.#listener.moved(job, node, 1)
    const name = taskName(job, position)
    const nodeName = nodes.nameOf(node)
    const bits = job.facts.needs.gpuCount === 0 ? undefined : tasks.gpus.get(task)
    const core = job.facts.needs.cpuTime === null ? undefined : tasks.core.get(task)
    if (bits === undefined && core === undefined) decisions.push({ kind: 'place', task: name, node: nodeName })
    else
      decisions.push({
        kind: 'place',
        task: name,
        node: nodeName,
        ...(bits === undefined ? {} : { gpus: gpusOf(bits) }),
        ...(core === undefined ? {} : { core }),
      })
    return position
  }

  #take(job: Job, task: number): void {
    this.#listener.moved(job, this.#cluster.tasks.node[task] ?? -1, -1)
    this.#cluster.take(job, task)
    this.#accounts.move(job, -1, this.#cluster.nowMs)
  }
}

/** A position waits again. */
function give(job: Job, position: number): void {
  if (position === job.fresh - 1 && job.returned.length === 0) {
    job.fresh--
    return
  }
  job.returned.push(position)
}

/** A position starts. */
function takePosition(job: Job, position: number): void {
  if (job.returned.at(-1) === position) {
    job.returned.pop()
    return
  }
  const index = job.returned.indexOf(position)
  if (index >= 0) job.returned.splice(index, 1)
  else {
    // Ones before it that have not started wait on.
    for (let skipped = job.fresh; skipped < position; skipped++) job.returned.push(skipped)
    job.fresh = position + 1
  }
}
