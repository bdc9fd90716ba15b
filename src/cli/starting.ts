/** The start of an app as a person follows it: what will start, each part as it gets ready, and why one does not. */
import type { AppView } from '../control/index.ts'
import type { Graph, Part } from '../model/index.ts'
import type { Built } from './bundling.ts'
import { logsOf } from './log-streams.ts'
import type { Machine } from './machine.ts'
import type { Platform } from './platform.ts'
import { isHosted } from './release-text.ts'
import { paint, type Steps } from './terminal.ts'

/** How many last lines of output are shown of a part that does not get ready. */
const tailLines = 20

/** Says what will be started, and what is weaker than it could be, before anything is. */
export function announce(graph: Graph, machine: Machine, steps: Steps): void {
  const names = (kind: string): string =>
    graph.parts
      .filter((part) => part.kind === kind)
      .map((part) => part.name)
      .join(', ')
  const resources = graph.parts.flatMap((part) => (part.kind === 'resource' ? [`${part.name} (${part.type})`] : []))
  const all = [
    ['services', names('service')],
    ['jobs', names('job')],
    ['resources', resources.join(', ')],
  ].flatMap(([kind, list]) => (list === '' ? [] : [`${kind} ${list}`]))
  steps.say(`  ${paint('bold', graph.app, process.stderr)} will start: ${all.join('; ')}`)
  for (const part of graph.parts) {
    if (part.kind !== 'resource' || !isHosted(part.config)) continue
    const what = `${part.name}: hosted elsewhere; it is in no checkpoint, and its data go back with no release`
    steps.say(`  ${paint('yellow', 'weaker', process.stderr)} ${what}`)
  }
  for (const line of machine.weaker) steps.say(`  ${paint('yellow', 'weaker', process.stderr)} ${line}`)
}

/** A part that did not come up, and why. */
export interface Failed {
  readonly part: Part
  readonly reason: string
}

/** In the reason of a part that waits until somebody sets a secret. */
export const waitsForPerson = 'has no value'

/** Prints a line for each part as it gets ready, and for what goes wrong meanwhile. Answers what failed, or null when all are ready. */
export async function followStart(
  platform: Platform,
  graph: Graph,
  steps: Steps,
  signal: AbortSignal,
): Promise<Failed | null> {
  // An abort that has been is not told again.
  if (signal.aborted) return null
  const startMs = performance.now()
  const told = new Set<string>()
  const troubles = new Map<string, string>()
  const { promise, resolve } = Promise.withResolvers<Failed | null>()
  const look = (): void => {
    const view = platform.view(graph.app)
    if (view === null) return
    for (const part of graph.parts) {
      if (told.has(part.name)) continue
      const state = stateOf(view, part.name)
      const trouble = troubleOf(view, part.name)
      if (state === 'failed') return resolve({ part, reason: trouble ?? 'it ended' })
      if (state !== 'ready') {
        const first = trouble?.split('\n')[0]
        if (first === undefined || troubles.get(part.name) === first) continue
        troubles.set(part.name, first)
        const again = first.includes(waitsForPerson) ? '' : '; trying again'
        steps.say(`  ${paint('yellow', part.name, process.stderr)} ${first}${again}`)
        continue
      }
      told.add(part.name)
      const what = part.kind === 'resource' ? part.type : part.kind
      const word = isKeptStopped(view, part.name)
        ? `is kept stopped, see \`stead start ${part.name}\``
        : readyWord(part)
      steps.done(`${part.name} (${what}) ${word}`, performance.now() - startMs)
    }
    if (told.size === graph.parts.length) resolve(null)
  }
  using _listening = platform.onChange(look)
  signal.addEventListener('abort', () => resolve(null), { once: true })
  look()
  // Awaited here, so that it listens until then.
  return await promise
}

/** How often it is looked again while nothing is told: what has not changed is in force at once. */
const lookMs = 200

/** Waits until a change is in force, or a part of it gave up. Answers what failed, or null. */
export async function followChange(platform: Platform, built: Built, signal: AbortSignal): Promise<Failed | null> {
  const { promise, resolve } = Promise.withResolvers<Failed | null>()
  const look = (): void => {
    const view = platform.view(built.graph.app)
    if (view === null) return
    let done = view.resources.every(({ current }) => current)
    for (const part of built.graph.parts) {
      const own = view.instances.filter(({ record }) => record.part.name === part.name && record.phase === 'active')
      const fresh = own.filter(({ record }) => record.bundle === built.bundles[part.name])
      const statuses =
        part.kind === 'resource'
          ? view.resources
              .filter(({ part: name, current }) => name === part.name && current)
              .map(({ status }) => status)
          : fresh.map(({ status }) => status)
      const failed = statuses.find((status) => status?.phase === 'gave-up')
      if (failed) return resolve({ part, reason: failed.reason ?? 'it ended' })
      if (part.kind !== 'service' || isKeptStopped(view, part.name)) continue
      const ready = statuses.filter((status) => status?.phase === 'ready').length
      if (own.length > fresh.length || ready < part.replicas) done = false
    }
    if (done) resolve(null)
  }
  const again = setInterval(look, lookMs)
  using _listening = platform.onChange(look)
  signal.addEventListener('abort', () => resolve(null), { once: true })
  try {
    return await promise
  } finally {
    clearInterval(again)
  }
}

/** Why a part that has tried to run does not, in the agent's words. */
function troubleOf(view: AppView, part: string): string | null {
  const statuses = [
    ...view.instances.filter(({ record }) => record.part.name === part).map(({ status }) => status),
    view.resources.find((resource) => resource.part === part)?.status ?? null,
  ]
  const phases: readonly (string | undefined)[] = ['backing-off', 'gave-up', 'failed']
  const waiting = statuses.find((status) => status?.reason?.includes(waitsForPerson) === true)
  return (statuses.find((status) => phases.includes(status?.phase)) ?? waiting)?.reason ?? null
}

function stateOf(view: AppView, part: string): 'ready' | 'failed' | 'coming' {
  const declared = view.app.graph.parts.find((candidate) => candidate.name === part)
  const resource = view.resources.find((candidate) => candidate.part === part)
  const own = view.instances.filter(({ record }) => record.part.name === part && record.phase === 'active')
  const phases = declared?.kind === 'resource' ? [resource?.status?.phase] : own.map(({ status }) => status?.phase)
  // As somebody has asked for.
  if (isKeptStopped(view, part)) return 'ready'
  // A scheduled job is in order whatever became of its last run.
  if (declared?.kind === 'job' && declared.schedule !== null) return 'ready'
  if (phases.some((phase) => phase === 'gave-up' || phase === 'failed')) return 'failed'
  if (declared?.kind === 'job') return phases.includes('succeeded') ? 'ready' : 'coming'
  const wanted = declared?.kind === 'service' ? declared.replicas : 1
  return phases.filter((phase) => phase === 'ready').length >= wanted ? 'ready' : 'coming'
}

/** The last lines of a program that failed. Those of a resource's server are in its reason where they say something. */
export async function showLastLines(platform: Platform, app: string, part: Part, steps: Steps): Promise<void> {
  if (part.kind === 'resource') return
  const lines: string[] = []
  const signal = AbortSignal.timeout(2000)
  for await (const line of logsOf(platform, app, part.name, { tail: tailLines, follow: false, signal }))
    lines.push(line.text)
  if (lines.length === 0) return steps.say(`  ${part.name} printed nothing.`)
  steps.say(`  The last lines of ${part.name}:`)
  for (const line of lines.slice(-tailLines)) steps.say(`    ${line}`)
}

function isKeptStopped(view: AppView, part: string): boolean {
  return (view.orders.get(part)?.stopped ?? null) !== null
}

function readyWord(part: Part): string {
  if (part.kind !== 'job') return 'is ready'
  return part.schedule === null ? 'has run' : 'is scheduled'
}
