/**
 * What control knows, as plain data. Durable: apps, instances, identities, job runs (each a record in the store). Observed:
 * nodes, statuses, gateways (told again by whoever connects, never written).
 */
import { jsonEqual } from '../base/index.ts'
import { type Graph, type JobPart, type Part, type ResourcePart, type ServicePart, stateType } from '../model/index.ts'
import type { AssignmentStatus, Phase } from '../protocol/index.ts'
import type { PreparePhase } from '../provider/index.ts'
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
  /** The live data; absent: its first generation. */
  readonly data?: LiveData
  /** How far the resources are, where that is not simply what the graph and the bundles say. */
  readonly schema?: SchemaState
  /** While a rollout lasts: what runs, where that is not simply this release. */
  readonly stage?: Stage
  /** A branch: an app whose data is a copy in the domain of another. */
  readonly branch?: BranchOf
}

/** Which generation of the data is live, and the swap that makes it. */
export interface LiveData {
  readonly generation: number
  readonly swap: { readonly from: string; readonly keepAs: string } | null
}

/** The files of the resources (migrations) that are in force, by part, and how far they go. */
export interface SchemaState {
  readonly bundles: Readonly<Record<string, string>>
  readonly phase: PreparePhase
  /** Resources that this holds for; others go all the way, by the release's own bundles. */
  readonly parts: readonly string[]
}

/** A moment of a rollout, as a shape of what runs. */
export interface Stage {
  /** Nothing runs that could write. */
  readonly halted: boolean
  /** Requests wait at the gateways. */
  readonly hold: boolean
  /** The release that runs in full beside this one; null when none does. */
  readonly beside: {
    readonly graph: Graph
    readonly bundles: Readonly<Record<string, string>>
    readonly release: number
  } | null
  /** Share of the requests for this release, not the one beside it, 0 to 100. */
  readonly share: number
}

/** Where a branch comes from. */
export interface BranchOf {
  readonly app: string
  /** Name of the copy in that app's domain. */
  readonly copy: string
  /** What it was made for: a person, or the rehearsal of a release. */
  readonly purpose: 'branch' | 'look' | 'rehearsal'
  /** The copy that it was made from; null: of the live data. Absent where that was not kept. */
  readonly from?: string | null
  readonly by: string
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
  /** That of its part when it was made. */
  readonly generation: number
  readonly phase: 'active' | 'retiring' | 'stopping'
  /** When the phase began, milliseconds since 1970. */
  readonly sinceMs: number
  /** Route revision from which on it is in no table; 0 while it serves. */
  readonly retiredAtRevision: number
  /** The versions of its credentials. */
  readonly secrets: Pins
  /** Generation of the data that it works on; absent: the first, or none. */
  readonly data?: number
}

/** What a part keeps for as long as its app lives. */
export interface PartIdentity {
  readonly hostUid: number
  /** Number of its edge address. */
  readonly edge: number
}

/** What control remembers of a job over restarts. */
export interface JobRecord {
  /** The schedule and time zone that it counts for; empty without one. */
  readonly of: string
  /** What the schedule named up to here is dealt with, milliseconds since 1970. */
  readonly lastDueMs: number
  /** Runs that are due and wait for their turn, oldest first. */
  readonly waiting: readonly { readonly dueMs: number; readonly cause: 'schedule' | 'missed' }[]
  /** The history, oldest first. */
  readonly runs: readonly JobRun[]
}

/** A run of a job, or what was not run. Times are milliseconds since 1970. */
export interface JobRun {
  /** Why it ran: its schedule, to make up for one that was missed, a new release, or because somebody asked. */
  readonly cause: 'schedule' | 'missed' | 'release' | 'person'
  /** Who asked; null when nobody did. */
  readonly by: string | null
  /** Null when it was left out. */
  readonly instance: string | null
  readonly dueMs: number
  /** Of several that were left out: the last. */
  readonly lastDueMs: number
  readonly startMs: number | null
  readonly endMs: number | null
  readonly outcome: 'running' | 'succeeded' | 'failed' | 'stopped' | 'left-out'
  /** Of its last attempt; null where there is none (killed, left out). */
  readonly exitCode: number | null
  /** How it ended, or why it was left out. */
  readonly sentence: string | null
  /** How many were left out in a row; 1 otherwise. */
  readonly times: number
}

/** The consumer that stands for whoever operates the platform. No part can have this name. */
export const operatorConsumer = 'stead_operator'

/** What a person has said of a part, beyond what the app file says. */
export interface PartOrder {
  /** Set: it is to stay stopped. */
  readonly stopped: { readonly by: string; readonly sinceMs: number } | null
  /** Instances of a lower generation are replaced: it grows with every restart that is asked for. */
  readonly generation: number
}

/** What holds where nobody has said anything. */
export const noOrder: PartOrder = { stopped: null, generation: 0 }

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
  readonly jobs: ReadonlyMap<string, JobRecord>
  /** By `app/part`; absent: `noOrder`. */
  readonly orders: ReadonlyMap<string, PartOrder>
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

/** Whether an instance runs what its part is now, and was made after the last restart that was asked for. */
export function isCurrent(app: DesiredApp, part: Part, generation: number, instance: InstanceRecord): boolean {
  // A record of before there were tripwires has none.
  const { replicas: _a, ...was } = { replicas: 0, ...Object.assign({ tripwire: 'off' }, instance.part) }
  const { replicas: _b, ...is } = { replicas: 0, ...part }
  const made = instance.bundle === (app.bundles[part.name] ?? '') && instance.generation === generation
  return made && !isOfOtherData(app, instance) && jsonEqual(was, is)
}

/** Generation of an app's live data. */
export function generationOf(app: Pick<DesiredApp, 'data'>): number {
  return app.data?.generation ?? 1
}

/** Whether a part works on the app's data: it uses a resource. */
export function usesData(graph: Graph, part: ServicePart | JobPart): boolean {
  return part.uses.some((use) => graph.parts.some((other) => other.kind === 'resource' && other.name === use.part))
}

/** The resource with the state that a part keeps itself; null for all others. */
export function stateOf(graph: Graph, part: Part): ResourcePart | null {
  if (part.kind === 'resource') return null
  const resources = graph.parts.filter((other) => other.kind === 'resource')
  return resources.find(({ name, type }) => type === stateType && part.uses.some((use) => use.part === name)) ?? null
}

/** Whether an instance was made for data that is not the live data any more. */
export function isOfOtherData(app: Pick<DesiredApp, 'data' | 'graph' | 'stage'>, instance: InstanceRecord): boolean {
  if ((instance.data ?? 1) === generationOf(app)) return false
  const { beside = null } = app.stage ?? {}
  return usesData(app.graph, instance.part) || (beside !== null && usesData(beside.graph, instance.part))
}

/** The release that runs beside, as an app of its own; null when none does. */
export function besideOf(app: DesiredApp): DesiredApp | null {
  const beside = app.stage?.beside ?? null
  return beside === null ? null : { ...app, ...beside }
}

/** The resources of an app: those of its release, and those that only the release beside it has. */
export function resourcesOf(app: DesiredApp): ResourcePart[] {
  const own = app.graph.parts.filter((part) => part.kind === 'resource')
  const other = (app.stage?.beside?.graph.parts ?? []).filter((part) => part.kind === 'resource')
  return [...own, ...other.filter((part) => !own.some(({ name }) => name === part.name))]
}

/** Frozen after an incident, or ended after that: it serves nobody and others take its place, but it is not taken away while a person may look at it. */
export function isSetAside(state: Pick<ControlState, 'statuses'>, instance: InstanceRecord): boolean {
  const incident = state.statuses.get(instance.id)?.incident?.state
  return incident === 'frozen' || incident === 'ended'
}
