/** What can be asked about jobs that are submitted. Data and one interface, no I/O. */
import type {
  AccountRecord,
  JobView,
  NodeState,
  NodeView,
  QueueRecord,
  ReservationRecord,
  Submission,
  TaskView,
  UsageRecord,
} from '../batch/index.ts'
import type { LogLine } from '../protocol/index.ts'
import type { LogOptions } from './operations.ts'

/** Jobs and tasks that are answered at one time. */
export const jobsShownMax = 10_000
export const tasksShownMax = 10_000

/** Why a task waits, and what would have to change. */
export interface Why {
  readonly sentence: string
  readonly remedies: readonly string[]
}

/** `index` names a task of an array or of a gang; null: the job as a whole. Throws `batch.unknown-job`, `batch.unknown-task`. */
export interface BatchOperations {
  /** Answers its number once it is durable. Throws `batch.*`, `scheduler.*`. */
  submit(submission: Submission, by: string): Promise<number>
  cancel(job: number, index: number | null, by: string): Promise<void>
  /** The newest first. */
  list(options: { readonly ended: boolean; readonly max: number }): Promise<readonly JobView[]>
  job(job: number): Promise<JobView>
  tasks(job: number, from: number, max: number): Promise<readonly TaskView[]>
  why(job: number, index: number | null): Promise<Why>
  /** The job now and after every change, until it has ended or the signal aborts. */
  watch(job: number, signal: AbortSignal): AsyncIterable<JobView>
  /** What a task prints; of the first task where none is named. With `follow` it waits for its start, and goes on over retries. */
  logs(job: number, index: number | null, options: LogOptions): AsyncIterable<LogLine>
  queues(): Promise<readonly QueueRecord[]>
  setQueue(queue: QueueRecord): Promise<void>
  /** Accounts of which something was set. */
  accounts(): Promise<readonly AccountRecord[]>
  setAccount(account: AccountRecord): Promise<void>
  reservations(): Promise<readonly ReservationRecord[]>
  /** Without nodes: of all that there are. Throws `batch.unknown-node`, `scheduler.duplicate-name`. */
  reserve(reservation: ReservationRecord): Promise<void>
  /** Throws `scheduler.unknown-name`. */
  release(reservation: string): Promise<void>
  /** `cordoned` takes in nothing new; `drained` also gives back what it has. Throws `batch.unknown-node`. */
  setNode(node: string, state: NodeState, by: string): Promise<void>
  usage(): Promise<readonly UsageRecord[]>
  nodes(): Promise<readonly NodeView[]>
}
