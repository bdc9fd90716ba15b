/** What control knows of an app now, for people and commands. Pure. */
import type { ResourcePart } from '../model/index.ts'
import type { AssignmentStatus, FaultStatus, Route } from '../protocol/index.ts'
import { currentPins, pinsDiffer } from './credentials.ts'
import { nextRunMs } from './jobs.ts'
import {
  type ControlState,
  type DesiredApp,
  type InstanceRecord,
  isCurrent,
  isOver,
  type JobRun,
  noOrder,
  partKey,
  type PartOrder,
  resourceId,
} from './state.ts'
import type { NodeFaults } from './faults.ts'
import type { AppTraffic, TrafficBook } from './traffic.ts'

export interface AppView {
  readonly app: DesiredApp
  readonly instances: readonly {
    readonly record: InstanceRecord
    /** Serves or will serve the release in force: nothing replaces it. */
    readonly current: boolean
    readonly status: AssignmentStatus | null
  }[]
  readonly resources: readonly {
    readonly part: string
    readonly type: string
    /** What its status says is of the release in force, and not of the one before. */
    readonly current: boolean
    readonly status: AssignmentStatus | null
  }[]
  readonly jobs: readonly JobView[]
  /** By part: what a person has ordered. */
  readonly orders: ReadonlyMap<string, PartOrder>
  readonly routes: readonly Route[]
  /** What is broken on purpose, and what was a while ago, as the nodes last told. */
  readonly faults: readonly FaultStatus[]
  /** What has gone through the gateways, as they last told. */
  readonly traffic: AppTraffic
  /** Whether anything of it runs, or will. */
  readonly running: boolean
}

export interface JobView {
  readonly part: string
  readonly schedule: string | null
  readonly timeZone: string
  /** Milliseconds since 1970; null without a schedule, and while it is stopped. */
  readonly nextMs: number | null
  /** Runs that are due and wait for their turn. */
  readonly waiting: number
  /** Oldest first. */
  readonly runs: readonly JobRun[]
}

/** What its node says; but a secret that is used and has no value waits for a person, whatever the node makes of it. */
function resourceStatus(state: ControlState, app: string, part: ResourcePart): AssignmentStatus | null {
  const status = state.statuses.get(resourceId(app, part.name)) ?? null
  const used = [...state.instances.values()].some(
    (instance) => instance.app === app && instance.part.uses.some((use) => use.part === part.name),
  )
  if (status?.phase !== 'ready' || part.type !== 'secret' || !used) return status
  if (state.credentials.has(partKey(app, part.name))) return status
  return {
    ...status,
    phase: 'waiting',
    reason: `${part.name} has no value: stead secret set ${part.name} --app ${app}`,
  }
}

/** An app as it is now; null when there is none of that name. */
export function viewOf(
  state: ControlState,
  name: string,
  routes: readonly Route[],
  told: { readonly traffic: TrafficBook; readonly faults: NodeFaults; readonly untold: ReadonlySet<string> },
  nowMs: number,
): AppView | null {
  const app = state.apps.get(name)
  if (app === undefined) return null
  const statusOf = (id: string): AssignmentStatus | null => state.statuses.get(id) ?? null
  const records = [...state.instances.values()].filter((record) => record.app === name)
  const home = state.nodes.get(app.home)
  const taken = !told.untold.has(name) && home?.connected === true && home.appliedRevision >= home.toldRevision
  const resources = app.graph.parts
    .filter((part) => part.kind === 'resource')
    .map((part) => {
      const status = resourceStatus(state, name, part)
      return { part: part.name, type: part.type, current: taken && status?.settled !== false, status }
    })
  const orders = new Map(
    app.graph.parts.map((part) => [part.name, state.orders.get(partKey(name, part.name)) ?? noOrder] as const),
  )
  const jobs = app.graph.parts
    .filter((part) => part.kind === 'job')
    .map((part): JobView => {
      const record = state.jobs.get(partKey(name, part.name))
      const inForce = app.wanted && (orders.get(part.name)?.stopped ?? null) === null
      return {
        part: part.name,
        schedule: part.schedule,
        timeZone: part.timeZone,
        nextMs: inForce ? nextRunMs(part, record, nowMs) : null,
        waiting: record?.waiting.length ?? 0,
        runs: record?.runs ?? [],
      }
    })
  const isNow = (record: InstanceRecord): boolean => {
    const part = app.graph.parts.find((candidate) => candidate.name === record.part.name)
    if (part === undefined || part.kind === 'resource' || record.phase !== 'active') return false
    const pins = currentPins(state.credentials, name, app.graph.parts, part)
    const generation = orders.get(part.name)?.generation ?? 0
    return isCurrent(app, part, generation, record) && (part.kind === 'job' || !pinsDiffer(record.secrets, pins))
  }
  return {
    app,
    instances: records.map((record) => ({ record, current: isNow(record), status: statusOf(record.id) })),
    resources,
    jobs,
    orders,
    running:
      records.some((record) => !isOver(state, record)) ||
      resources.some(({ status }) => status !== null && status.phase !== 'stopped'),
    routes: routes.filter((route) => route.app === name),
    faults: told.faults.of(name),
    traffic: told.traffic.of(name),
  }
}
