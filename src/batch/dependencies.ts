/** What a job waits for: those that are still open, and whether it can never start. Jobs that have ended are judged here, since the scheduler forgets them. */
import type { Dependency } from '../scheduler/index.ts'
import { unknownJob } from './errors.ts'
import type { BatchJob } from './job.ts'
import type { Submission } from './submission.ts'

export interface Dependencies {
  /** For the scheduler. */
  readonly open: readonly Dependency[]
  /** Why it can never start; null: it can. */
  readonly never: string | null
}

/** Throws `batch.unknown-job`. */
export function dependenciesOf({ after }: Submission, known: (id: number) => BatchJob | undefined): Dependencies {
  const open: Dependency[] = []
  let never: string | null = null
  for (const { job: id, when } of after) {
    const job = known(id)
    if (job === undefined) throw unknownJob(id)
    if (job.record.endedMs === null) {
      if (when === 'start' && job.tasks.in('waiting') < job.tasks.count) continue
      open.push({ job: String(id), when })
      continue
    }
    const well = job.tasks.in('succeeded') === job.tasks.count
    if (when === 'success' && !well) never ??= `job ${id} did not end well`
    if (when === 'failure' && well) never ??= `job ${id} did not fail`
  }
  return { open, never }
}
