/**
 * All that is remembered of jobs, queues and use, and which records of it have changed. Invariant: whatever changes here is
 * among the writes that are taken next.
 */
import type { AccountUse } from '../scheduler/index.ts'
import { unknownJob } from './errors.ts'
import type { LoadRecord } from './load.ts'
import type { BatchJob } from './job.ts'
import { endedJobsMax } from './limits.ts'
import {
  type AccountRecord,
  type BatchRecords,
  defaultQueue,
  type JobRecord,
  keys,
  type QueueRecord,
  type ReservationRecord,
} from './records.ts'
import { chunkSize, type Task } from './task-table.ts'
import { Usage } from './usage.ts'

/** A record to write; null: to delete. */
export type Write = readonly [key: string, value: unknown]

export class Ledger {
  readonly jobs: Map<number, BatchJob> = new Map()
  readonly unended: Set<number> = new Set()
  readonly queues: Map<string, QueueRecord> = new Map([[defaultQueue.name, defaultQueue]])
  readonly accounts: Map<string, AccountRecord> = new Map()
  readonly reservations: Map<string, ReservationRecord> = new Map()
  readonly usage: Usage = new Usage()
  #writes = new Map<string, unknown>()
  readonly #dirty = new Set<BatchJob>()
  #nextId = 1

  get nextId(): number {
    return this.#nextId
  }

  /** Throws `batch.unknown-job`. */
  need(id: number): BatchJob {
    const job = this.jobs.get(id)
    if (job === undefined) throw unknownJob(id)
    return job
  }

  queueOf(job: BatchJob): QueueRecord {
    return this.queues.get(job.record.submission.queue) ?? defaultQueue
  }

  add(job: BatchJob): void {
    this.#nextId = job.id + 1
    this.#writes.set(keys.next, this.#nextId)
    this.jobs.set(job.id, job)
    this.unended.add(job.id)
    this.save(job, {})
  }

  save(job: BatchJob, change: Partial<JobRecord>): void {
    job.record = { ...job.record, ...change }
    this.#writes.set(keys.job(job.id), job.record)
  }

  change(job: BatchJob, position: number, change: Partial<Task>): Readonly<Task> {
    job.touch(position)
    this.#dirty.add(job)
    return job.tasks.change(position, change)
  }

  setQueue(queue: QueueRecord): void {
    this.queues.set(queue.name, queue)
    this.#writes.set(keys.queue(queue.name), queue)
  }

  setAccount(account: AccountRecord): void {
    this.accounts.set(account.name, account)
    this.#writes.set(keys.account(account.name), account)
  }

  /** Null: it is over. */
  setReservation(name: string, reservation: ReservationRecord | null): void {
    if (reservation === null) this.reservations.delete(name)
    else this.reservations.set(name, reservation)
    this.#writes.set(keys.reservation(name), reservation)
  }

  setUsed(used: readonly AccountUse[]): void {
    this.#writes.set(keys.used, used)
  }

  setLoad(node: string, record: LoadRecord | null): void {
    this.#writes.set(keys.load(node), record)
  }

  /** Ends a job; answers the oldest of those that ended when there are more than may be remembered. */
  end(job: BatchJob, nowMs: number): BatchJob | null {
    this.unended.delete(job.id)
    this.save(job, { endedMs: nowMs })
    if (this.jobs.size - this.unended.size <= endedJobsMax) return null
    for (const [id, oldest] of this.jobs) if (!this.unended.has(id)) return oldest
    return null
  }

  forget(job: BatchJob): void {
    this.jobs.delete(job.id)
    this.#dirty.delete(job)
    this.#writes.set(keys.job(job.id), null)
    for (let chunk = 0; chunk * chunkSize < job.tasks.count; chunk++) this.#writes.set(keys.tasks(job.id, chunk), null)
  }

  restore(records: BatchRecords, jobOf: (record: JobRecord) => BatchJob): void {
    this.#nextId = records.nextId
    for (const queue of records.queues) this.queues.set(queue.name, queue)
    for (const account of records.accounts) this.accounts.set(account.name, account)
    for (const reservation of records.reservations) this.reservations.set(reservation.name, reservation)
    this.usage.restore(records.usage)
    for (const record of records.jobs.toSorted((a, b) => a.id - b.id)) {
      const job = jobOf(record)
      for (const rows of records.tasks.get(record.id) ?? []) job.tasks.restore(rows)
      this.jobs.set(record.id, job)
      if (record.endedMs === null) this.unended.add(record.id)
    }
  }

  take(): readonly Write[] {
    for (const job of this.#dirty) {
      for (const chunk of job.dirty) this.#writes.set(keys.tasks(job.id, chunk), job.tasks.record(chunk))
      job.dirty.clear()
    }
    this.#dirty.clear()
    for (const record of this.usage.changed()) this.#writes.set(keys.usage(record.account, record.app), record)
    const writes = [...this.#writes]
    this.#writes = new Map()
    return writes
  }
}
