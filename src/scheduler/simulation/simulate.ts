/**
 * A trace in virtual time: submissions and ends as events, the scheduler's decisions as what runs. Says how full the
 * cluster was, how long tasks waited, and their bounded slowdown. The same trace and options give the same result.
 */
import { isSteadError } from '../../base/index.ts'
import { DueHeap } from '../heap.ts'
import type { Decision, JobSpec } from '../model.ts'
import { Scheduler, type SchedulerOptions } from '../scheduler.ts'
import { readCpuMilli } from '../units.ts'
import type { Trace, TraceJob } from './trace.ts'

/** How things stood during a stretch of the run. */
export interface Sample {
  readonly atMs: number
  /** Share of cpu that is allocated, and of GPUs (0 when there are none). */
  readonly cpuShare: number
  readonly gpuShare: number
  readonly waiting: number
}

export interface Simulation {
  /** Tasks that ended, and jobs that were refused. */
  readonly ended: number
  readonly refused: number
  readonly endMs: number
  /** Allocated share over the whole run. */
  readonly cpuShare: number
  readonly gpuShare: number
  readonly meanWaitMs: number
  readonly longestWaitMs: number
  /** (wait + run) / max(run, 10 s), at least 1; the mean. */
  readonly meanBoundedSlowdown: number
  readonly preempted: number
  /** At most `samplesMax`, evenly over the run. */
  readonly samples: readonly Sample[]
}

/** Below this run time slowdown says nothing. */
const shortMs = 10_000
const samplesMax = 400

interface Ran {
  readonly task: string
  readonly epoch: number
}

interface Task {
  readonly job: TraceJob
  readonly cpu: number
  readonly gpuMilli: number
  epoch: number
  running: boolean
}

/** Runs a trace to its end. */
export function simulate(trace: Trace, options: SchedulerOptions): Simulation {
  return new Run(trace, options).result()
}

class Run {
  readonly #scheduler: Scheduler
  readonly #trace: Trace
  readonly #jobs = new Map<string, TraceJob>()
  readonly #tasks = new Map<string, Task>()
  readonly #ends = new DueHeap<Ran>()
  readonly #totals = { cpu: 0, gpuMilli: 0 }
  readonly #used = { cpu: 0, gpuMilli: 0, cpuMs: 0, gpuMs: 0 }
  readonly #samples: Sample[] = []
  #nowMs = 0
  #nextSampleMs = 0
  #waiting = 0
  #ended = 0
  #refused = 0
  #preempted = 0
  #waitMs = 0
  #longestWaitMs = 0
  #slowdown = 0

  constructor(trace: Trace, options: SchedulerOptions) {
    this.#trace = trace
    this.#scheduler = new Scheduler(options)
    this.#nowMs = trace.jobs[0]?.submitMs ?? 0
    this.#scheduler.apply({ atMs: this.#nowMs, kind: 'add-nodes', nodes: trace.nodes })
    for (const { name, capacity } of trace.nodes) {
      this.#totals.cpu += readCpuMilli(`cpu of '${name}'`, capacity.cpu)
      this.#totals.gpuMilli += (capacity.gpus?.count ?? 0) * 1000
    }
  }

  result(): Simulation {
    const { jobs } = this.#trace
    const startMs = this.#nowMs
    for (let index = 0; index < jobs.length || this.#ends.size > 0;) {
      const submitMs = jobs[index]?.submitMs ?? Infinity
      const dueMs = Math.min(this.#ends.nextMs, this.#scheduler.nextWakeMs)
      this.#pass(Math.min(submitMs, dueMs))
      // What ends makes room for what comes at the same time.
      if (this.#ends.nextMs <= submitMs && this.#ends.nextMs <= this.#scheduler.nextWakeMs) this.#end(this.#ends.pop())
      else if (this.#scheduler.nextWakeMs <= submitMs)
        this.#follow(this.#scheduler.apply({ atMs: this.#nowMs, kind: 'time' }))
      else this.#submit(jobs[index++])
    }
    const spanMs = Math.max(1, this.#nowMs - startMs)
    const count = Math.max(1, this.#ended)
    return {
      ended: this.#ended,
      refused: this.#refused,
      endMs: this.#nowMs,
      cpuShare: share(this.#used.cpuMs, this.#totals.cpu * spanMs),
      gpuShare: share(this.#used.gpuMs, this.#totals.gpuMilli * spanMs),
      meanWaitMs: this.#waitMs / count,
      longestWaitMs: this.#longestWaitMs,
      meanBoundedSlowdown: this.#slowdown / count,
      preempted: this.#preempted,
      samples: this.#samples,
    }
  }

  #pass(untilMs: number): void {
    const elapsedMs = untilMs - this.#nowMs
    this.#used.cpuMs += elapsedMs * this.#used.cpu
    this.#used.gpuMs += elapsedMs * this.#used.gpuMilli
    this.#nowMs = untilMs
    if (untilMs < this.#nextSampleMs) return
    const last = this.#trace.jobs.at(-1)?.submitMs ?? 0
    const first = this.#trace.jobs[0]?.submitMs ?? 0
    this.#nextSampleMs = untilMs + Math.max(1, (last - first) / samplesMax)
    this.#samples.push({
      atMs: untilMs,
      cpuShare: share(this.#used.cpu, this.#totals.cpu),
      gpuShare: share(this.#used.gpuMilli, this.#totals.gpuMilli),
      waiting: this.#waiting,
    })
  }

  #submit(job: TraceJob | undefined): void {
    if (job === undefined) return
    const { name } = job.spec
    this.#jobs.set(name, job)
    try {
      const decisions = this.#scheduler.apply({ atMs: this.#nowMs, kind: 'submit', jobs: [job.spec] })
      this.#waiting += job.spec.count ?? 1
      this.#follow(decisions)
    } catch (error) {
      if (!isSteadError(error)) throw error
      this.#refused++
    }
  }

  #end(ran: Ran | undefined): void {
    const task = ran === undefined ? undefined : this.#tasks.get(ran.task)
    if (ran === undefined || task === undefined || !task.running || task.epoch !== ran.epoch) return
    this.#leave(task)
    this.#tasks.delete(ran.task)
    this.#count(task)
    this.#follow(this.#scheduler.apply({ atMs: this.#nowMs, kind: 'end', task: ran.task, outcome: 'success' }))
  }

  #count({ job }: Task): void {
    const waitMs = Math.max(0, this.#nowMs - job.submitMs - job.runMs)
    this.#ended++
    this.#waitMs += waitMs
    this.#longestWaitMs = Math.max(this.#longestWaitMs, waitMs)
    this.#slowdown += Math.max(1, (waitMs + job.runMs) / Math.max(job.runMs, shortMs))
  }

  #follow(decisions: readonly Decision[]): void {
    for (const decision of decisions) {
      if (decision.kind === 'give-up') continue
      const { task: name } = decision
      if (decision.kind === 'place') {
        const job = this.#jobs.get(name.split('/')[0] ?? '')
        if (job === undefined) continue
        const known = this.#tasks.get(name) ?? { job, ...amountsOf(job.spec), epoch: 0, running: false }
        this.#tasks.set(name, known)
        known.running = true
        known.epoch++
        this.#used.cpu += known.cpu
        this.#used.gpuMilli += known.gpuMilli
        this.#waiting--
        this.#ends.push(this.#nowMs + job.runMs, { task: name, epoch: known.epoch })
        continue
      }
      const task = this.#tasks.get(name)
      if (task === undefined) continue
      this.#leave(task)
      if (decision.reason === 'time-limit') {
        this.#tasks.delete(name)
        this.#count(task)
      } else {
        this.#preempted++
        this.#waiting++
      }
    }
  }

  #leave(task: Task): void {
    task.running = false
    this.#used.cpu -= task.cpu
    this.#used.gpuMilli -= task.gpuMilli
  }
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole
}

function amountsOf({ name, needs }: JobSpec): { cpu: number; gpuMilli: number } {
  const { gpu } = needs
  return {
    cpu: readCpuMilli(`cpu of '${name}'`, needs.cpu ?? 0),
    gpuMilli: gpu === undefined ? 0 : (gpu.milli ?? (gpu.count ?? 0) * 1000),
  }
}
