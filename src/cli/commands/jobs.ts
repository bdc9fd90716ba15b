/** `stead jobs`: the jobs of an app, when each is due, and what became of its last runs. */
import type { JobRunStatus, JobStatus } from '../../operator/index.ts'
import type { Command } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { needTarget } from '../target.ts'
import { duration, paint, print, table } from '../terminal.ts'

/** Runs that are shown of each job, without --all. */
const shownMax = 5

export const jobsCommand: Command = {
  name: 'jobs',
  usage: '[APP]',
  summary: 'jobs: when they are due, and how their last runs ended',
  help: `  --job NAME    only this one
  --all         every run that is remembered (the last 50), not only the last ${shownMax}
  --json        as JSON, with every run
  APP is a directory (default: here), or the name of an app that \`stead serve\` runs.
  Exit code 4 when the last run of a job failed.
  Example: stead jobs --job tidy --all`,
  options: { job: { type: 'string' }, all: { type: 'boolean' } },
  argumentsMax: 1,
  async run(input) {
    const { operator, app } = await needTarget(input.arguments[0] ?? null)
    const jobs = await operator.jobs(app, input.text('job'))
    if (input.json) print(JSON.stringify({ app, jobs }))
    else printJobs(jobs, input.flag('all') ? Number.POSITIVE_INFINITY : shownMax)
    const failed = jobs.some(({ runs }) => runs.find((run) => run.outcome !== 'left-out')?.outcome === 'failed')
    return failed ? exitCodes.degraded : exitCodes.ok
  },
}

function printJobs(jobs: readonly JobStatus[], max: number): void {
  if (jobs.length === 0) return print('It has no jobs.')
  for (const job of jobs) {
    const when = job.schedule === null ? 'once for every release' : `"${job.schedule}" ${job.timeZone}`
    const next =
      job.stoppedBy !== null
        ? paint('yellow', `stopped by ${job.stoppedBy}`)
        : job.nextMs === null
          ? ''
          : `next ${momentOf(job.nextMs)}`
    const waiting = job.waiting === 0 ? '' : `${job.waiting} waiting`
    print([paint('bold', job.part), when, next, waiting].filter((text) => text !== '').join('  '))
    const rows = job.runs.slice(0, max).map(rowOf)
    print(rows.length === 0 ? paint('dim', '  has not run yet') : table(rows))
  }
}

function rowOf(run: JobRunStatus): string[] {
  const took = run.startMs === null ? '' : duration((run.endMs ?? Date.now()) - run.startMs)
  const causes = { schedule: '', missed: 'late', release: 'release', person: `by ${run.by ?? 'somebody'}` }
  const colour = ({ running: 'cyan', succeeded: 'green', failed: 'red' } as const)[run.outcome as 'running']
  const outcome = run.times === 1 ? run.outcome : `${run.outcome} × ${run.times}`
  return [
    `  ${momentOf(run.dueMs)}`,
    colour === undefined ? paint('dim', outcome) : paint(colour, outcome),
    took,
    causes[run.cause],
    run.outcome === 'succeeded' ? '' : (run.sentence ?? ''),
  ]
}

/** `2026-11-29 03:00:00Z`. */
function momentOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')}Z`
}
