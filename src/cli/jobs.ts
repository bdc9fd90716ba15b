/** Jobs as people and scripts are shown them, and a run that somebody follows. */
import { assert, SteadError } from '../base/index.ts'
import type { AppView, JobView } from '../control/index.ts'
import type { JobStatus, RunEvent } from '../operator/index.ts'
import type { Platform } from './platform.ts'

/** Lines of a run that wait for a slow reader; the newest of them are dropped then. */
const waitingMax = 10_000

/** The jobs of an app, or one of them. Throws `cli.unknown-part`. */
export function jobsOf(platform: Pick<Platform, 'view'>, app: string, part: string | null): readonly JobStatus[] {
  const view = platform.view(app)
  const jobs = view?.jobs ?? []
  if (part !== null && !jobs.some((job) => job.part === part)) {
    throw new SteadError({
      code: 'cli.unknown-part',
      message: `${app} has no job called ${part}`,
      hint: jobs.length === 0 ? 'It has no jobs.' : `It has: ${jobs.map((job) => job.part).join(', ')}.`,
    })
  }
  return jobs.filter((job) => part === null || job.part === part).map((job) => shown(job, view))
}

function shown(job: JobView, view: AppView | null): JobStatus {
  return { ...job, stoppedBy: view?.orders.get(job.part)?.stopped?.by ?? null, runs: job.runs.toReversed() }
}

type Source = Pick<Platform, 'operate' | 'view' | 'logs' | 'onChange'>

/** Starts a job; answers what tells of it until its end, or until the signal aborts. Throws what `control.operate` does. */
export async function runJob(
  platform: Source,
  asked: { readonly app: string; readonly part: string; readonly by: string },
  signal: AbortSignal,
): Promise<AsyncIterable<RunEvent>> {
  const instance = await platform.operate({ ...asked, kind: 'run' })
  assert(instance !== null, 'a run has an instance')
  return told(platform, asked, instance, signal)
}

async function* told(
  platform: Source,
  asked: { readonly app: string; readonly part: string },
  instance: string,
  signal: AbortSignal,
): AsyncIterable<RunEvent> {
  yield { kind: 'started', instance }
  const lines: Extract<RunEvent, { kind: 'line' }>[] = []
  let count = 0
  let wake = (): void => {}
  let end: RunEvent | null = null
  const over = new AbortController()
  const look = (): void => {
    const run = platform
      .view(asked.app)
      ?.jobs.find((job) => job.part === asked.part)
      ?.runs.find((candidate) => candidate.instance === instance)
    if (end !== null || (run !== undefined && run.outcome === 'running')) return
    const { outcome = 'stopped', exitCode = null, sentence = null } = run ?? {}
    end = { kind: 'ended', outcome, exitCode, sentence }
    over.abort()
    wake()
  }
  const take = ({ timeMs, text }: { timeMs: number; text: string }): void => {
    count += 1
    if (lines.length < waitingMax) lines.push({ kind: 'line', timeMs, text })
    wake()
  }
  const follow = async (): Promise<void> => {
    const until = AbortSignal.any([signal, over.signal])
    for await (const line of platform.logs(instance, { tail: null, follow: true, signal: until })) take(line)
  }
  using _listening = platform.onChange(look)
  const onAbort = (): void => wake()
  signal.addEventListener('abort', onAbort)
  // A node that goes away ends the stream; how the run ends is told by control.
  const following = follow().catch(() => {})
  look()
  while (!signal.aborted && end === null) {
    yield* lines.splice(0)
    if (lines.length === 0 && !over.signal.aborted && !signal.aborted)
      await new Promise<void>((resolve) => (wake = resolve))
  }
  await following
  yield* lines.splice(0)
  // What was printed last may not have come before the end was known.
  const seen = count
  const rest: { timeMs: number; text: string }[] = []
  const all = platform.logs(instance, { tail: null, follow: false, signal })
  await Array.fromAsync(all)
    .then((kept) => rest.push(...kept.slice(seen)))
    .catch(() => {})
  for (const { timeMs, text } of rest) yield { kind: 'line', timeMs, text }
  if (end !== null) yield end
}
