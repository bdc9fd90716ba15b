/**
 * One walk through those who wait, in order, starting what may start. What stands in front of whom is decided here:
 * greedy lets everything go that fits; with `fcfs` nobody passes one who waits; with `easy` the first who waits is
 * promised a start and others go when they do not touch it; with `conservative` everybody who waits is promised one.
 *
 * Kept: a promised start never moves back, as long as nobody more important comes, nobody's share changes the order, and
 * no node goes: a promise is only ever replaced by an earlier one, found while all others hold.
 */
import type { Accounts } from './accounts.ts'
import type { Round } from './changes.ts'
import type { Cluster } from './cluster.ts'
import { dependsOnOthers, shapeOf, waitingOf, type Job } from './job.ts'
import { plannedJobsMax } from './limits.ts'
import type { Decision, Order } from './model.ts'
import type { Queue } from './queue.ts'
import type { Starter } from './starter.ts'
import { Timeline, type Plan } from './timeline.ts'

/** Above so many nodes that got room it is quicker to ask the index. */
const freedMax = 32

type Visit = 'started' | 'blocked' | 'stop'

export interface PassParts {
  readonly cluster: Cluster
  readonly queue: Queue
  readonly accounts: Accounts
  readonly starter: Starter
  readonly order: Order
  readonly fair: boolean
}

export class Pass {
  readonly #parts: PassParts
  readonly #plannedMax: number
  #plans = new Map<Job, Plan>()
  /** Of this walk: what will be free when, once somebody waits; and who keeps a promise. */
  #timeline: Timeline | null = null
  #kept = new Map<Job, Plan>()
  readonly #failedShapes = new Set<string>()

  constructor(parts: PassParts) {
    this.#parts = parts
    this.#plannedMax = parts.order === 'easy' ? 1 : parts.order === 'conservative' ? plannedJobsMax : 0
  }

  /** The start that the job was promised; null: none. */
  promisedMs(job: Job): number | null {
    return this.#plans.get(job)?.startMs ?? null
  }

  /** Every start that was promised, of the first in line first. */
  promises(): { readonly job: string; readonly startMs: number }[] {
    return [...this.#plans].map(([job, { startMs }]) => ({ job: job.facts.name, startMs }))
  }

  /** The job waits no more, and not because it was started. True: what stood behind it may go now. */
  forget(job: Job): boolean {
    return this.#plans.delete(job) || this.#parts.order === 'fcfs'
  }

  /** A task was started or stopped during the walk. */
  moved(job: Job, node: number, direction: 1 | -1): void {
    if (direction === 1) this.#timeline?.started(job, node, this.#parts.cluster.nowMs)
    else this.#timeline?.stopped(job, node)
  }

  /** True: a promise was given up for one who stands before it, so those who were kept off by it are to be asked again. */
  run(round: Round, decisions: Decision[]): boolean {
    if (this.#failedShapes.size > 0) this.#failedShapes.clear()
    if (this.#plannedMax > 0) this.#kept = new Map()
    this.#timeline = null
    const waiting = [...this.#parts.queue.waiting()]
    for (let from = 0; from < waiting.length;) {
      const priority = waiting[from]?.facts.priority
      let until = from + 1
      while (until < waiting.length && waiting[until]?.facts.priority === priority) until++
      const equal = until - from === waiting.length ? waiting : waiting.slice(from, until)
      if (this.#runEqual(equal, round, decisions) === 'stop') break
      from = until
    }
    const before = this.#plans
    this.#plans = this.#kept
    this.#timeline = null
    if (before.size === 0 || ![...this.#kept.keys()].some((job) => !before.has(job))) return false
    return [...before.keys()].some((job) => !this.#kept.has(job) && waitingOf(job) > 0)
  }

  /** Those of one priority. They hold one another's promises, and those of more important ones; not those of lesser ones. */
  #runEqual(jobs: readonly Job[], round: Round, decisions: Decision[]): Visit {
    if (this.#plans.size > 0)
      for (const job of jobs) {
        const plan = this.#plans.get(job)
        if (plan === undefined) continue
        this.#timeline ??= new Timeline(this.#parts.cluster)
        this.#timeline.promise(job, plan)
      }
    if (this.#parts.fair) return this.#takeTurns(jobs, round, decisions)
    for (const job of jobs) if (this.#visit(job, Infinity, round, decisions) === 'stop') return 'stop'
    return 'started'
  }

  /** Equally important jobs of several accounts: whoever has the smallest share starts one task (or gang), and so on. */
  #takeTurns(jobs: readonly Job[], round: Round, decisions: Decision[]): Visit {
    const lanes = new Map<string, Job[]>()
    for (const job of jobs) {
      const lane = lanes.get(job.facts.account)
      if (lane === undefined) lanes.set(job.facts.account, [job])
      else lane.push(job)
    }
    for (const lane of lanes.values()) lane.reverse()
    while (lanes.size > 0) {
      let account = ''
      let least = Infinity
      for (const name of lanes.keys()) {
        const share = this.#parts.accounts.share(name, this.#parts.cluster.nowMs)
        if (share < least || account === '') {
          account = name
          least = share
        }
      }
      const lane = lanes.get(account) ?? []
      const job = lane.at(-1)
      const visit = job === undefined ? 'blocked' : this.#visit(job, 1, round, decisions)
      if (visit === 'stop') return 'stop'
      if (visit === 'blocked' || (job !== undefined && waitingOf(job) === 0)) lane.pop()
      if (lane.length === 0) lanes.delete(account)
    }
    return 'started'
  }

  #visit(job: Job, most: number, round: Round, decisions: Decision[]): Visit {
    const { order, starter, accounts } = this.#parts
    const gang = job.facts.spec.gang === true
    if (waitingOf(job) === 0) return 'started'
    let started: number
    if (order === 'greedy') {
      const freedOnly = job.blocked && !round.all && !dependsOnOthers(job)
      if (freedOnly && round.freed.length === 0) return 'blocked'
      if (!gang && this.#failedShapes.size > 0 && this.#failedShapes.has(shapeOf(job))) return block(job)
      const only = freedOnly && !gang && round.freed.length <= freedMax ? round.freed : null
      started = starter.start(job, most, only, null, decisions)
    } else {
      const plan = this.#plans.get(job)
      // Nothing that was held came free sooner, so the promise is still the earliest start that there is.
      if (
        plan !== undefined &&
        plan.startMs > this.#parts.cluster.nowMs &&
        !round.sooner &&
        !round.all &&
        job.blocked
      ) {
        if (this.#kept.size >= this.#plannedMax) return block(job)
        this.#kept.set(job, plan)
        return block(job)
      }
      if (plan !== undefined) this.#timeline?.takeBack(job, plan)
      started = starter.start(job, most, null, this.#timeline, decisions)
    }
    if (waitingOf(job) === 0) job.blocked = false
    if (started === most || waitingOf(job) === 0) return 'started'
    const needed = gang ? waitingOf(job) : 1
    // Over its quota, or its own bound, nobody is in anybody's way.
    if (job.running >= job.facts.atOnceMax || accounts.exceeds(job, needed) !== null) {
      job.blocked = false
      return 'blocked'
    }
    this.#failedShapes.add(shapeOf(job))
    if (order === 'fcfs') return 'stop'
    if (this.#kept.size < this.#plannedMax) this.#promise(job, needed)
    return block(job)
  }

  /** The earliest start beside everything that runs and was promised. */
  #promise(job: Job, tasks: number): void {
    const { nowMs } = this.#parts.cluster
    const before = this.#plans.get(job)
    this.#timeline ??= new Timeline(this.#parts.cluster)
    const plan = this.#timeline.earliest(job, tasks, before?.startMs)
    if (plan === null) return
    // A start right now that did not happen means that other rules forbid it, and then nothing is held for the job; but
    // where it was promised for now, what it needs may be about to end.
    if (plan.startMs <= nowMs && (before === undefined || before.startMs < nowMs)) return
    this.#timeline.promise(job, plan)
    this.#kept.set(job, plan)
  }
}

function block(job: Job): Visit {
  job.blocked = true
  return 'blocked'
}
