/**
 * The rehearsal of a release: its migrations run on a copy of the live data and are measured, then its services run on that
 * copy, as a branch that nobody can reach, until they are ready.
 *
 * Invariant: however it ends, the branch and the copy are gone; what a crash leaves is found by the next rehearsal and by
 * the next start of control.
 */
import { type Clock, sleep, SteadError } from '../base/index.ts'
import type { DataAnswers, DataResource, DataTask, RehearsedStatement } from '../protocol/index.ts'
import { branchApp, branchOf } from './branches.ts'
import type { KeptRelease } from './kept.ts'
import { look } from './look.ts'
import type { ControlState, DesiredApp } from './state.ts'

/** A lock that keeps others from a table longer than this refuses a release, unless a person allows more. */
export const lockMsMax = 2000

/** How long its services may take to get ready. */
const readyMs = 120_000
const lookMs = 100

/** What a rehearsal does in the world. */
export interface Rehearsing {
  readonly clock: Clock
  readonly state: () => ControlState
  readonly ask: <T extends DataTask>(home: string, app: string, task: T) => Promise<DataAnswers[T['do']]>
  /** Makes an app be, or (`null`) not be any more. */
  readonly put: (name: string, app: DesiredApp | null) => Promise<void>
}

/** The resources of a release, as a node is told of them for work on copies. */
export function resourcesFor({ graph, bundles }: Pick<KeptRelease, 'graph' | 'bundles'>): DataResource[] {
  return graph.parts
    .filter((part) => part.kind === 'resource')
    .map(({ name, type, config }) => ({ part: name, type, config, bundle: bundles[name] ?? null }))
}

/** Rehearses a release. Answers what a person may want to know, a line each. Throws `control.rehearsal-refused`, and as the node does. */
export async function rehearse(
  own: Rehearsing,
  release: KeptRelease,
  home: string,
  copy: string,
): Promise<readonly string[]> {
  const name = branchApp(release.app, copy)
  await own.put(name, null)
  await own.ask(home, release.app, { do: 'delete', names: [copy] })
  try {
    const resources = resourcesFor(release)
    const { statements, refusals, tookMs } = await own.ask(home, release.app, {
      do: 'rehearse',
      copy,
      resources,
      lockMsMax: release.lockMsMax ?? lockMsMax,
    })
    if (refusals.length > 0) throw refused(refusals.join('; '))
    const lines = [
      `${statements.length} statements ran on a copy of the data in ${seconds(tookMs)}`,
      ...slowest(statements),
    ]
    const branch = { app: release.app, copy, purpose: 'rehearsal', by: 'the rehearsal' } as const
    await own.put(name, branchOf({ ...release, home }, name, null, branch))
    lines.push(`its services got ready on the copy in ${seconds(await ready(own, name))}`)
    return lines
  } finally {
    await own.put(name, null)
    await own.ask(home, release.app, { do: 'delete', names: [copy] })
  }
}

async function ready(own: Rehearsing, name: string): Promise<number> {
  const startMs = own.clock.monotonicMs()
  for (;;) {
    const state = own.state()
    const app = state.apps.get(name)
    if (app === undefined) throw refused('the copy was taken away')
    const { resources, instances } = look(state, app, true)
    for (const progress of [resources, instances])
      if (progress.state === 'failed')
        throw refused(`${progress.part} does not get ready on a copy of the data: ${progress.reason}`)
    const tookMs = own.clock.monotonicMs() - startMs
    if (resources.state === 'done' && instances.state === 'done') return tookMs
    if (tookMs > readyMs) {
      const waits =
        resources.state === 'pending' ? resources.waitsFor : instances.state === 'pending' ? instances.waitsFor : null
      throw refused(
        `it does not get ready on a copy of the data within ${seconds(readyMs)}; it waits for ${waits ?? 'its node'}`,
      )
    }
    await sleep(own.clock, lookMs)
  }
}

function slowest(statements: readonly RehearsedStatement[]): string[] {
  const [first] = statements.toSorted((a, b) => b.durationMs - a.durationMs)
  const locks = statements.flatMap((statement) => statement.locks).toSorted((a, b) => b.heldMs - a.heldMs)
  const [longest] = locks
  return [
    ...(first === undefined
      ? []
      : [`the slowest took ${seconds(first.durationMs)}: ${first.file}:${first.line} ${first.text}`]),
    ...(longest === undefined
      ? []
      : [`the longest lock: ${longest.table}, ${lockName(longest)}, ${seconds(longest.heldMs)}`]),
  ]
}

function lockName({ mode, rows }: RehearsedStatement['locks'][number]): string {
  return rows === undefined ? mode : `${mode} (${rows} rows)`
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

function refused(why: string): SteadError {
  return new SteadError({
    code: 'control.rehearsal-refused',
    message: why,
    hint: 'Nothing was changed. Mend it and deploy again.',
  })
}
