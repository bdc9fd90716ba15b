/**
 * What is found out about an app's data through the providers of its resources: what is declared and not in force, how that
 * goes on a copy, what has changed, and what differs between two copies.
 *
 * Invariants: the live data is only ever read, but for `replay`; copies that are made on the way are deleted whatever
 * happens, and those that a crash leaves go when the domain is opened the next time.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isSteadError, messageOf, randomId, SteadError } from '../base/index.ts'
import { stateType } from '../model/index.ts'
import type { Domain, DomainCopy } from '../domain/index.ts'
import type {
  Comparison,
  DataChange,
  DataEffect,
  DataResource,
  DataTask,
  Preview,
  Rehearsal,
  RehearsedStatement,
  ResourceAssignment,
} from '../protocol/index.ts'
import type { Pending, Position, Provider, ProviderContext } from '../provider/index.ts'
import { atRest, ensureRoom, ensureUnused } from './data-copies.ts'
import { type DataNeed, ensureFreeName, keepersOf, liveResources, refused } from './data-need.ts'
import { copyOf, placeOf, taskPrefix } from './domains.ts'
import { resourceContext } from './resource-context.ts'
import type { ResourceRunner } from './resource.ts'
import { runAlone, statePlace } from './state.ts'

const nothingPending: Pending = { migrates: 'none', contracts: false, statements: [] }

/** What is declared and not in force. Of a part that is not served here yet nothing is: it begins with all of it. */
export async function pending(
  need: DataNeed,
  app: string,
  resources: readonly DataResource[],
  signal: AbortSignal,
): Promise<readonly (Pending & { readonly part: string })[]> {
  const live = liveResources(need, app)
  const all: (Pending & { readonly part: string })[] = []
  for (const { part, type, config, bundle } of resources) {
    signal.throwIfAborted()
    const provider = providerOf(need, type)
    const runner = live.find(({ assignment }) => assignment.part === part && assignment.type === type)
    const asked =
      runner === undefined
        ? nothingPending
        : ((await provider.pending?.(await runner.liveContext({ config, bundle }))) ?? nothingPending)
    all.push({ ...asked, part })
  }
  return all
}

/** Runs what is declared on a new copy of the live data, which stays when all of it could be run. */
export async function rehearse(
  need: DataNeed,
  app: string,
  task: Extract<DataTask, { do: 'rehearse' }>,
  signal: AbortSignal,
): Promise<Rehearsal> {
  const { clock } = need.options
  const startMs = clock.monotonicMs()
  ensureFreeName(task.copy)
  for (const { part, type, bundle } of task.resources)
    if (bundle !== null && providerOf(need, type).rehearse === undefined)
      throw refused(
        `${part} cannot be rehearsed: the provider of ${type} does not know how`,
        'Deploy without a rehearsal.',
      )
  const domain = await need.domains.of(app)
  // One that is there is of a rehearsal that came to no end, or whose answer was lost.
  const left = (await domain.list()).find((copy) => copy.name === task.copy && copy.kind === 'clone')
  if (left !== undefined) {
    ensureUnused(need, app, task.copy)
    await domain.delete(task.copy)
  }
  await ensureRoom(domain)
  const undo = (): Promise<void> => domain.delete(task.copy)
  const { result: copy } = await atRest(need, domain, app, undo, () => domain.clone(task.copy, null))
  try {
    const statements: RehearsedStatement[] = []
    const refusals: string[] = []
    for (const resource of task.resources) {
      const provider = providerOf(need, resource.type)
      if (provider.rehearse === undefined) continue
      using place = copyContext(need, app, copy, resource, signal)
      const context = await place.context
      await makeUsable(provider, context)
      const trial = await provider.rehearse(context, task.lockMsMax)
      statements.push(...trial.statements.map((statement) => ({ ...statement, part: resource.part })))
      refusals.push(...trial.refusals)
    }
    signal.throwIfAborted()
    return { statements, refusals, tookMs: Math.round(clock.monotonicMs() - startMs) }
  } catch (error) {
    await domain.delete(task.copy)
    signal.throwIfAborted()
    throw error
  }
}

/** What was put back from a copy is as a crash would have left it; a part that was not there yet begins with nothing. */
async function makeUsable(provider: Provider, context: ProviderContext): Promise<void> {
  if (readdirSync(context.dataDir).length === 0) await provider.provision(context)
  else await provider.recover(context)
}

/** What has changed since a checkpoint, as the resources have counted it. */
export async function preview(need: DataNeed, app: string, since: string): Promise<Preview> {
  const domain = await need.domains.of(app)
  await copyOf(domain, since)
  const then = need.positions.at(app, since)
  const positions: Record<string, string> = {}
  const changes: DataChange[] = []
  const gaps: string[] = []
  if (then === null) gaps.push(`It was not noted where the data stood at ${since}.`)
  for (const runner of liveResources(need, app)) {
    const { part, type } = runner.assignment
    const provider = providerOf(need, type)
    // What has no server has no data here that could change (a secret).
    if (runner.sandbox === null && provider.position === undefined && type !== stateType) continue
    if (provider.position === undefined) {
      gaps.push(`${part} does not count what changes.`)
      continue
    }
    const now = await provider.position(await runner.liveContext())
    positions[part] = now.position
    const before = then?.[part] ?? null
    if (before === null) {
      if (then !== null) gaps.push(`${part} was not there at ${since}, or did not answer then.`)
      continue
    }
    if (now.countedSinceMs > before.countedSinceMs)
      gaps.push(`${part} counts since ${new Date(now.countedSinceMs).toISOString()}: there was more before.`)
    changes.push(...changesBetween(part, before, now))
  }
  return { positions, changes, gaps }
}

function changesBetween(part: string, before: Position, now: Position): DataChange[] {
  const isSame = now.countedSinceMs <= before.countedSinceMs
  return now.counts.flatMap(({ name, added, removed, changed }) => {
    const then = isSame ? before.counts.find((count) => count.name === name) : undefined
    const change = {
      part,
      name,
      added: Math.max(0, added - (then?.added ?? 0)),
      removed: Math.max(0, removed - (then?.removed ?? 0)),
      changed: Math.max(0, changed - (then?.changed ?? 0)),
    }
    return change.added + change.removed + change.changed === 0 ? [] : [change]
  })
}

/** What differs between two copies, part by part. */
export async function compare(
  need: DataNeed,
  app: string,
  task: Extract<DataTask, { do: 'compare' }>,
  signal: AbortSignal,
): Promise<Comparison> {
  const domain = await need.domains.of(app)
  for (const name of [task.before, task.after]) await copyOf(domain, name)
  await using before = await ownCopy(need, domain, task.before)
  await using after = await ownCopy(need, domain, task.after)
  const changes: DataChange[] = []
  const effects: DataEffect[] = []
  const gaps: string[] = []
  let exact = true
  const live = liveResources(need, app).map(({ assignment }) => assignment)
  const parts = new Set([before, after].flatMap(({ copy }) => readdirSync(copy.path)))
  for (const part of [...parts].toSorted()) {
    signal.throwIfAborted()
    const resource = live.find((other) => other.part === part)
    if (resource === undefined) {
      gaps.push(`${part} was not compared: no resource of that name is served here now.`)
      continue
    }
    const [left, right] = [join(before.copy.path, part), join(after.copy.path, part)]
    const isIn = [left, right].map((path) => existsSync(path) && readdirSync(path).length > 0)
    if (!isIn.includes(true)) continue
    if (isIn.includes(false)) {
      gaps.push(`${part} is only in ${isIn[0] === true ? task.before : task.after}.`)
      continue
    }
    using place = copyContext(need, app, after.copy, resource, signal)
    const context = await place.context
    try {
      const provider = providerOf(need, resource.type)
      const { items, exact: isExact, effects: own = [], gaps: more = [] } = await provider.diff(context, left, right)
      const about: Pick<DataChange, 'part' | 'replayable'> =
        provider.replay === undefined ? { part, replayable: false } : { part }
      changes.push(
        ...items.map((item) => ({ ...item, ...about })).filter((one) => one.added + one.removed + one.changed > 0),
      )
      effects.push(...own.map((effect) => ({ ...effect, part })))
      gaps.push(...more)
      exact &&= isExact
    } catch (error) {
      signal.throwIfAborted()
      if (!isSteadError(error)) throw error
      gaps.push(`${part} could not be compared: ${messageOf(error)}.`)
      exact = false
    }
  }
  return { changes, effects, exact, gaps }
}

/** Proves a copy, part by part; throws with what the provider found. Says which parts have nothing that could be proved. */
export async function verify(
  need: DataNeed,
  app: string,
  task: Extract<DataTask, { do: 'verify' }>,
  signal: AbortSignal,
): Promise<{ readonly checks: readonly string[] }> {
  const domain = await need.domains.of(app)
  await copyOf(domain, task.copy)
  const live = liveResources(need, app).map(({ assignment }) => assignment)
  const unknown = Object.keys(task.probes).find((part) => !live.some((resource) => resource.part === part))
  if (unknown !== undefined) throw refused(`${app} has no resource ${unknown} here`, 'See the parts of the app.')
  await using own = await ownCopy(need, domain, task.copy)
  const checks: string[] = []
  for (const resource of live) {
    const provider = providerOf(need, resource.type)
    const dir = join(own.copy.path, resource.part)
    if (!existsSync(dir) || readdirSync(dir).length === 0) continue
    if (resource.type === stateType) {
      checks.push(
        `${resource.part}: ${await verifyState(need, own.copy, resource, task.probes[resource.part] ?? null)}`,
      )
      continue
    }
    if (provider.verify === undefined) {
      checks.push(`${resource.part}: not checked, the provider of ${resource.type} does not know how`)
      continue
    }
    using place = copyContext(need, app, own.copy, resource, signal)
    const found = await provider.verify(await place.context, task.probes[resource.part] ?? null)
    checks.push(...found.checks.map((check) => `${resource.part}: ${check}`))
  }
  signal.throwIfAborted()
  return { checks }
}

/** Has a service restore and verify its state on a copy, as it would after going back; answers what was checked. */
async function verifyState(
  need: DataNeed,
  copy: DomainCopy,
  resource: ResourceAssignment,
  probe: string | null,
): Promise<string> {
  const { options } = need
  if (probe !== null)
    throw refused(`${resource.part} takes no question`, 'Its service declares a hook `verify` instead.')
  const state = statePlace(copy.path, resource, placeOf(resource))
  const keeper = keepersOf(need, resource.id)[0]?.assignment
  if (state === null || keeper === undefined) return 'not checked, as its service is not here'
  const { restore, verify: check, timeoutMs } = state.config
  if (check === null) return `not checked, as ${keeper.part} declares no hook verify`
  if (restore !== null) await runAlone(options, keeper, { hook: 'restore', argv: restore, timeoutMs, state })
  await runAlone(options, keeper, { hook: 'verify', argv: check, timeoutMs, state })
  return `${keeper.part} found it whole`
}

/** Copies rows that are only in a copy into the live data. */
export async function replay(
  need: DataNeed,
  app: string,
  task: Extract<DataTask, { do: 'replay' }>,
  signal: AbortSignal,
): Promise<{ readonly rows: number }> {
  const domain = await need.domains.of(app)
  await copyOf(domain, task.from)
  const runner = liveResources(need, app).find(({ assignment }) => assignment.part === task.part)
  if (runner === undefined) throw refused(`${app} has no resource ${task.part} here`, 'See the parts of the app.')
  const provider = providerOf(need, runner.assignment.type)
  if (provider.replay === undefined)
    throw refused(
      `rows of ${task.part} cannot be replayed: the provider of ${provider.type} does not know how`,
      'Copy them by hand.',
    )
  await using from = await ownCopy(need, domain, task.from)
  signal.throwIfAborted()
  const order = { table: task.table, where: task.where }
  return { rows: await provider.replay(await runner.liveContext(), join(from.copy.path, task.part), order) }
}

/** A writable copy of a copy, or (`null`) of the live data, for the time of a task. */
export async function ownCopy(
  need: DataNeed,
  domain: Domain,
  from: string | null,
): Promise<{ readonly copy: DomainCopy } & AsyncDisposable> {
  await ensureRoom(domain)
  const copy = await domain.clone(`${taskPrefix}${randomId(need.options.random)}`, from)
  return { copy, [Symbol.asyncDispose]: () => domain.delete(copy.name) }
}

type Resource = Pick<DataResource, 'part' | 'type' | 'config' | 'bundle'>

/** The context of a resource on a copy, with a directory of its own for sockets. */
export function copyContext(
  need: DataNeed,
  app: string,
  copy: DomainCopy,
  resource: Resource,
  signal: AbortSignal,
): { readonly context: Promise<ProviderContext> } & Disposable {
  const { options } = need
  const socketDir = join(options.runDir, `t${randomId(options.random)}`)
  mkdirSync(socketDir, { recursive: true, mode: 0o711 })
  const assignment = assignmentOf(liveResources(need, app), app, resource)
  const context = resourceContext(options, assignment, { tree: copy.path, socketDir, signal }, () =>
    Promise.resolve(''),
  )
  return { context, [Symbol.dispose]: () => rmSync(socketDir, { recursive: true, force: true }) }
}

/** The resource as it is served here, or as one would be that is not there yet. */
function assignmentOf(
  live: readonly ResourceRunner[],
  app: string,
  { part, type, config, bundle }: Resource,
): ResourceAssignment {
  const own = live.find(({ assignment }) => assignment.part === part)?.assignment
  const any = own ?? live[0]?.assignment
  if (any === undefined) throw refused(`nothing of ${app} is served here`, 'Deploy it first.')
  const [id, data] = [`${app}.${part}`, any.data]
  return { ...any, id, part, type, config, bundle, grants: [], revoked: [], ...(data === undefined ? {} : { data }) }
}

export function providerOf({ options }: DataNeed, type: string): Provider {
  const provider = options.providers.get(type)
  if (provider !== undefined) return provider
  throw new SteadError({
    code: 'agent.no-provider',
    message: `this node has no provider for ${type}`,
    hint: 'Upgrade the node.',
  })
}
