/** Follows a job to its end: what it prints, and how it ends. Invariant: the exit code is the program's, or 1 when it has none. */
import type { JobView } from '../../batch/index.ts'
import type { OperatorClient } from '../../operator/index.ts'
import { exitCodes } from '../exit-codes.ts'
import { note, print } from '../terminal.ts'

/** Tasks whose output is followed at once. */
const followedMax = 32

type Client = OperatorClient['batch']

/** Prints what the tasks of a job print, each line of several with its task, until all have ended or the signal aborts. */
export async function printOutput(
  batch: Client,
  job: JobView,
  options: {
    readonly index: number | null
    readonly follow: boolean
    readonly tail: number | null
    readonly json: boolean
  },
  signal: AbortSignal,
): Promise<void> {
  const { index, follow, tail, json } = options
  const all = index === null && job.count > 1
  const indexes = all ? (await batch.tasks(job.job, 0, followedMax)).map((task) => task.index) : [index]
  if (all && job.count > followedMax && follow)
    note(
      `the first ${followedMax} of ${job.count} tasks are followed; the rest is in \`stead job logs ${job.job}/TASK\``,
    )
  const one = async (task: number | null): Promise<void> => {
    for await (const line of batch.logs(job.job, task, { tail, follow, signal })) {
      if (json) print(JSON.stringify({ task, ...line }))
      else print(all ? `${task}| ${line.text}` : line.text)
    }
  }
  if (follow) await Promise.all(indexes.map(one))
  else for (const task of indexes) await one(task)
}

/** Waits for the end; answers the job as it is then, or null when the signal aborts. */
export async function waitFor(batch: Client, id: number, signal: AbortSignal): Promise<JobView | null> {
  let last: JobView | null = null
  for await (const job of batch.watch(id, signal)) last = job
  if (last?.endedMs !== null && last !== null) return last
  if (signal.aborted) return null
  const job = await batch.job(id)
  return job.endedMs === null ? waitFor(batch, id, signal) : job
}

/** The exit code of a job that has ended, with a word where it did not end well. */
export function exitOf(job: JobView): number {
  if (job.exitCode === 0) return exitCodes.ok
  const which = job.count > 1 ? `${job.tasks.succeeded ?? 0} of ${job.count} tasks ended well: ` : ''
  note(`job ${job.job} ${job.phase === 'failed' ? '' : `${job.phase}: `}${which}${job.sentence ?? 'did not end well'}`)
  return job.exitCode ?? exitCodes.failed
}

/** Aborts at Ctrl-C. */
export function interrupted(): AbortSignal & Disposable {
  const abort = new AbortController()
  const stop = (): void => abort.abort()
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  return Object.assign(abort.signal, {
    [Symbol.dispose]() {
      process.off('SIGINT', stop)
      process.off('SIGTERM', stop)
    },
  })
}
