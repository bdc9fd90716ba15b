/** Answers what is asked about submitted jobs. Invariant: a follower hears every attempt of its task, and ends with it. */
import type { TaskView } from '../batch/index.ts'
import type { BatchOperations, LogOptions } from '../operator/index.ts'
import type { LogLine } from '../protocol/index.ts'
import type { Platform } from './platform.ts'

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
      for await (const _ of turns(batch, signal)) {
        const job = batch.job(id)
        yield job
        if (job.endedMs !== null) return
      }
    },
    logs: (job, index, options) => followed({ batch, taskLogs }, job, index, options),
    queues: async () => batch.queues(),
    setQueue: (queue) => batch.setQueue(queue),
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
  for await (const _ of turns(batch, signal)) {
    const task = batch.task(job, index)
    const over = !unended.includes(task.phase)
    if (task.attempt > attempt && task.node !== null && task.output === null) {
      attempt = task.attempt
      // One that has not begun yet on its node has no output; its follower waits.
      try {
        yield* taskLogs({ id: task.id, node: task.node }, { tail, follow: follow && !over, signal })
      } catch (error) {
        if (!follow || over) throw error
        attempt -= 1
      }
    }
    const now = batch.task(job, index)
    if (!follow || (!unended.includes(now.phase) && now.attempt === attempt)) return
    if (!unended.includes(now.phase) && (now.node === null || now.output !== null)) return
  }
}

/** Yields now and after every turn, until the signal aborts. */
async function* turns(batch: Platform['batch'], signal: AbortSignal): AsyncIterable<void> {
  let changed = true
  let wake = (): void => {}
  using _listening = batch.onChange(() => {
    changed = true
    wake()
  })
  const onAbort = (): void => wake()
  signal.addEventListener('abort', onAbort)
  try {
    while (!signal.aborted) {
      if (!changed) await new Promise<void>((resolve) => (wake = resolve))
      if (signal.aborted) return
      changed = false
      yield
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
