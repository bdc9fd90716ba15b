/** What is known of an app, put together for people and commands. Pure. */
import type { AssignmentStatus, Route } from '../protocol/index.ts'
import { currentPins, pinsDiffer } from './credentials.ts'
import { type ControlState, type DesiredApp, type InstanceRecord, isCurrent, isOver, resourceId } from './state.ts'

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
  /** Whether anything of it runs, or will. */
  readonly running: boolean
}

/** Everything of an app, as records say and nodes report; null when there is no such app. */
export function viewOf(state: ControlState, routes: readonly Route[], name: string): AppView | null {
  const app = state.apps.get(name)
  if (app === undefined) return null
  const statusOf = (id: string): AssignmentStatus | null => state.statuses.get(id) ?? null
  const records = [...state.instances.values()].filter((record) => record.app === name)
  const resources = app.graph.parts
    .filter((part) => part.kind === 'resource')
    .map((part) => ({ part: part.name, type: part.type, status: statusOf(resourceId(name, part.name)) }))
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
  }
}
