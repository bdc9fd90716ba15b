/** Answers what is asked about submitted jobs. Invariant: a follower hears every attempt of its task, and ends with it. */
import { setTimeout as pause } from 'node:timers/promises'
import type { TaskView } from '../batch/index.ts'
import type { BatchOperations, LogOptions } from '../operator/index.ts'
import type { LogLine } from '../protocol/index.ts'
import { changeTurns } from './change-turns.ts'
import type { Platform } from './platform.ts'

/** How soon a node is asked again that could not tell. */
const retryMs = 150

/** Who watches is told this often at most. */
const watchPauseMs = 50

const unended: readonly TaskView['phase'][] = ['waiting', 'running', 'stopping']

export function batchOperations({ batch, taskLogs }: Pick<Platform, 'batch' | 'taskLogs'>): BatchOperations {
  return {
    submit: (submission, by) => batch.submit(submission, by),
    cancel: (job, index, by) => batch.cancel(job, index, by),
    list: async (options) => batch.jobs(options),
    job: async (job) => batch.job(job),
    tasks: async (job, from, max) => batch.tasks(job, from, max),
    why: async (job, index) => batch.why(job, index),
    async *watch(id, signal) {
      for await (const _ of changeTurns(batch, { first: true, pauseMs: watchPauseMs }, signal)) {
        const job = batch.job(id)
        yield job
        if (job.endedMs !== null) return
      }
    },
    logs: (job, index, options) => followed({ batch, taskLogs }, job, index, options),
    queues: async () => batch.queues(),
    setQueue: (queue) => batch.setQueue(queue),
    accounts: async () => batch.accounts(),
    setAccount: (account) => batch.setAccount(account),
    reservations: async () => batch.reservations(),
    reserve: (reservation) => batch.reserve(reservation),
    release: (reservation) => batch.release(reservation),
    setNode: (node, state, by) => batch.setNode(node, state, by),
    usage: async () => batch.usage(),
    nodes: async () => batch.nodes(),
  }
}

async function* followed(
  { batch, taskLogs }: Pick<Platform, 'batch' | 'taskLogs'>,
  job: number,
  index: number | null,
  { tail, follow, signal }: LogOptions,
): AsyncIterable<LogLine> {
  let attempt = 0
  for await (const _ of changeTurns(batch, { first: true, pauseMs: 0 }, signal)) {
    const task = batch.task(job, index)
    if (hasOutput(task) && task.attempt > attempt) {
      attempt = task.attempt
      if (follow && !isOver(task)) yield* attemptOf({ batch, taskLogs }, job, index, { tail, follow, signal })
      else yield* taskLogs(task, { tail, follow: false, signal })
    }
    const now = batch.task(job, index)
    if (!follow || (isOver(now) && (!hasOutput(now) || now.attempt === attempt))) return
  }
}

type Told = TaskView & { readonly id: string }

function isOver({ phase }: TaskView): boolean {
  return !unended.includes(phase)
}

/** Whether a node keeps what the task printed. */
function hasOutput(task: Told): task is Told & { readonly node: string } {
  return task.ran && task.node !== null && task.output === null
}

/**
 * What an attempt prints, to its end. Its node may not have begun it yet, be away for a moment, or have nothing to follow before
 * the program is on record: until the end is known it is read again, from where it was, so that no line is missed or comes twice.
 */
async function* attemptOf(
  { batch, taskLogs }: Pick<Platform, 'batch' | 'taskLogs'>,
  job: number,
  index: number | null,
  { tail, signal }: LogOptions,
): AsyncIterable<LogLine> {
  const first = batch.task(job, index)
  if (!hasOutput(first)) return
  /** The time of the last line, and how many of that time there were. */
  let last = { timeMs: -Infinity, count: 0 }
  for (;;) {
    const task = batch.task(job, index)
    const goesOn = task.attempt === first.attempt && !isOver(task)
    const from = last
    let again = 0
    try {
      const options = { tail: from.count === 0 ? tail : null, follow: goesOn, signal }
      for await (const line of taskLogs(first, options)) {
        if (line.timeMs < from.timeMs) continue
        if (line.timeMs === from.timeMs && again++ < from.count) continue
        last = { timeMs: line.timeMs, count: line.timeMs === last.timeMs ? last.count + 1 : 1 }
        yield line
      }
      if (!goesOn || signal.aborted) return
    } catch (error) {
      if (!batch.task(job, index).ran) return
      if (!goesOn || signal.aborted) throw error
    }
    if (!isOver(batch.task(job, index))) await pause(retryMs)
  }
}
