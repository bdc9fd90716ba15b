/**
 * The messages between control and its agents and gateways, with their validators. Agents and gateways dial out, say
 * hello, get everything there is (a snapshot) and then what changes.
 */
import { z } from 'zod'
import { type DataTask, dataTaskSchema } from './data.ts'
import { type FaultLease, faultLeaseSchema, type FaultStatus, faultStatusSchema } from './faults.ts'
import { type Assignment, assignmentSchema, type Plan, planSchema } from './plan.ts'
import { type RouteTable, routeTableSchema } from './routes.ts'
import { type AssignmentStatus, diskSchema, type DiskState, statusSchema } from './status.ts'
import {
  type StreamEnd,
  streamEndSchema,
  type StreamTarget,
  streamTargetSchema,
  streamWindowBytes,
  type TerminalSize,
  terminalSizeSchema,
} from './stream.ts'
import {
  nodeOfferSchema,
  poolBeatsInMessageMax,
  poolNodeSchema,
  poolNodesInMessageMax,
  type PoolUpward,
  taskEndsSchema,
  taskJobSchema,
  type TasksDownward,
  tasksInMessageMax,
  taskStartSchema,
  taskStopSchema,
  type TasksUpward,
} from './tasks.ts'
import { type TrafficReport, trafficReportSchema } from './traffic.ts'

/**
 * Version of these messages, and the oldest that control still speaks with: an upgrade goes node by node, so control is a
 * version ahead for a while. A peer outside these is refused by name. What is new in a version is a message or a field
 * that an older peer can do without, and control sends a new message only to a peer that knows it.
 */
export const protocolVersion = 5
export const protocolVersionMin: number = protocolVersion - 1

/** Most faults that a node tells of, those that are over included. */
const faultsMax = 100

/** Most pieces of a bundle that are asked for at once. */
const bundlePiecesMax = 256

/** A question from control to a node, answered in pieces under its id. */
export type Ask =
  | { readonly kind: 'logs'; readonly assignment: string; readonly tail: number | null; readonly follow: boolean }
  /** Delete what an app has stored here, once nothing of it runs. Since protocol 2. */
  | { readonly kind: 'delete-data'; readonly app: string }
  /**
   * The incidents of an app on this node, each as a line with the whole of it as JSON; `release` lets the frozen instance of
   * one go on first, `end` ends it for good. Since protocol 3.
   */
  | {
      readonly kind: 'incidents'
      readonly app: string
      readonly act: 'list' | 'release' | 'end'
      readonly incident: string | null
    }
  /** A stream of bytes both ways. It goes on until `ended`, or a cancel. Since protocol 3, with what belongs to it. */
  | StreamTarget
  /** More input for a stream, in base 64; `end`: there will be no more. */
  | { readonly kind: 'input'; readonly ask: string; readonly data: string; readonly end: boolean }
  | { readonly kind: 'resize'; readonly ask: string; readonly size: TerminalSize }
  /** So many bytes of a stream's output have been taken: as many more may be sent. */
  | { readonly kind: 'taken'; readonly ask: string; readonly bytes: number }
  /** Who opened a stream with a name is there, and has taken so many bytes of it in all. Since protocol 5. */
  | { readonly kind: 'seen'; readonly ask: string; readonly bytes: number }
  /** `lost`: who opened it may only have lost its line. A stream with a name waits for him; others end. */
  | { readonly kind: 'cancel'; readonly ask: string; readonly lost?: boolean }
  /** Something about the data of an app; answered with one line of JSON. Since protocol 4. */
  | { readonly kind: 'data'; readonly app: string; readonly task: DataTask }
  /** Break something; answered once it is broken. It heals by itself. Since protocol 3. */
  | { readonly kind: 'break'; readonly lease: FaultLease }
  /** Heal a fault before its time. Since protocol 3. */
  | { readonly kind: 'heal'; readonly fault: string }

/** The version of the protocol in which a node learned to answer each kind of ask. */
export const askSince: Readonly<Record<Ask['kind'], number>> = {
  logs: 1,
  cancel: 1,
  'delete-data': 2,
  incidents: 3,
  break: 3,
  heal: 3,
  data: 4,
  exec: 3,
  connect: 3,
  debug: 4,
  machine: 5,
  capture: 5,
  core: 5,
  trace: 5,
  input: 3,
  resize: 3,
  taken: 3,
  seen: 5,
}

/** A line of an instance's output. */
export interface LogLine {
  readonly assignment: string
  readonly timeMs: number
  readonly text: string
  /** The platform's own words about it, not what it printed: nothing that a program prints can have this. */
  readonly by?: 'platform'
}

/** From an agent or gateway to control. */
export type Upward =
  | {
      readonly type: 'hello'
      readonly protocol: number
      readonly role: 'agent' | 'gateway' | 'pool'
      readonly name: string
    }
  | { readonly type: 'status'; readonly full: boolean; readonly statuses: readonly AssignmentStatus[] }
  /** The plan or route table of this revision is in force; `busy` are the instances that still carry streams or requests. */
  | { readonly type: 'applied'; readonly revision: number; readonly busy: readonly string[] }
  | {
      readonly type: 'answer'
      readonly ask: string
      readonly lines: readonly LogLine[]
      readonly done: boolean
      readonly error: string | null
      /** What to do about the error. Older nodes say nothing of it. */
      readonly hint?: string
    }
  /** All faults of the node: those that last, and those that were a while ago. */
  | { readonly type: 'faults'; readonly faults: readonly FaultStatus[] }
  /**
   * The node lacks this bundle and asks for `pieces` of it. `from` is how many it has asked for before: 0 starts. It asks
   * for more as it takes them in, so that no more are under way than it can hold.
   */
  | { readonly type: 'fetch-bundle'; readonly digest: string; readonly from: number; readonly pieces: number }
  /** From a gateway, once a second while there is something to tell. Since protocol 2. */
  | { readonly type: 'traffic'; readonly report: TrafficReport }

  /** How full the node's disk is; told at first, and when that has changed. Since protocol 3, with the two below. */
  | { readonly type: 'disk'; readonly disk: DiskState }
  /** What a stream gives, in base 64. `took`: bytes of input that were taken, in the first answer of a stream with a name. */
  | {
      readonly type: 'output'
      readonly ask: string
      readonly to: 'out' | 'err'
      readonly data: string
      readonly took?: number
    }
  /** So many bytes of a stream's input have been taken. */
  | { readonly type: 'taken'; readonly ask: string; readonly bytes: number }
  /** A stream has ended, or (`end` is null) could not be opened or went wrong. */
  | { readonly type: 'ended'; readonly ask: string; readonly end: StreamEnd | null; readonly error: string | null }
  /** What a node has and does for submitted jobs. Since protocol 5; who never says it is told no tasks. */
  | TasksUpward
  | PoolUpward

/** From control to an agent or gateway. */
export type Downward =
  | { readonly type: 'plan'; readonly plan: Plan }
  | {
      readonly type: 'plan-delta'
      readonly epoch: number
      /** The revision it applies to; with any other in force the agent asks for a snapshot by dialling anew. */
      readonly base: number
      readonly revision: number
      readonly put: readonly Assignment[]
      readonly remove: readonly string[]
    }
  | { readonly type: 'routes'; readonly epoch: number; readonly table: RouteTable }
  | { readonly type: 'ask'; readonly id: string; readonly ask: Ask }
  /** A piece of a bundle in base 64; `done` closes it, with an error when it cannot be had. */
  | {
      readonly type: 'bundle'
      readonly digest: string
      readonly data: string
      readonly done: boolean
      readonly error: string | null
    }
  | { readonly type: 'refused'; readonly code: string; readonly message: string }
  | TasksDownward

const bytes = z.int().min(0).max(streamWindowBytes)

const logLine = z.object({
  assignment: z.string(),
  timeMs: z.number(),
  text: z.string(),
  by: z.literal('platform').exactOptional(),
})

/** Validates what control receives. */
export const upwardSchema: z.ZodType<Upward> = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('hello'),
    protocol: z.int(),
    role: z.enum(['agent', 'gateway', 'pool']),
    name: z.string().min(1).max(100),
  }),
  z.object({ type: z.literal('status'), full: z.boolean(), statuses: z.array(statusSchema) }),
  z.object({ type: z.literal('applied'), revision: z.int(), busy: z.array(z.string()) }),
  z.object({
    type: z.literal('answer'),
    ask: z.string(),
    lines: z.array(logLine),
    done: z.boolean(),
    error: z.string().nullable(),
    hint: z.string().exactOptional(),
  }),
  z.object({ type: z.literal('faults'), faults: z.array(faultStatusSchema).max(faultsMax) }),
  z.object({
    type: z.literal('fetch-bundle'),
    digest: z.string(),
    from: z.int().min(0),
    pieces: z.int().min(1).max(bundlePiecesMax),
  }),
  z.object({ type: z.literal('disk'), disk: diskSchema }),
  z.object({
    type: z.literal('output'),
    ask: z.string(),
    to: z.enum(['out', 'err']),
    data: z.string(),
    took: z.int().min(0).exactOptional(),
  }),
  z.object({ type: z.literal('taken'), ask: z.string(), bytes }),
  z.object({
    type: z.literal('ended'),
    ask: z.string(),
    end: streamEndSchema.nullable(),
    error: z.string().nullable(),
  }),
  z.object({ type: z.literal('traffic'), report: trafficReportSchema }),
  z.object({
    type: z.literal('tasks-have'),
    offer: nodeOfferSchema,
    running: z.array(z.string()).max(tasksInMessageMax),
    ended: taskEndsSchema,
    jobs: z.array(z.int()),
    last: z.boolean(),
  }),
  z.object({ type: z.literal('tasks-ended'), ended: taskEndsSchema }),
  z.object({ type: z.literal('tasks-offer'), offer: nodeOfferSchema }),
  z.object({
    type: z.literal('pool-have'),
    nodes: z.array(poolNodeSchema).max(poolNodesInMessageMax),
    running: z.array(z.string()).max(tasksInMessageMax),
    ended: taskEndsSchema,
    jobs: z.array(z.int()),
    last: z.boolean(),
  }),
  z.object({ type: z.literal('pool-beats'), nodes: z.array(z.int().min(0)).max(poolBeatsInMessageMax) }),
])

const ask: z.ZodType<Ask> = z.union([
  streamTargetSchema,
  z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('logs'), assignment: z.string(), tail: z.int().nullable(), follow: z.boolean() }),
    z.object({ kind: z.literal('delete-data'), app: z.string() }),
    z.object({ kind: z.literal('data'), app: z.string(), task: dataTaskSchema }),
    z.object({
      kind: z.literal('incidents'),
      app: z.string(),
      act: z.enum(['list', 'release', 'end']),
      incident: z.string().nullable(),
    }),
    z.object({ kind: z.literal('input'), ask: z.string(), data: z.string(), end: z.boolean() }),
    z.object({ kind: z.literal('resize'), ask: z.string(), size: terminalSizeSchema }),
    z.object({ kind: z.literal('taken'), ask: z.string(), bytes }),
    z.object({ kind: z.literal('seen'), ask: z.string(), bytes: z.int().min(0) }),
    z.object({ kind: z.literal('cancel'), ask: z.string(), lost: z.boolean().exactOptional() }),
    z.object({ kind: z.literal('break'), lease: faultLeaseSchema }),
    z.object({ kind: z.literal('heal'), fault: z.string() }),
  ]),
])

/** Validates what an agent or gateway receives. */
export const downwardSchema: z.ZodType<Downward> = z.discriminatedUnion('type', [
  z.object({ type: z.literal('plan'), plan: planSchema }),
  z.object({
    type: z.literal('plan-delta'),
    epoch: z.int(),
    base: z.int(),
    revision: z.int(),
    put: z.array(assignmentSchema),
    remove: z.array(z.string()),
  }),
  z.object({ type: z.literal('routes'), epoch: z.int(), table: routeTableSchema }),
  z.object({ type: z.literal('ask'), id: z.string(), ask }),
  z.object({
    type: z.literal('bundle'),
    digest: z.string(),
    data: z.string(),
    done: z.boolean(),
    error: z.string().nullable(),
  }),
  z.object({ type: z.literal('refused'), code: z.string(), message: z.string() }),
  z.object({
    type: z.literal('tasks'),
    epoch: z.int(),
    jobs: z.array(taskJobSchema),
    start: z.array(taskStartSchema),
    stop: z.array(taskStopSchema),
    over: z.array(z.int()),
    forget: z.array(z.int()),
  }),
])
