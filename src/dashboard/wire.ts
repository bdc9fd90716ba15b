/**
 * What the server half tells the browser half, one JSON object a line, for as long as a page looks. Data and pure
 * functions that both halves use. Invariant: a page that has taken every message has the state that the server had; a
 * change is told as what has changed.
 */
import type { BackupStatus, EdgeTraffic, PartStatus, PlatformInfo } from '../operator/index.ts'
import type { FaultStatus } from '../protocol/index.ts'

/** The part of the graph that is drawn. Nothing of a part's environment leaves the platform. */
export interface Shape {
  readonly parts: readonly ShapePart[]
  readonly routes: readonly { readonly host: string; readonly path: string; readonly part: string }[]
}

export interface ShapePart {
  readonly name: string
  readonly kind: 'service' | 'job' | 'resource'
  /** The resource's type; null for others. */
  readonly type: string | null
  /** Instances that are wanted of a service. */
  readonly replicas: number
  /** The disk of a service that is a system in the place of a program; absent for others. */
  readonly disk?: string
  /** When a job runs: a cron expression in UTC; null: once for every release. Null for others. */
  readonly schedule: string | null
  /** Names of the parts it uses, each once. */
  readonly uses: readonly string[]
}

/** How long a part has been ready since it first was. */
export interface Uptime {
  /** Up to `atMs` of the server's clock. */
  readonly readyMs: number
  readonly totalMs: number
  readonly atMs: number
  /** Whether it is ready since `atMs`. */
  readonly ready: boolean
}

/** A fault, with what it has cost at the way in. */
export interface FaultView {
  readonly status: FaultStatus
  /** Requests of the app that failed while it lasted; null where nobody counts them. */
  readonly requestsFailed: number | null
}

export interface Head {
  readonly app: string
  readonly release: number
  readonly wanted: boolean
  readonly urls: readonly string[]
  /** How the backups stand that it declares; absent where it declares none, and on the overview. */
  readonly backup?: BackupStatus
}

/** Everything a page shows of an app. */
export interface AppState {
  readonly head: Head
  readonly shape: Shape
  /** By instance; by name for what has none. */
  readonly parts: Readonly<Record<string, PartStatus>>
  /** By part, once it has been ready. */
  readonly uptime: Readonly<Record<string, Uptime>>
  /** By id. */
  readonly faults: Readonly<Record<string, FaultView>>
  /** By `from>to`; from nothing for the way in. */
  readonly traffic: Readonly<Record<string, EdgeTraffic>>
}

/** An app on the overview. */
export interface AppCard {
  readonly head: Head
  readonly parts: number
  /** Names of the parts that are not well. */
  readonly unwell: readonly string[]
}

/** What changed in a record: entries that are new or other, and keys that are gone. */
export interface Changes<T> {
  readonly put: Readonly<Record<string, T>>
  readonly drop: readonly string[]
}

export interface Delta {
  readonly head?: Head
  readonly shape?: Shape
  readonly parts?: Changes<PartStatus>
  readonly uptime?: Changes<Uptime>
  readonly faults?: Changes<FaultView>
  readonly traffic?: Changes<EdgeTraffic>
}

/** One moment of an app, for plots. By part; what is not known is left out. */
export interface Sample {
  readonly atMs: number
  readonly memoryBytes: Readonly<Record<string, number>>
  /** Cores in use since the sample before. */
  readonly cpuCores: Readonly<Record<string, number>>
  /** Requests that came in from outside, and of those the ones that failed. */
  readonly requestsPerSecond: number | null
  readonly errorsPerSecond: number | null
  /** What resources tell, by part and metric: of what they count (`..._total`) how much a second, all else as it is. Absent where none does. */
  readonly counted?: Readonly<Record<string, Readonly<Record<string, number>>>>
}

export interface Hello {
  readonly caller: string
  /** What this session may ask about the app that is shown, as `METHOD /path`. */
  readonly offers: readonly string[]
  readonly platform: Pick<PlatformInfo, 'version' | 'mode' | 'weaker' | 'drivers'>
}

export type FeedMessage =
  | { readonly type: 'hello'; readonly nowMs: number; readonly hello: Hello }
  | { readonly type: 'apps'; readonly apps: readonly AppCard[] }
  | { readonly type: 'app'; readonly state: AppState; readonly samples: readonly Sample[] }
  | { readonly type: 'delta'; readonly delta: Delta }
  | { readonly type: 'sample'; readonly sample: Sample }
  /** The app that was asked for is not there (any more). */
  | { readonly type: 'no-app'; readonly app: string }
  /** Nothing has changed, and the line is alive. */
  | { readonly type: 'beat'; readonly nowMs: number }

/** Every how often something is said at least, milliseconds. Silence of three times that is a broken line. */
export const beatMs = 5000

/** Whether a part is as it should be: also a job that runs, and what somebody has stopped. */
export function isWell({ phase, kind }: Pick<PartStatus, 'phase' | 'kind'>): boolean {
  if (kind === 'job' && ['waiting', 'starting', 'stopping'].includes(phase)) return true
  return ['ready', 'scheduled', 'succeeded', 'stopped'].includes(phase)
}

/** What leads from one state to the next; null when they are the same. */
export function difference(before: AppState, after: AppState): Delta | null {
  const delta: Delta = {
    ...(same(before.head, after.head) ? {} : { head: after.head }),
    ...(same(before.shape, after.shape) ? {} : { shape: after.shape }),
    ...section('parts', before.parts, after.parts),
    ...section('uptime', before.uptime, after.uptime),
    ...section('faults', before.faults, after.faults),
    ...section('traffic', before.traffic, after.traffic),
  }
  return Object.keys(delta).length === 0 ? null : delta
}

/** The state after a change. What has not changed stays the same object, so that nothing is drawn for it. */
export function applied(state: AppState, delta: Delta): AppState {
  return {
    head: delta.head ?? state.head,
    shape: delta.shape ?? state.shape,
    parts: merged(state.parts, delta.parts),
    uptime: merged(state.uptime, delta.uptime),
    faults: merged(state.faults, delta.faults),
    traffic: merged(state.traffic, delta.traffic),
  }
}

/** The changes of one record under its name; nothing when there are none. */
function section<K extends string, T>(
  name: K,
  before: Readonly<Record<string, T>>,
  after: Readonly<Record<string, T>>,
): { readonly [name in K]?: Changes<T> } {
  const put = Object.fromEntries(
    Object.entries(after).filter(([key, value]) => !(key in before) || !same(before[key], value)),
  )
  const drop = Object.keys(before).filter((key) => !(key in after))
  const changed: { [name in K]?: Changes<T> } = {}
  if (Object.keys(put).length > 0 || drop.length > 0) changed[name] = { put, drop }
  return changed
}

function merged<T>(before: Readonly<Record<string, T>>, changes: Changes<T> | undefined): Readonly<Record<string, T>> {
  if (changes === undefined) return before
  const gone = new Set(changes.drop)
  return { ...Object.fromEntries(Object.entries(before).filter(([key]) => !gone.has(key))), ...changes.put }
}

/** Both come from JSON with keys in one order. */
function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
