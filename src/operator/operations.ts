/** What can be asked of a running platform, whoever asks and however it is carried. Data and one interface, no I/O. */
import { SteadError } from '../base/index.ts'
import type { Graph } from '../model/index.ts'
import type {
  AssignmentStatus,
  DebugLook,
  MachineOrder,
  Fault,
  FaultStatus,
  Incident,
  LogLine,
  Phase,
  RemoteStream,
  Resume,
  StreamTarget,
  TerminalSize,
} from '../protocol/index.ts'
import type { BatchOperations } from './batch.ts'
import type { Caller } from './caller.ts'
import type { Checkup } from './checkup.ts'
import type { QueueOperations } from './queues.ts'
import type { ReleaseOperations, RolloutWish } from './releases.ts'
import type { SecretOperations } from './secrets.ts'

/** The disk of a node. low: make room soon. critical: nothing new is deployed. */
export interface DiskStatus {
  readonly node: string
  readonly freeBytes: number
  readonly totalBytes: number
  readonly level: 'ok' | 'low' | 'critical'
}

/** The platform itself. */
export interface PlatformInfo {
  readonly version: string
  /** `up`: one app, as its files say. `serve`: any number, as deployed. */
  readonly mode: 'up' | 'serve'
  /** Process id of the process that answers. */
  readonly pid: number
  /** Its processes by what they do (supervisor, control, agent, gateway); null where one does not run at this moment. */
  readonly processes: readonly { readonly role: string; readonly pid: number | null }[]
  readonly apps: readonly AppSummary[]
  /** What is weaker than it could be on this machine, and how to mend it. */
  readonly weaker: readonly string[]
  readonly drivers: { readonly sandbox: string; readonly network: string; readonly domain: string }
}

export interface AppSummary {
  readonly app: string
  readonly release: number
  /** False: it was taken down; its data stays. */
  readonly wanted: boolean
  /** Directory it was deployed from on this machine; null when it came from another. */
  readonly origin: string | null
  readonly urls: readonly string[]
}

/** What `stead status` shows of an app. */
export interface Status {
  readonly app: string
  readonly release: number
  /** False: it was taken down, or is going down. */
  readonly wanted: boolean
  readonly urls: readonly string[]
  /** Process id of the process that answers. */
  readonly pid: number
  readonly parts: readonly PartStatus[]
  /** What is broken on purpose, and what was a while ago. */
  readonly faults: readonly FaultStatus[]
  /** What goes over the edges of the graph, where somebody counts it. */
  readonly traffic: readonly EdgeTraffic[]
  readonly disks: readonly DiskStatus[]
  readonly weaker: readonly string[]
  readonly drivers: { readonly sandbox: string; readonly network: string; readonly domain: string }
  /** The release that is being rolled out, or the last one where that did not end well; absent when there is nothing to say. */
  readonly rollout?: RolloutStatus
  /** Backups that the platform makes by itself; absent where the app declares none. */
  readonly backup?: BackupStatus
}

/** Backups that are made and proved without anybody asking. Times are milliseconds since 1970. */
export interface BackupStatus {
  readonly place: string
  /** The moment of the newest backup; null: there is none. */
  readonly madeMs: number | null
  /** Up to when the log was carried there: what is later is lost with the machine. Null: it was not carried yet. */
  readonly logMs: number | null
  /** What is being done now; null: nothing. */
  readonly doing: 'backup' | 'log' | 'drill' | null
  /** proved: a drill has started the app on the newest ones. */
  readonly state: 'proved' | 'failed' | 'unproved'
  /** How old the newest backup and its proof are, in words. */
  readonly sentence: string
  readonly overdue: boolean
  /** What failed last and why, a sentence each; empty: all is well. */
  readonly troubles: readonly string[]
}

/** Where a rollout stands, in short; all of it is in `releases`. */
export interface RolloutStatus {
  readonly release: number
  readonly step: string
  /** When the step began, milliseconds since 1970. */
  readonly sinceMs: number
  /** Why a person has to look; null while it goes on by itself. */
  readonly stuck: string | null
}

/** Requests over one edge of the graph. */
export interface EdgeTraffic {
  /** The part that asks; null: from outside, through a gateway. */
  readonly from: string | null
  readonly to: string
  /** Over the last few seconds. */
  readonly requestsPerSecond: number
  readonly errorsPerSecond: number
  /** Since whoever counts has started; they only grow until that starts anew. */
  readonly requests: number
  readonly errors: number
  /** Median and 99th percentile of durations, milliseconds; null where they are not measured. */
  readonly p50Ms: number | null
  readonly p99Ms: number | null
}

export interface PartStatus {
  readonly part: string
  readonly kind: 'service' | 'job' | 'resource'
  /** Null when the part has no instance now (a job that is not due). */
  readonly instance: string | null
  /** Whether it is of the release in force, and not one that is being replaced. */
  readonly current: boolean
  readonly phase: Phase | 'scheduled'
  readonly reason: string | null
  readonly restarts: number
  /** Who keeps it stopped; null when nobody does. */
  readonly stoppedBy: string | null
  /** Process id on this machine, for tools. */
  readonly pid: number | null
  readonly sinceMs: number | null
  readonly memoryBytes: number | null
  /** Processor time used since it was started, seconds; null where nobody can tell. */
  readonly cpuSeconds: number | null
  /** Since when somebody's debugger is in it; absent when nobody's is. */
  readonly heldSinceMs?: number
  /** The last time that its program ended and nobody had asked for it; absent when it never did. */
  readonly lastEnd?: NonNullable<AssignmentStatus['lastEnd']>
  /** Whose debuggers are in it, the first first; absent when none is. */
  readonly debuggers?: NonNullable<AssignmentStatus['debuggers']>
  /** What it was refused outside, the newest first. */
  readonly refused: NonNullable<AssignmentStatus['refused']>
  /** `kernel`: its instances run on kernels of their own; `container`: in containers. Absent: in sandboxes on their node. */
  readonly isolation?: 'kernel' | 'container'
  /** The disk of a system that the part is in the place of a program, as the app file names it; absent when it is a program. */
  readonly disk?: string
  /** How it is known that what it acknowledges is on the disk; absent where nobody can tell. */
  readonly durability?: string
  /** What a resource counts, by the names of its metrics; absent where it is not asked. */
  readonly metrics?: Readonly<Record<string, number>>
  /** How the log stands along which its copies are brought forward; absent where there is none. */
  readonly log?: NonNullable<AssignmentStatus['log']>
}

/** A job and the runs that are remembered of it. Times are milliseconds since 1970. */
export interface JobStatus {
  readonly part: string
  /** Null: it runs once for every release. */
  readonly schedule: string | null
  readonly timeZone: string
  /** Null without a schedule, and while it is stopped. */
  readonly nextMs: number | null
  readonly stoppedBy: string | null
  /** Runs that are due and wait for their turn. */
  readonly waiting: number
  /** Newest first. */
  readonly runs: readonly JobRunStatus[]
}

export interface JobRunStatus {
  readonly cause: 'schedule' | 'missed' | 'release' | 'person'
  readonly by: string | null
  readonly instance: string | null
  readonly dueMs: number
  readonly lastDueMs: number
  readonly startMs: number | null
  readonly endMs: number | null
  readonly outcome: 'running' | 'succeeded' | 'failed' | 'stopped' | 'left-out'
  readonly exitCode: number | null
  readonly sentence: string | null
  readonly times: number
}

/** What a run that somebody asked for tells of itself. */
export type RunEvent =
  | { readonly kind: 'started'; readonly instance: string }
  | { readonly kind: 'line'; readonly timeMs: number; readonly text: string }
  | {
      readonly kind: 'ended'
      readonly outcome: JobRunStatus['outcome']
      readonly exitCode: number | null
      readonly sentence: string | null
    }

/** What a person may ask of a part that runs. */
export type PartOrderKind = 'stop' | 'start' | 'restart'

/** What a stream is opened to. */
export type StreamOrder =
  | {
      readonly kind: 'exec'
      readonly argv: readonly string[]
      readonly env: Readonly<Record<string, string>>
      readonly terminal: TerminalSize | null
      readonly resume?: Resume
    }
  /** Null: the port that the part serves on. */
  | { readonly kind: 'connect'; readonly port: number | null; readonly resume?: Resume }
  /**
   * Null: of several instances the one that came last. `traffic`: what becomes of requests while the program stands at a
   * breakpoint, where there are others to lead them to; it is drained where nothing is said.
   */
  | {
      readonly kind: 'debug'
      readonly instance: string | null
      readonly look: DebugLook
      readonly traffic?: 'drain' | 'keep'
      readonly resume?: Resume
    }
  /** As in the protocol. Null: of several instances the one that came last. */
  | {
      readonly kind: 'capture'
      readonly instance: string | null
      readonly durationMs: number
      readonly bytesMax: number
      readonly port: number | null
    }
  | { readonly kind: 'core'; readonly instance: string | null }
  | ({ readonly kind: 'machine' } & MachineOrder)
  /** As in the protocol: of a machine, and of no part. */
  | Extract<StreamTarget, { kind: 'trace' }>

/** Of a machine, and of no part. */
export type TraceOrder = Extract<StreamOrder, { kind: 'trace' }>
export type PartStreamOrder = Exclude<StreamOrder, TraceOrder>

/** The way that a stream is asked for, which names the right it needs. */
export type StreamWay = 'stream' | 'debug' | 'values' | 'evaluate' | 'kernel' | 'machine' | 'trace' | 'trace-any'

export function wayOf(order: StreamOrder): StreamWay {
  if (order.kind === 'trace') return order.trace.kind === 'own' ? 'trace-any' : 'trace'
  // A kernel that is debugged does what it is told; its console is a shell, as a program run inside may be.
  if (order.kind === 'machine' && order.what !== 'console') {
    // Going back to a state is as stopping and starting is.
    return 'name' in order || order.what === 'snapshots' ? 'machine' : 'kernel'
  }
  // Packets hold what the program was told, passwords among it, and its memory all that it knew.
  if (order.kind === 'capture' || order.kind === 'core') return 'evaluate'
  if (order.kind !== 'debug') return 'stream'
  if (order.look.what === 'dap') return 'evaluate'
  if (order.look.what !== 'snapshot') return 'debug'
  return order.look.condition === null && order.look.expressions.every(isPlainName) ? 'values' : 'evaluate'
}

/** Longest text of one entry of the record. */
const wordsMax = 500

/** What a look is, as a person would say it, for the record; null: the way that it is asked for says all. */
export function wordsOf(order: StreamOrder): string | null {
  const instance = 'instance' in order && order.instance !== null ? ` in instance ${order.instance}` : ''
  if (order.kind === 'capture') return `packets for ${order.durationMs / 1000} s${instance}`
  if (order.kind === 'core') return `core file${instance}`
  if (order.kind === 'machine') {
    if (order.what === 'snapshots') return null
    const again = order.what === 'debugger' && typeof order.resume?.seen === 'number' ? ', back again' : ''
    return 'name' in order ? `${order.what} ${order.name} of its machine` : `${order.what} of its kernel${again}`
  }
  if (order.kind === 'trace') {
    const what = order.trace.kind === 'own' ? `bpftrace ${order.trace.program}` : `trace ${order.trace.name}`
    return `${what.replaceAll(/\s+/g, ' ')} for ${order.durationMs / 1000} s`.slice(0, wordsMax)
  }
  if (order.kind !== 'debug') return null
  const { look, traffic, resume } = order
  switch (look.what) {
    case 'find':
      return null
    case 'stack':
      return `stack${instance}`
    case 'profile':
      return `${look.profile} profile for ${look.durationMs / 1000} s${instance}`
    case 'dap': {
      const again = resume !== undefined && resume.seen !== null ? 'back again' : 'attached'
      return `debugger ${again}${traffic === 'keep' ? ', requests are kept' : ''}${instance}`
    }
    case 'snapshot': {
      const { file, line, expressions, condition, force = false } = look
      const where = condition === null ? '' : ` if ${condition}`
      const how = force ? 'forced snapshot' : 'snapshot'
      return `${how} ${file}:${line} ${expressions.join(', ')}${where}${instance}`.slice(0, wordsMax)
    }
  }
}

/** Names, members and places in lists: nothing in it calls, assigns or computes. */
function isPlainName(expression: string): boolean {
  return /^[A-Za-z_$][\w$]*(?:\??\.[A-Za-z_$][\w$]*|\[\d+\])*$/.test(expression)
}

/** What an operator does with the objects of a bucket, as the record has it. */
export const objectDeeds = ['list', 'read', 'write', 'delete', 'presign'] as const
export type ObjectDeed = (typeof objectDeeds)[number]

/** How an operator reaches a resource: what a program is told, for an address of his own. */
export interface OperatorBinding {
  readonly type: string
  /** Environment variables, for the host and port that were asked for. */
  readonly env: Readonly<Record<string, string>>
}

export interface LogOptions {
  /** Only the last so many lines of what is kept; null for all. */
  readonly tail: number | null
  readonly follow: boolean
  readonly signal: AbortSignal
}

/** What an app is to be from now on. Its bundles are on the machine already. */
export interface Deployment {
  readonly graph: Graph
  /** By part name. */
  readonly bundles: Readonly<Record<string, string>>
  readonly origin: string | null
  /** How it takes the place of what runs; as usual where nothing is said. */
  readonly rollout?: RolloutWish
}

/** What a machine can run bundles with. */
export interface MachineRuntimes {
  readonly platform: string
  readonly arch: string
  readonly node: RuntimeName
  /** Null: there is none. */
  readonly python3: RuntimeName | null
}

export interface RuntimeName {
  readonly name: string
  readonly version: string
  /** Of its executable. */
  readonly digest: string
}

/** Takes in bundles from another machine: what it lacks, piece by piece, each checked by its digest. */
export interface Intake {
  runtimes(): Promise<MachineRuntimes>
  /** Those of the contents that are not here. */
  missing(contents: readonly string[]): Promise<readonly string[]>
  /** Answers how many there were. What has arrived whole before a failure stays for the next try. */
  receive(stream: AsyncIterable<Uint8Array>): Promise<number>
  /** Builds a bundle from contents that are here. */
  assemble(digest: string, manifest: AsyncIterable<Uint8Array>): Promise<void>
  /** Makes a runtime from its executable, which is here as a content. */
  assembleRuntime(runtime: RuntimeName, sizeBytes: number): Promise<void>
  /** Those of the bundles that are not here. */
  missingBundles(digests: readonly string[]): Promise<readonly string[]>
}

/** What is to be broken, and for how long. */
export interface FaultRequest {
  readonly fault: Fault
  readonly leaseMs: number
}

/** A way into the dashboard that works once. */
export interface DashboardLogin {
  /** To be opened in a browser on this machine. What is secret in it stands behind `#`, which no server is sent. */
  readonly url: string
  /** How long it works. */
  readonly forMs: number
}

/** Everything that takes an app throws `operator.unknown-app` when there is none of that name. */
export interface Operations {
  platform(): PlatformInfo
  /** Digests of the bundles that are needed, also by apps that are down. */
  bundles(): readonly string[]
  status(app: string): Status
  graph(app: string): Graph
  /** What is wrong with the design of the release in force. Throws `check.too-complex`. */
  checkup(app: string): Promise<Checkup>
  /** What the parts print: of one part, or of all when `part` is null. Throws `cli.unknown-part`. */
  logs(app: string, part: string | null, options: LogOptions): AsyncIterable<LogLine>
  /** Resolves when it is so, or throws why it is not. `by` is who asks. Throws `control.*`, `cli.order-failed`. */
  order(app: string, part: string, kind: PartOrderKind, by: string): Promise<void>
  /** The jobs of an app, or the one that is named. Throws `cli.unknown-part`. */
  jobs(app: string, part: string | null): readonly JobStatus[]
  /** Starts a job now and tells of it until its end. It goes on when nobody listens any more. Throws `control.*`. */
  run(app: string, part: string, by: string, signal: AbortSignal): Promise<AsyncIterable<RunEvent>>
  /**
   * Opens a stream to an instance of a part for somebody: a program that is run inside, or a connection. Throws `cli.unknown-part`,
   * `cli.not-ready`, `control.*`.
   */
  open(app: string, part: string, order: PartStreamOrder, by: string, onAsked?: (what: string) => void): RemoteStream
  /** Sees what the kernel of a node does. Throws `control.unknown-node`, `control.node-away`. */
  trace(order: TraceOrder): RemoteStream
  /** Lets the operator into a resource, by name and password; null for a service. Throws `cli.unknown-part`, `control.*`. */
  bind(app: string, part: string, host: string, port: number): Promise<OperatorBinding | null>
  /** Yields whenever something may have changed, at most every `intervalMs`; ends with the signal. */
  changes(intervalMs: number, signal: AbortSignal): AsyncIterable<void>
  /** What tripped the wires of an app's parts, the newest first. */
  incidents(app: string): Promise<readonly Incident[]>
  /** Lets the frozen instance of an incident go on, or ends it for good; answers the incident. Throws `control.unknown-incident`. */
  settle(app: string, incident: string, how: 'release' | 'end'): Promise<Incident>
  /** Null: bundles are made by whoever runs it, and not brought. */
  readonly intake: Intake | null
  /** Takes on a deployment; answers the number of the release. */
  deploy(deployment: Deployment, by: string): Promise<number>
  /** Everything of the app stops; its data stays. Resolves when it has, or is about to with the platform. */
  down(app: string): Promise<void>
  /** Forgets an app that is down, and deletes its data for good. */
  remove(app: string): Promise<void>
  /**
   * Breaks something on purpose, as a lease that heals by itself; answers its id. Throws `control.unknown-part` and
   * `control.fault-refused`.
   */
  breakPart(app: string, request: FaultRequest): Promise<string>
  /** Heals it before its time; nothing happens when it is over already. */
  heal(app: string, fault: string): Promise<void>
  /** A way into the dashboard for this caller. Throws `cli.no-dashboard`. */
  dashboardLogin(caller: Caller): DashboardLogin
  readonly secrets: SecretOperations
  readonly queues: QueueOperations
  readonly batch: BatchOperations
  readonly releases: ReleaseOperations
}

/** For an app that is not there; `apps` are those that are. */
export function unknownApp(app: string, apps: readonly string[]): SteadError {
  return new SteadError({
    code: 'operator.unknown-app',
    message: `no app called ${app} runs here`,
    hint: apps.length === 0 ? 'None does.' : `It runs: ${apps.join(', ')}.`,
  })
}
