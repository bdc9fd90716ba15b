/** What the store holds of submitted jobs: states, not a log. Invariant: a key is written by nobody else. */
import type { NodeOffer } from '../protocol/index.ts'
import type { AccountUse } from '../scheduler/index.ts'
import type { LoadRecord } from './load.ts'
import type { Submission } from './submission.ts'
import type { TaskRow } from './task-table.ts'

export interface JobRecord {
  readonly id: number
  readonly submission: Submission
  readonly by: string
  /** Milliseconds since 1970. */
  readonly submittedMs: number
  /** Null until every task is over. */
  readonly endedMs: number | null
  /** Who cancelled it, or what; null: nobody. */
  readonly cancelledBy: string | null
  /** Host user of its tasks. */
  readonly hostUid: number
}

/** A queue. A larger priority goes first, whatever the priorities of the jobs. */
export interface QueueRecord {
  readonly name: string
  /** -100 to 100. */
  readonly priority: number
  /** Its jobs may stop those of queues with a smaller priority, which then wait again. */
  readonly preempts: boolean
  /** Longest time limit, which is also that of jobs without one; null: none. */
  readonly timeLimitMs: number | null
}

/** What the tasks of an account may have at once (null: no limit), and how much its share counts beside that of others. */
export interface AccountRecord {
  readonly name: string
  readonly weight: number
  readonly cpu: number | null
  readonly memoryBytes: number | null
  readonly gpus: number | null
  readonly tasks: number | null
}

/** A time for which nodes are kept free of jobs, but for those that name it. Milliseconds since 1970. */
export interface ReservationRecord {
  readonly name: string
  readonly nodes: readonly string[]
  readonly fromMs: number
  readonly untilMs: number
  readonly by: string
}

/** What an account has used for an app ('': none's), of tasks that have ended or were put back. */
export interface UsageRecord {
  readonly account: string
  readonly app: string
  readonly tasks: number
  readonly failed: number
  /** Cores times seconds that were given out, used or not. */
  readonly cpuSeconds: number
  readonly memoryByteSeconds: number
  readonly gpuSeconds: number
}

/** A node that takes in no new tasks, because somebody wants that. */
export interface CordonRecord {
  readonly by: string
  readonly sinceMs: number
}

/** Nodes that a pool speaks for, in one record: by name, which of the offers each has. */
export interface PoolRecord {
  readonly offers: readonly NodeOffer[]
  readonly nodes: { readonly [name: string]: number }
}

/** Everything, as it is read at start. */
export interface BatchRecords {
  readonly nextId: number
  readonly jobs: readonly JobRecord[]
  readonly tasks: ReadonlyMap<number, readonly { readonly [position: string]: TaskRow }[]>
  readonly nodes: ReadonlyMap<string, NodeOffer>
  /** By the name of the pool and the number of the record, with a slash between. */
  readonly pools: ReadonlyMap<string, PoolRecord>
  /** By the name of the node. */
  readonly cordons: ReadonlyMap<string, CordonRecord>
  readonly queues: readonly QueueRecord[]
  readonly accounts: readonly AccountRecord[]
  readonly reservations: readonly ReservationRecord[]
  readonly usage: readonly UsageRecord[]
  /** What accounts have used of the past, as fair share counts it. */
  readonly used: readonly AccountUse[]
  readonly load: ReadonlyMap<string, LoadRecord>
}

export const batchPrefix = 'batch/'

export const keys: {
  readonly next: string
  readonly job: (id: number) => string
  readonly tasks: (id: number, chunk: number) => string
  readonly node: (name: string) => string
  readonly pool: (name: string, chunk: number) => string
  readonly cordon: (node: string) => string
  readonly queue: (name: string) => string
  readonly account: (name: string) => string
  readonly reservation: (name: string) => string
  readonly usage: (account: string, app: string) => string
  readonly used: string
  readonly load: (node: string) => string
} = {
  next: `${batchPrefix}next`,
  job: (id) => `${batchPrefix}job/${id}`,
  tasks: (id, chunk) => `${batchPrefix}tasks/${id}/${chunk}`,
  node: (name) => `${batchPrefix}node/${name}`,
  pool: (name, chunk) => `${batchPrefix}pool/${name}/${chunk}`,
  cordon: (node) => `${batchPrefix}cordon/${node}`,
  queue: (name) => `${batchPrefix}queue/${name}`,
  account: (name) => `${batchPrefix}account/${name}`,
  reservation: (name) => `${batchPrefix}reservation/${name}`,
  usage: (account, app) => `${batchPrefix}usage/${account}/${app}`,
  used: `${batchPrefix}used`,
  load: (node) => `${batchPrefix}load/${node}`,
}

/** The queue that is always there. */
export const defaultQueue: QueueRecord = { name: 'default', priority: 0, preempts: false, timeLimitMs: null }
