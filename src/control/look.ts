/** What is seen of an app in a rollout, from what nodes and gateways have said. Pure. */
import type { Progress, Sample, Seen } from '../release/index.ts'
import type { Part } from '../model/index.ts'
import { groupName } from './derive.ts'
import {
  besideOf,
  type ControlState,
  type DesiredApp,
  generationOf,
  type InstanceRecord,
  isCurrent,
  isOver,
  noOrder,
  partKey,
  resourceId,
  resourcesOf,
} from './state.ts'
import type { AppTraffic } from './traffic.ts'

const done: Progress = { state: 'done' }

function pending(waitsFor: string | null): Progress {
  return { state: 'pending', waitsFor }
}

/** All of what is seen but for the task, which whoever runs it knows. `told`: every node has been told the app as it is now. */
export function look(
  state: ControlState,
  app: DesiredApp,
  told: boolean,
): Pick<Seen, 'resources' | 'instances' | 'rest' | 'routed'> {
  const home = state.nodes.get(app.home)
  const taken = told && home?.connected === true && home.appliedRevision >= home.toldRevision
  return {
    resources: taken
      ? resources(state, app)
      : pending(home?.connected === true ? null : `node ${app.home}, which is away`),
    instances: taken ? instances(state, app) : pending(null),
    rest: rest(state, app),
    routed: told && routed(state),
  }
}

function resources(state: ControlState, app: DesiredApp): Progress {
  for (const part of resourcesOf(app)) {
    const status = state.statuses.get(resourceId(app.graph.app, part.name))
    if (status?.phase === 'gave-up' && status.settled !== false)
      return { state: 'failed', part: part.name, reason: status.reason ?? 'it ended' }
    const isThere = status?.phase === 'ready' && status.settled !== false
    // The copy that a branch works on is of whatever generation its origin was then.
    const isNow = app.branch !== undefined || (status?.generation ?? 1) === generationOf(app)
    if (!isThere || !isNow) return pending(said(part.name, status?.reason ?? null))
  }
  return done
}

function said(part: string, reason: string | null): string {
  return reason === null ? part : `${part}: ${reason.split('\n')[0] ?? ''}`
}

function of(state: ControlState, app: DesiredApp, part: Part): InstanceRecord[] {
  return [...state.instances.values()].filter(
    (instance) => instance.app === app.graph.app && instance.part.name === part.name && instance.phase === 'active',
  )
}

function orderOf(state: ControlState, app: DesiredApp, part: Part): typeof noOrder {
  return state.orders.get(partKey(app.graph.app, part.name)) ?? noOrder
}

function instances(state: ControlState, app: DesiredApp): Progress {
  if (app.stage?.halted === true) return done
  const releases = [app, besideOf(app)].flatMap((one) => one ?? [])
  for (const release of releases) {
    for (const part of release.graph.parts) {
      if (part.kind === 'resource' || orderOf(state, app, part).stopped !== null) continue
      if (part.kind === 'job' && (part.schedule !== null || release !== app)) continue
      const { generation } = orderOf(state, app, part)
      const own = of(state, app, part).filter((instance) => isCurrent(release, part, generation, instance))
      const statuses = own.flatMap(({ id }) => state.statuses.get(id) ?? [])
      const failed = statuses.find(({ phase }) => phase === 'gave-up' || (part.kind === 'job' && phase === 'failed'))
      if (failed !== undefined) return { state: 'failed', part: part.name, reason: failed.reason ?? 'it ended' }
      const wanted = part.kind === 'service' ? part.replicas : 1
      const phase = part.kind === 'service' ? 'ready' : 'succeeded'
      if (statuses.filter((status) => status.phase === phase).length < wanted)
        return pending(said(part.name, statuses.find(({ reason }) => reason !== null)?.reason ?? null))
    }
  }
  return done
}

/** What runs and should not. Runs of jobs that are over are only remembered. */
function rest(state: ControlState, app: DesiredApp): Progress {
  const releases = app.stage?.halted === true ? [] : [app, besideOf(app)].flatMap((one) => one ?? [])
  const isWanted = (instance: InstanceRecord): boolean =>
    instance.phase === 'active' &&
    releases.some((release) => {
      const part = release.graph.parts.find(({ name }) => name === instance.part.name)
      return part !== undefined && isCurrent(release, part, orderOf(state, app, part).generation, instance)
    })
  const left = [...state.instances.values()].find(
    (instance) => instance.app === app.graph.app && !isOver(state, instance) && !isWanted(instance),
  )
  return left === undefined ? done : pending(`${left.part.name}, which is being stopped`)
}

function routed(state: ControlState): boolean {
  return [...state.gateways.values()].every(
    (gateway) => !gateway.connected || gateway.appliedRevision >= state.routeRevision,
  )
}

/** What the gateways have counted for a release, of all parts together. */
export function countedFor(traffic: AppTraffic, release: number): Sample {
  const own = traffic.groups.filter(({ group }) => group === groupName(release))
  const slow = own.flatMap(({ p99Ms }) => p99Ms ?? [])
  return {
    requests: own.reduce((sum, { requests }) => sum + requests, 0),
    errors: own.reduce((sum, { errors }) => sum + errors, 0),
    p99Ms: slow.length === 0 ? null : Math.max(...slow),
  }
}

/** What was counted since an earlier count. A gateway that has started anew counts from nothing. */
export function since(before: Sample, now: Sample): Sample {
  const isFresh = now.requests < before.requests
  return {
    requests: isFresh ? now.requests : now.requests - before.requests,
    errors: isFresh ? now.errors : Math.max(0, now.errors - before.errors),
    p99Ms: now.p99Ms,
  }
}
