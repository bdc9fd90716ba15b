/**
 * The output of an app's parts as one stream. Invariant: following takes up instances that come later (a rollout, a job
 * that is due), so that it shows what runs now and not what ran when it was asked.
 */
import { SteadError } from '../base/index.ts'
import type { LogOptions } from '../operator/index.ts'
import type { LogLine } from '../protocol/index.ts'
import type { Platform } from './platform.ts'

/** Lines that may wait for a slow reader; then the streams wait too. */
const waitingMax = 1000

type Source = Pick<Platform, 'view' | 'logs' | 'onChange'>

/** The output of one part, or of all when `part` is null, in the order of time as far as it is kept. Throws `cli.unknown-part`. */
export function logsOf(
  platform: Source,
  app: string,
  part: string | null,
  options: LogOptions,
): AsyncIterable<LogLine> {
  const names = platform.view(app)?.app.graph.parts.map((candidate) => candidate.name) ?? []
  if (part !== null && !names.includes(part)) {
    throw new SteadError({
      code: 'cli.unknown-part',
      message: `${app} has no part called ${part}`,
      hint: `It has: ${names.join(', ')}.`,
    })
  }
  return options.follow ? following(platform, app, part, options) : kept(platform, app, part, options)
}

/** What is kept, in the order of time. */
async function* kept(platform: Source, app: string, part: string | null, options: LogOptions): AsyncIterable<LogLine> {
  const streams = assignmentsOf(platform, app, part).map((id) => Array.fromAsync(platform.logs(id, options)))
  const lines = (await Promise.all(streams)).flat()
  yield* lines.toSorted((a, b) => a.timeMs - b.timeMs).slice(options.tail === null ? 0 : -options.tail)
}

/** What has output now: instances, and resources with a server. */
function assignmentsOf(platform: Source, app: string, part: string | null): string[] {
  const view = platform.view(app)
  const instances = view?.instances.map(({ record }) => ({ part: record.part.name, id: record.id })) ?? []
  const servers = view?.resources.filter(({ status }) => status?.pid !== null) ?? []
  const resources = servers.map((resource) => ({ part: resource.part, id: `${app}.${resource.part}` }))
  return [...instances, ...resources].filter((source) => part === null || source.part === part).map(({ id }) => id)
}

/** Several endless streams as one, in the order of arrival, until the signal aborts. */
async function* following(
  platform: Source,
  app: string,
  part: string | null,
  options: LogOptions,
): AsyncIterable<LogLine> {
  const waiting: LogLine[] = []
  const known = new Set<string>()
  const held: (() => void)[] = []
  let wake: () => void = () => {}
  const read = async (id: string, tail: number | null): Promise<void> => {
    for await (const line of platform.logs(id, { ...options, tail })) {
      waiting.push(line)
      wake()
      if (waiting.length >= waitingMax) await new Promise<void>((resolve) => held.push(resolve))
    }
  }
  const look = (tail: number | null): void => {
    for (const id of assignmentsOf(platform, app, part)) {
      if (known.has(id)) continue
      known.add(id)
      // A node that goes away ends its streams.
      read(id, tail).catch(() => {})
    }
  }
  const onAbort = (): void => wake()
  using _listening = platform.onChange(() => look(null))
  options.signal.addEventListener('abort', onAbort)
  look(options.tail)
  while (!options.signal.aborted) {
    yield* waiting.splice(0)
    for (const go of held.splice(0)) go()
    if (waiting.length === 0 && !options.signal.aborted) await new Promise<void>((resolve) => (wake = resolve))
  }
}
