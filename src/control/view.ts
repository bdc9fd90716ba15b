/** What is known of an app, put together for people and commands. Pure. */
import type { ResourcePart } from '../model/index.ts'
import type { AssignmentStatus, Route } from '../protocol/index.ts'
import { currentPins, pinsDiffer } from './credentials.ts'
import {
  type ControlState,
  type DesiredApp,
  type InstanceRecord,
  isCurrent,
  isOver,
  partKey,
  resourceId,
} from './state.ts'
import type { AppTraffic, TrafficBook } from './traffic.ts'

/** What is known of an app now, for people and commands. */
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
    readonly status: AssignmentStatus | null
  }[]
  readonly routes: readonly Route[]
  /** What has gone through the gateways, as they last told. */
  readonly traffic: AppTraffic
  /** Whether anything of it runs, or will. */
  readonly running: boolean
}

/** What its node says; but a secret that is used and has no value waits for a person, whatever the node makes of it. */
function resourceStatus(state: ControlState, app: string, part: ResourcePart): AssignmentStatus | null {
  const status = state.statuses.get(resourceId(app, part.name)) ?? null
  const used = [...state.instances.values()].some(
    (instance) => instance.app === app && instance.part.uses.some((use) => use.part === part.name),
  )
  if (status?.phase !== 'ready' || part.type !== 'secret' || !used) return status
  if (state.credentials.has(partKey(app, part.name))) return status
  return { ...status, phase: 'waiting', reason: `${part.name} has no value: stead secret set ${part.name}` }
}

/** Everything of an app, as records say and nodes report; null when there is no such app. */
export function viewOf(
  state: ControlState,
  routes: readonly Route[],
  traffic: TrafficBook,
  name: string,
): AppView | null {
  const app = state.apps.get(name)
  if (app === undefined) return null
  const statusOf = (id: string): AssignmentStatus | null => state.statuses.get(id) ?? null
  const records = [...state.instances.values()].filter((record) => record.app === name)
  const resources = app.graph.parts
    .filter((part) => part.kind === 'resource')
    .map((part) => ({ part: part.name, type: part.type, status: resourceStatus(state, name, part) }))
  const isNow = (record: InstanceRecord): boolean => {
    const part = app.graph.parts.find((candidate) => candidate.name === record.part.name)
    if (part === undefined || part.kind === 'resource' || record.phase !== 'active') return false
    const pins = currentPins(state.credentials, name, app.graph.parts, part)
    return isCurrent(app, part, record) && (part.kind === 'job' || !pinsDiffer(record.secrets, pins))
  }
  return {
    app,
    instances: records.map((record) => ({ record, current: isNow(record), status: statusOf(record.id) })),
    resources,
    running:
      records.some((record) => !isOver(state, record)) ||
      resources.some(({ status }) => status !== null && status.phase !== 'stopped'),
    routes: routes.filter((route) => route.app === name),
    traffic: traffic.of(name),
  }
}
