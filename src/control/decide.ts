/**
 * The heart of control: what is, and what should be, in; the next changes to the durable records, out. Pure, so that it
 * can be run through thousands of simulated histories.
 *
 * Invariants, held by the simulation:
 * - A changed part is replaced one by one: there is never more than one instance above the wanted number, and an old one
 *   retires only when a new one is ready. One that keeps state of its own has ended before the next is made, at its app's home.
 * - An old instance is told to stop only when every gateway and node has said that it uses it no more, or its lease is
 *   over, or the drain time has passed.
 * - With nothing to change there is no decision.
 */
import type { JobPart, Part, ServicePart } from '../model/index.ts'
import type { Phase } from '../protocol/index.ts'
import { currentPins, type Pins, pinsDiffer, refreshedPins } from './credentials.ts'
import { jobTurn } from './jobs.ts'
import {
  type ControlState,
  type DesiredApp,
  type InstanceRecord,
  besideOf,
  generationOf,
  isCurrent,
  isOfOtherData,
  isOver,
  isSetAside,
  type JobRecord,
  noOrder,
  partKey,
  type PartOrder,
  stateOf,
  usesData,
} from './state.ts'

/** Changes to the durable records; applied as one transaction. */
export interface Decision {
  readonly put: readonly InstanceRecord[]
  readonly remove: readonly string[]
  readonly jobs: readonly { readonly key: string; readonly record: JobRecord }[]
}

/** An old instance is stopped after this long even when something still uses it. */
export const drainMaxMs: number = 30_000
/** An instance on a node that has been away for this long is replaced elsewhere; should the node come back, one of both goes. */
export const nodeLostMs: number = 60_000
/** After its start control may not have heard of a gateway yet that still uses what was retired before. */
const gatewaysReturnMs = 10_000
/** How long a node that went away is waited for before an instance it may use is stopped. */
const nodeLeaseMs = 15_000
/** Finished runs of a job that are kept to look at. */
export const finishedRunsKept: number = 3

/** Phases of a job's run that has ended. */
export const finished: ReadonlySet<Phase> = new Set(['succeeded', 'failed'])

/** What to change now. `newId` makes a fresh id for an instance of a part. */
export function decide(state: ControlState, nowMs: number, newId: (app: string, part: string) => string): Decision {
  const put: InstanceRecord[] = []
  const remove: string[] = []
  const jobs: { key: string; record: JobRecord }[] = []

  // What works on data that is not live any more reaches it no more, and only stands in the way of what does.
  const [left, present] = split(state.instances.values(), (instance) => {
    const app = state.apps.get(instance.app)
    return app !== undefined && isOfOtherData(app, instance)
  })
  for (const instance of left)
    if (instance.phase !== 'stopping') put.push({ ...instance, phase: 'stopping', sinceMs: nowMs })
  const byPart = Map.groupBy(present, (instance) => partKey(instance.app, instance.part.name))
  for (const [appName, app] of state.apps) {
    for (const part of [...app.graph.parts, ...leavingParts(app)]) {
      if (part.kind === 'resource') continue
      const key = partKey(appName, part.name)
      const own = byPart.get(key) ?? []
      byPart.delete(key)
      const order = state.orders.get(key) ?? noOrder
      const pins = currentPins(state.credentials, appName, app.graph.parts, part)
      const create = (): InstanceRecord | null => {
        const made = newInstance(state, app, part, put, nowMs, newId)
        if (made !== null) put.push(made)
        return made
      }
      if (part.kind === 'service') serviceChanges(state, app, part, order, own, pins, nowMs, put, create)
      else jobChanges(state, app, part, order, own, pins, nowMs, put, remove, jobs, create)
    }
  }
  // What is left belongs to no part any more.
  for (const own of byPart.values()) for (const instance of own) retire(state, instance, nowMs, put)

  for (const instance of state.instances.values()) {
    if (put.some((changed) => changed.id === instance.id)) continue
    if (instance.phase === 'retiring' && (instance.part.kind === 'job' || isUnused(state, instance, nowMs))) {
      put.push({ ...instance, phase: 'stopping', sinceMs: nowMs })
    }
    if (instance.phase === 'stopping' && isOver(state, instance)) remove.push(instance.id)
  }
  return { put, remove, jobs }
}

function split<T>(all: Iterable<T>, isOne: (item: T) => boolean): readonly [T[], T[]] {
  const [one, other]: [T[], T[]] = [[], []]
  for (const item of all) (isOne(item) ? one : other).push(item)
  return [one, other]
}

/** An instance of a part as it is now, on the node that has the least to do; null without a node. `put` is being made beside it. */
export function newInstance(
  state: ControlState,
  app: DesiredApp,
  part: ServicePart | JobPart,
  put: readonly InstanceRecord[],
  nowMs: number,
  newId: (app: string, part: string) => string,
): InstanceRecord | null {
  const { generation } = state.orders.get(partKey(app.graph.app, part.name)) ?? noOrder
  const secrets = currentPins(state.credentials, app.graph.app, app.graph.parts, part)
  const node = nodeFor(state, app, part, generation, secrets, put)
  if (node === null) return null
  return {
    id: newId(app.graph.app, part.name),
    app: app.graph.app,
    node,
    part,
    bundle: app.bundles[part.name] ?? '',
    release: app.release,
    generation,
    phase: 'active',
    sinceMs: nowMs,
    retiredAtRevision: 0,
    secrets,
    ...(usesData(app.graph, part) && generationOf(app) > 1 ? { data: generationOf(app) } : {}),
  }
}

/** Services that only the release beside has. */
function leavingParts(app: DesiredApp): ServicePart[] {
  const parts = app.stage?.beside?.graph.parts ?? []
  const gone = parts.filter((part) => !app.graph.parts.some(({ name }) => name === part.name))
  return gone.filter((part) => part.kind === 'service')
}

/** Gives an instance the versions that it can take without being replaced. Answers what it has then. */
function refresh(
  state: ControlState,
  app: DesiredApp,
  instance: InstanceRecord,
  now: Pins,
  put: InstanceRecord[],
): Pins {
  const secrets = refreshedPins(state.credentials, app.graph.app, instance.part, instance.secrets, now)
  if (secrets !== instance.secrets) put.push({ ...instance, secrets })
  return secrets
}

function isReady(state: ControlState, instance: InstanceRecord): boolean {
  return state.statuses.get(instance.id)?.phase === 'ready'
}

/** Known not to serve. Of what nothing was heard yet, that is not known. */
function isIdle(state: ControlState, instance: InstanceRecord): boolean {
  return !isReady(state, instance) && state.nodes.get(instance.node)?.connected === true
}

/** Whether its node is away, and has been for so long that others take its place. */
function isLost(state: ControlState, instance: InstanceRecord, nowMs: number): boolean {
  const node = state.nodes.get(instance.node)
  return node !== undefined && !node.connected && nowMs - node.sinceMs >= nodeLostMs
}

function serviceChanges(
  state: ControlState,
  app: DesiredApp,
  part: ServicePart,
  order: PartOrder,
  own: readonly InstanceRecord[],
  pins: Pins,
  nowMs: number,
  put: InstanceRecord[],
  create: () => InstanceRecord | null,
): void {
  const leaving = !app.graph.parts.some(({ name }) => name === part.name)
  const runs = app.wanted && order.stopped === null && app.stage?.halted !== true
  const wanted = runs ? part.replicas : 0
  if (wanted === 0) {
    for (const instance of own) retire(state, instance, nowMs, put)
    return
  }
  // What is lost stays a record: its node is told what to do with it when it comes back.
  const active = own.filter(
    (instance) => instance.phase === 'active' && !isLost(state, instance, nowMs) && !isSetAside(state, instance),
  )
  for (const instance of own)
    if (isSetAside(state, instance) && isOver(state, instance)) retire(state, instance, nowMs, put)
  const beside = besideOf(app)
  const keepsState = stateOf(app.graph, part) !== null
  const stays = (instance: InstanceRecord): boolean => {
    // Two at once would write the same files.
    if (keepsState) return false
    const other = beside?.graph.parts.find(({ name }) => name === part.name)
    return beside !== null && other !== undefined && isCurrent(beside, other, order.generation, instance)
  }
  if (leaving) {
    for (const instance of own) if (!stays(instance)) retire(state, instance, nowMs, put)
    return
  }
  // What takes a new secret as it runs does so; everything else is replaced for it.
  const refreshed = new Map(active.map((instance) => [instance.id, refresh(state, app, instance, pins, put)]))
  const isFresh = (instance: InstanceRecord): boolean =>
    isCurrent(app, part, order.generation, instance) &&
    !pinsDiffer(refreshed.get(instance.id) ?? instance.secrets, pins)
  const current = active.filter(isFresh)
  if (keepsState) {
    for (const instance of active) if (!isFresh(instance)) retire(state, instance, nowMs, put)
    for (const surplus of current.slice(1)) retire(state, surplus, nowMs, put)
    if (own.every((instance) => instance.phase === 'stopping' && isOver(state, instance))) create()
    return
  }
  const old = active.filter((instance) => !isFresh(instance) && !stays(instance))
  // What belongs to the release beside counts for nothing here: it stays as long as that release does.
  const counted = active.length - active.filter((instance) => !isFresh(instance) && stays(instance)).length

  if (old.length === 0) {
    for (let missing = wanted - current.length; missing > 0; missing -= 1) create()
    const servingFirst = current.toSorted((a, b) => Number(isReady(state, b)) - Number(isReady(state, a)))
    for (const surplus of servingFirst.slice(wanted)) retire(state, surplus, nowMs, put)
    return
  }
  // An old one that does not serve is no loss; a serving one makes room only for a new one that serves.
  const idle = old.find((instance) => isIdle(state, instance))
  const ready = current.filter((instance) => isReady(state, instance)).length
  if (idle !== undefined) retire(state, idle, nowMs, put)
  else if (counted > wanted && ready === current.length) retire(state, old[0], nowMs, put)
  if (current.length < wanted && counted <= wanted && ready === current.length) create()
}

function jobChanges(
  state: ControlState,
  app: DesiredApp,
  part: JobPart,
  order: PartOrder,
  own: readonly InstanceRecord[],
  pins: Pins,
  nowMs: number,
  put: InstanceRecord[],
  remove: string[],
  jobs: { key: string; record: JobRecord }[],
  create: () => InstanceRecord | null,
): void {
  const key = partKey(app.graph.app, part.name)
  const wanted = app.wanted && order.stopped === null && app.stage?.halted !== true
  const runs = own.filter((instance) => instance.phase === 'active').toSorted((a, b) => a.sinceMs - b.sinceMs)
  const phaseOf = (run: InstanceRecord): Phase | undefined => state.statuses.get(run.id)?.phase
  const done = runs.filter((run) => finished.has(phaseOf(run) ?? 'waiting') || (!wanted && isOver(state, run)))
  const open = runs.filter((run) => !done.includes(run))
  // Should its node come back, it is told to end it: the schedule does not wait for that.
  const lost = open.filter((run) => isLost(state, run, nowMs))
  const running = open.filter((run) => !lost.includes(run))
  const latest = runs.at(-1)
  const record = jobTurn({
    part,
    record: state.jobs.get(key),
    running,
    latestIsCurrent: latest === undefined ? null : isCurrent(app, part, order.generation, latest),
    statusOf: (id) => state.statuses.get(id),
    known: new Map(own.filter((run) => !lost.includes(run)).map((run) => [run.id, run])),
    lost,
    wanted,
    nowMs,
    create,
  })
  if (record !== null) jobs.push({ key, record })
  for (const run of lost) retire(state, run, nowMs, put)
  if (!wanted) for (const run of running) retire(state, run, nowMs, put)
  // What failed is tried again when the app is started again.
  const kept = wanted ? done : done.filter((run) => phaseOf(run) !== 'failed')
  for (const run of done) if (!kept.includes(run)) remove.push(run.id)
  for (const run of kept.slice(0, Math.max(0, kept.length - finishedRunsKept))) remove.push(run.id)
  // A run goes on with what it has; the next one gets what is new.
  if (wanted) for (const run of running) refresh(state, app, run, pins, put)
}

function retire(state: ControlState, instance: InstanceRecord | undefined, nowMs: number, put: InstanceRecord[]): void {
  if (instance === undefined || instance.phase !== 'active') return
  put.push({ ...instance, phase: 'retiring', sinceMs: nowMs, retiredAtRevision: state.routeRevision + 1 })
}

function isUnused(state: ControlState, instance: InstanceRecord, nowMs: number): boolean {
  if (nowMs - instance.sinceMs >= drainMaxMs) return true
  if (instance.sinceMs < state.startedMs && nowMs - state.startedMs < gatewaysReturnMs) return false
  for (const gateway of state.gateways.values()) {
    if (!gateway.connected && gateway.leaseUntilMs <= nowMs) continue
    if (gateway.appliedRevision < instance.retiredAtRevision || gateway.busy.includes(instance.id)) return false
  }
  for (const node of state.nodes.values()) {
    // A node that has just gone away goes on with its plan; after a while it is not waited for.
    if (!node.connected && nowMs - node.sinceMs >= nodeLeaseMs) continue
    // Until it has said that the last plan is in force, it may still open streams to the old instance.
    const follows = node.toldRevision > 0 && node.appliedRevision >= node.toldRevision
    if (!follows || node.busy.includes(instance.id)) return false
  }
  return true
}

/** The connected node with the fewest instances of the part as it is now, then with the fewest at all; null without one. */
function nodeFor(
  state: ControlState,
  app: DesiredApp,
  part: Part,
  generation: number,
  pins: Pins,
  put: readonly InstanceRecord[],
): string | null {
  const active = [...state.instances.values(), ...put].filter((instance) => instance.phase === 'active')
  const count = (node: string, which: readonly InstanceRecord[]): number =>
    which.filter((instance) => instance.node === node).length
  const alike = active.filter(
    (instance) =>
      instance.app === app.graph.app &&
      instance.part.name === part.name &&
      isCurrent(app, part, generation, instance) &&
      !pinsDiffer(instance.secrets, pins),
  )
  const home = stateOf(app.graph, part) === null ? null : app.home
  const nodes = [...state.nodes]
    .filter(([name, view]) => view.connected && (home === null || name === home))
    .map(([name]) => name)
  const order = (a: string, b: string): number =>
    count(a, alike) - count(b, alike) || count(a, active) - count(b, active) || (a < b ? -1 : 1)
  return nodes.toSorted(order)[0] ?? null
}
