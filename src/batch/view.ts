/** Jobs and tasks as they are shown. Data. */
import type { NodeOffer } from '../protocol/index.ts'
import type { BatchJob } from './job.ts'
import type { Submission } from './submission.ts'
import { phases, type TaskPhase } from './task-table.ts'

/** A job's own word for where it stands: that of its tasks which says most. */
export type JobPhase = Exclude<TaskPhase, 'stopping'>

export interface JobView {
  readonly job: number
  readonly name: string
  readonly by: string
  readonly account: string
  readonly app: string | null
  readonly queue: string
  readonly priority: number
  readonly phase: JobPhase
  readonly isolation: Submission['isolation']
  readonly kind: 'single' | 'array' | 'gang'
  readonly submittedMs: number
  readonly endedMs: number | null
  readonly cancelledBy: string | null
  /** How many tasks stand in each phase; those that are 0 are left out. */
  readonly tasks: Readonly<Partial<Record<TaskPhase, number>>>
  readonly count: number
  /** The exit code that `run` and `wait` end with: that of the first task that failed, or 1 when it has none; null while it goes on. */
  readonly exitCode: number | null
  /** How the first task that did not end well ended. */
  readonly sentence: string | null
}

export interface TaskView {
  /** Its number in the array or its rank; of a single job 0. */
  readonly index: number
  readonly position: number
  readonly phase: TaskPhase
  readonly attempt: number
  /** Its last attempt runs or ran, as far as is known: it may have printed something. */
  readonly ran: boolean
  readonly node: string | null
  readonly startedMs: number | null
  readonly endedMs: number | null
  readonly exitCode: number | null
  readonly sentence: string | null
  /** The file that has its output; null: the platform keeps it. */
  readonly output: string | null
}

export interface NodeView {
  readonly node: string
  readonly cpu: number
  readonly memoryBytes: number
  readonly gpus: NodeOffer['gpus']
  readonly labels: NodeOffer['labels']
  /** Cores on which time may be reserved. */
  readonly realtimeCores: number
  readonly counted: Readonly<Record<string, number>>
  /** How sure is what parts of apps will use there, which jobs leave to them; null: they do not. */
  readonly forecast: string | null
  readonly present: boolean
  /** Who wants it to take in nothing new; null: it takes in. */
  readonly cordonedBy: string | null
}

export function jobView(job: BatchJob): JobView {
  const { record, tasks } = job
  const { submission, by } = record
  const phase = phaseOf(job)
  const bad = record.endedMs === null ? null : firstBad(job)
  return {
    job: record.id,
    name: submission.name,
    by,
    account: submission.account ?? by,
    app: submission.app,
    queue: submission.queue,
    priority: submission.priority,
    phase,
    isolation: submission.isolation,
    kind: submission.array !== null ? 'array' : submission.gang !== null ? 'gang' : 'single',
    submittedMs: record.submittedMs,
    endedMs: record.endedMs,
    cancelledBy: record.cancelledBy,
    tasks: Object.fromEntries(phases.map((one) => [one, tasks.in(one)] as const).filter(([, count]) => count > 0)),
    count: tasks.count,
    exitCode: record.endedMs === null ? null : bad === null ? 0 : bad.exitCode,
    sentence: bad?.sentence ?? null,
  }
}

function phaseOf({ record, tasks }: BatchJob): JobPhase {
  if (record.endedMs === null)
    return tasks.in('running') + tasks.in('stopping') > 0 || tasks.over > 0 ? 'running' : 'waiting'
  if (tasks.in('succeeded') === tasks.count) return 'succeeded'
  const bad = (['failed', 'timed-out', 'gave-up', 'cancelled'] as const).find((phase) => tasks.in(phase) > 0)
  return bad ?? 'failed'
}

/** Failed before timed out before cancelled: a gang's task that failed says more than those ended with it. */
function firstBad({ tasks }: BatchJob): { readonly exitCode: number; readonly sentence: string | null } | null {
  if (tasks.in('succeeded') === tasks.count) return null
  for (const phase of ['failed', 'timed-out', 'gave-up', 'cancelled'] as const) {
    if (tasks.in(phase) === 0) continue
    for (const position of tasks.touched()) {
      const { phase: own, exit } = tasks.at(position)
      if (own === phase) return { exitCode: exitCodeOf(exit?.code ?? null), sentence: exit?.sentence ?? null }
    }
  }
  return null
}

function exitCodeOf(code: number | null): number {
  return code === null || code === 0 ? 1 : code
}

/** The scheduler's times count from 1970; people read moments. */
export function withMoments({ sentence, remedies }: Explained): Explained {
  const moments = (text: string): string =>
    text.replace(/(\d+(?:\.\d+)?) ms\b/g, (_, ms) => `${new Date(Number(ms)).toISOString().slice(0, 19)}Z`)
  return { sentence: moments(sentence), remedies: remedies.map(moments) }
}

interface Explained {
  readonly sentence: string
  readonly remedies: readonly string[]
}

/** Tasks from a position on. */
export function taskViews(
  job: BatchJob,
  from: number,
  max: number,
  outputOf: (position: number) => string | null,
): readonly TaskView[] {
  const length = Math.max(0, Math.min(max, job.tasks.count - from))
  return Array.from({ length }, (_, offset) => {
    const position = from + offset
    const { phase, attempt, node, startedMs, endedMs, exit } = job.tasks.at(position)
    return {
      index: job.indexOf(position),
      position,
      phase,
      attempt,
      ran: attempt > 0 && phase !== 'waiting' && exit?.cause !== 'not-started',
      node: node === '' ? null : node,
      startedMs: startedMs === 0 ? null : startedMs,
      endedMs: endedMs === 0 ? null : endedMs,
      exitCode: exit?.code ?? null,
      sentence: exit?.sentence ?? null,
      output: attempt === 0 ? null : outputOf(position),
    }
  })
}
