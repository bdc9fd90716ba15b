/** A job that is remembered: its record, its tasks, and what is worked out once for all of them. */
import type { TaskCpuTime, TaskJob } from '../protocol/index.ts'
import type { JobSpec } from '../scheduler/index.ts'
import { arrayFacts, type ArrayFacts } from './environment.ts'
import type { JobRecord, QueueRecord } from './records.ts'
import { indexesOf, type Submission } from './submission.ts'
import { chunkSize, TaskTable } from './task-table.ts'

type Needs = Submission['needs']

/** Priorities of jobs within one of queues. */
const perQueue = 10_000

/** Host users of jobs: below those of parts. */
const hostUidMin = 1_800_000_000
const hostUids = 100_000_000

/** The record of a job that was submitted now. */
export function newRecord(id: number, submission: Submission, by: string, nowMs: number): JobRecord {
  const hostUid = hostUidMin + (id % hostUids)
  return { id, submission, by, submittedMs: nowMs, endedMs: null, cancelledBy: null, hostUid }
}

export class BatchJob {
  record: JobRecord
  readonly tasks: TaskTable
  readonly array: Omit<ArrayFacts, 'index'> | null
  readonly #indexes: readonly number[] | null
  /** Chunks of tasks that have changed since they were last written. */
  readonly dirty: Set<number> = new Set()
  /** Positions that were cancelled one by one while the scheduler still has them wait. */
  readonly struck: Set<number> = new Set()
  /** Whether the scheduler has it. */
  scheduled = false
  constructor(record: JobRecord) {
    const { array, gang } = record.submission
    this.record = record
    this.#indexes = array === null ? null : indexesOf(array.ranges)
    this.array = arrayFacts(record)
    this.tasks = new TaskTable(this.#indexes?.length ?? gang ?? 1)
  }

  get id(): number {
    return this.record.id
  }

  get single(): boolean {
    return this.#indexes === null && this.record.submission.gang === null
  }

  /** What people call the task: its number in the array, or its rank. */
  indexOf(position: number): number {
    return this.#indexes?.[position] ?? position
  }

  /** The position of a number; -1: there is none. */
  positionOf(index: number): number {
    if (this.#indexes !== null) return this.#indexes.indexOf(index)
    return index >= 0 && index < this.tasks.count ? index : -1
  }

  /** How the scheduler calls a task. */
  taskName(position: number): string {
    return this.single ? String(this.id) : `${this.id}/${position}`
  }

  touch(position: number): void {
    this.dirty.add(Math.floor(position / chunkSize))
  }
}

/** The longest that a task may run: its own limit or that of its queue. */
export function timeLimitOf({ submission }: JobRecord, queue: QueueRecord): number | null {
  return submission.timeLimitMs ?? queue.timeLimitMs
}

/** The job as the scheduler is given it. `after` are those of its dependencies that are open. */
export function schedulerSpec(job: BatchJob, queue: QueueRecord, after: JobSpec['after']): JobSpec {
  const { submission, by } = job.record
  const limitMs = timeLimitOf(job.record, queue)
  return {
    name: String(job.id),
    account: submission.account ?? by,
    ...(submission.app === null ? {} : { app: submission.app }),
    ...(job.single ? {} : { count: job.tasks.count }),
    ...(submission.array === null || submission.array.atMost === null ? {} : { atOnceMax: submission.array.atMost }),
    ...(submission.gang === null ? {} : { gang: true }),
    needs: schedulerNeeds(submission.needs),
    priority: queue.priority * perQueue + submission.priority,
    preempts: queue.preempts,
    ...(submission.selector === undefined ? {} : { selector: submission.selector }),
    ...(submission.reservation === undefined ? {} : { reservation: submission.reservation }),
    ...(submission.onePerNode === true ? { onePerNode: true } : {}),
    ...(limitMs === null ? {} : { timeLimitMs: limitMs }),
    ...(after === undefined || after.length === 0 ? {} : { after }),
  }
}

function schedulerNeeds(needs: Needs): JobSpec['needs'] {
  const { cpu, memoryBytes, networkBits, gpus, gpuMilli, gpuModels, cpuClass, counted } = needs
  const amount = gpuMilli === undefined ? { count: gpus } : { milli: gpuMilli }
  const models = gpuModels === undefined ? {} : { models: gpuModels }
  return {
    cpu,
    memory: memoryBytes,
    ...(networkBits === undefined ? {} : { network: networkBits }),
    ...(gpus === 0 && gpuMilli === undefined ? {} : { gpu: { ...amount, ...models } }),
    ...(counted === undefined ? {} : { counted }),
    ...(cpuClass === 'best-effort' ? { bestEffort: ['cpu'] } : {}),
    ...(typeof cpuClass === 'object' ? cpuTimeOf(cpuClass) : {}),
  }
}

function cpuTimeOf({ runtimeUs, periodUs, deadlineUs }: TaskCpuTime): Pick<JobSpec['needs'], 'cpuTime'> {
  return { cpuTime: { runtimeUs, periodUs, deadlineUs } }
}

function hasOwnDevices({ gpus, gpuMilli, cpuClass }: Needs): boolean {
  return gpus > 0 || gpuMilli !== undefined || cpuClass !== undefined
}

/** The job as nodes are given it. */
export function taskJobOf({ record }: BatchJob): TaskJob {
  const { submission, hostUid } = record
  const { argv, env, cwd, reads, writes, script, isolation, egress = [], needs } = submission
  return {
    job: record.id,
    argv,
    env,
    cwd,
    reads,
    writes,
    script,
    isolation,
    places: isolation === 'shared' || (isolation === 'none' && submission.array !== null),
    // What stands for all tasks cannot give each its own core or GPUs.
    repeats: isolation === 'own' && submission.array !== null && !hasOwnDevices(needs),
    hostUid,
    limits: {
      cpuCores: needs.cpu === 0 || needs.cpuClass === 'best-effort' ? null : needs.cpu,
      memoryBytes: needs.memoryBytes,
      pidsMax: needs.pidsMax,
    },
    ...(egress.length === 0 ? {} : { egress }),
    ...(needs.networkBits === undefined ? {} : { networkBits: needs.networkBits }),
    ...(needs.cpuClass === undefined ? {} : { cpuClass: needs.cpuClass }),
  }
}

/** The id of one attempt, and back. */
export function taskId(job: number, position: number, attempt: number): string {
  return `${job}-${position}-${attempt}`
}

export function readTaskId(task: string): { job: number; position: number; attempt: number } {
  const [job = 0, position = 0, attempt = 0] = task.split('-').map(Number)
  return { job, position, attempt }
}
