/**
 * What control knows, as plain data. Durable: apps, instances, identities, job runs (each a record in the store). Observed:
 * nodes, statuses, gateways (told again by whoever connects, never written).
 */
import { jsonEqual } from '../base/index.ts'
import type { Graph, JobPart, Part, ServicePart } from '../model/index.ts'
import type { AssignmentStatus, Phase } from '../protocol/index.ts'
import type { Credentials, Pins } from './credentials.ts'

/** An app as it should be: its graph and the bundle of every part that has code or files. */
export interface DesiredApp {
  readonly graph: Graph
  /** By part name; resources have one when their config refers to files. */
  readonly bundles: Readonly<Record<string, string>>
  /** Grows with every change. */
  readonly release: number
  /** Node that holds the app's data. Chosen once: the data does not move by itself. */
  readonly home: string
  /** Directory it was last deployed from, where that is on this machine. */
  readonly origin?: string | null
  /** False: everything is to stop, data stays. */
  readonly wanted: boolean
}

/**
 * An instance that exists for control. active: serves, or will. retiring: out of the routes, waits until nobody uses it.
 * stopping: told to stop.
 */
export interface InstanceRecord {
  readonly id: string
  readonly app: string
  readonly node: string
  /** The part as it was when the instance was made, so that old and new run side by side. */
  readonly part: ServicePart | JobPart
  readonly bundle: string
  readonly release: number
  readonly phase: 'active' | 'retiring' | 'stopping'
  /** When the phase began, milliseconds since 1970. */
  readonly sinceMs: number
  /** Route revision from which on it is in no table; 0 while it serves. */
  readonly retiredAtRevision: number
  /** The versions of its credentials. */
  readonly secrets: Pins
}

/** What a part keeps for as long as its app lives. */
export interface PartIdentity {
  readonly hostUid: number
  /** Number of its edge address. */
  readonly edge: number
}

export interface JobRun {
  /** When the last run was due, milliseconds since 1970. */
  readonly lastDueMs: number
}

export interface NodeView {
  /** Its agent has a channel, and has said over it where everything stands. */
  readonly connected: boolean
  /** When `connected` last changed, milliseconds since 1970. */
  readonly sinceMs: number
  /** Revision of the plan it was told last over this channel; 0 before the first. */
  readonly toldRevision: number
  /** Revision of the plan the node has said to be in force. */
  readonly appliedRevision: number
  /** Instances that still carry streams on this node's edges. */
  readonly busy: readonly string[]
}

export interface GatewayView {
  readonly connected: boolean
  readonly appliedRevision: number
  readonly busy: readonly string[]
  /** A gateway that has not been heard of until then counts no more. */
  readonly leaseUntilMs: number
}

export interface ControlState {
  readonly apps: ReadonlyMap<string, DesiredApp>
  readonly instances: ReadonlyMap<string, InstanceRecord>
  /** By `app/part`. */
  readonly identities: ReadonlyMap<string, PartIdentity>
  readonly credentials: Credentials
  /** By `app/part`. */
  readonly jobs: ReadonlyMap<string, JobRun>
  readonly nodes: ReadonlyMap<string, NodeView>
  readonly gateways: ReadonlyMap<string, GatewayView>
  readonly statuses: ReadonlyMap<string, AssignmentStatus>
  /** Revision of the route table in force. */
  readonly routeRevision: number
  /** When this control started, milliseconds since 1970: what it has not heard since then it does not know. */
  readonly startedMs: number
}

/** The key of a part in maps and in the store. */
export function partKey(app: string, part: string): string {
  return `${app}/${part}`
}

/** The id of a resource's assignment. */
export function resourceId(app: string, part: string): string {
  return `${app}.${part}`
}

const over: ReadonlySet<Phase> = new Set(['stopped', 'succeeded', 'failed', 'gave-up'])

/** Whether nothing of an instance runs any more and nothing will, as far as its node has said. */
export function isOver(state: ControlState, instance: InstanceRecord): boolean {
  const status = state.statuses.get(instance.id)
  if (status !== undefined) return over.has(status.phase)
  // The node that had it does not know it any more: it is gone.
  return state.nodes.get(instance.node)?.connected === true
}

/** Whether an instance runs what its part is now. */
export function isCurrent(app: DesiredApp, part: Part, instance: InstanceRecord): boolean {
  // A record of before there were tripwires has none.
  const { replicas: _a, ...was } = { replicas: 0, ...Object.assign({ tripwire: 'off' }, instance.part) }
  const { replicas: _b, ...is } = { replicas: 0, ...part }
  return instance.bundle === (app.bundles[part.name] ?? '') && jsonEqual(was, is)
}

/** Frozen after an incident, or ended after that: it serves nobody and others take its place, but it is not taken away while a person may look at it. */
export function isSetAside(state: Pick<ControlState, 'statuses'>, instance: InstanceRecord): boolean {
  const incident = state.statuses.get(instance.id)?.incident?.state
  return incident === 'frozen' || incident === 'ended'
}
