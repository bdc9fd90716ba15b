/** What a node reports of each of its assignments. Never written durably: the node knows, and says it again. */
import { z } from 'zod'
import type { Endpoint, Refusal } from '../network/index.ts'
import type { LogStanding } from '../provider/index.ts'
import { endpointSchema } from './plan.ts'
import type { DebuggerOf } from './stream.ts'

/**
 * Where an assignment stands.
 * waiting: for a part it uses. starting: runs, not ready yet. ready: serves. unready: was ready, does not answer now.
 * backing-off: ended, will be started again. gave-up: will not be started again until something changes.
 * stopping, stopped: as it was told. succeeded, failed: a job's end.
 */
export const phases = [
  'waiting',
  'starting',
  'ready',
  'unready',
  'backing-off',
  'gave-up',
  'stopping',
  'stopped',
  'succeeded',
  'failed',
] as const
export type Phase = (typeof phases)[number]

export interface AssignmentStatus {
  readonly id: string
  readonly phase: Phase
  /** Why, in a sentence, where there is something to say. */
  readonly reason: string | null
  readonly restarts: number
  /** Since when it has been in this phase, milliseconds since 1970 by the node's clock. */
  readonly sinceMs: number
  /** How to reach it, once it can be reached. */
  readonly endpoint: Endpoint | null
  readonly pid: number | null
  readonly memoryBytes: number | null
  /** Processor time used since it was started, seconds; null, or left out by an older node, where it is not known. */
  readonly cpuSeconds?: number | null
  /** What its link to the outside has carried since it was made; absent where it dials nothing outside, and from an older node. */
  readonly carried?: { readonly sentBytes: number; readonly receivedBytes: number }
  /** Since when somebody's debugger is in it, milliseconds since 1970 by the node's clock; absent when nobody's is. */
  readonly heldSinceMs?: number
  /** Whose debuggers are in it, the first first; absent when none is, or from an older node. At most `statusDebuggersMax`. */
  readonly debuggers?: readonly DebuggerStatus[]
  /** The last time that its program ended and nobody had asked for it; absent when it never did. */
  readonly lastEnd?: LastEnd
  /** Of a job that has ended, when its last attempt ended by itself. */
  readonly exitCode?: number
  /** Of a resource: whether what it was assigned last is in force, or was given up. Absent from an older node. */
  readonly settled?: boolean
  /** What it was refused outside, the newest first; absent when nothing was. At most `statusRefusalsMax`. */
  readonly refused?: readonly Refusal[]
  /** The newest incident of this instance; absent when there was none. */
  readonly incident?: IncidentSummary
  /**
   * The credentials in force, as `name@version`: of a resource who is let in, by consumer; of an instance what it was handed,
   * by the part that the credential is for. Left out by nodes of an earlier release.
   */
  readonly credentials?: readonly string[]
  /** Of a resource: generation of the data that it serves. */
  readonly generation?: number
  /** Of a resource: its schema, as its provider names it; null where it has none. */
  readonly schema?: string | null
  /** Of a resource: how it is known that what it acknowledges is on the disk, a sentence. */
  readonly durability?: string
  /** Of a resource that is metered: its metrics, by name. At most `statusMetricsMax`. */
  readonly metrics?: Readonly<Record<string, number>>
  /** Of a resource: how the log stands along which copies of it are brought forward. */
  readonly log?: LogStanding
}

/** A person's debugger in a program. */
export interface DebuggerStatus extends DebuggerOf {
  /** Milliseconds since 1970 by the node's clock. */
  readonly sinceMs: number
  /** Whether the program stands at a breakpoint of it now. */
  readonly stands: boolean
}

/** What a program held in memory when it ended, as a file of its node. */
export interface CoreFile {
  readonly bytes: number
  /** It was bigger than what is kept of one. */
  readonly isCut: boolean
}

/** An end of a program that nobody had asked for. */
export interface LastEnd {
  /** Milliseconds since 1970 by the node's clock. */
  readonly timeMs: number
  /** How it ended, for a person. */
  readonly sentence: string
  /** Which of its starts it was, from 1. */
  readonly attempt: number
  /** Absent where none was kept. */
  readonly core?: CoreFile
}

/** The disk that a node keeps everything on. low: said to people. critical: nothing new is taken on. */
export interface DiskState {
  readonly freeBytes: number
  readonly totalBytes: number
  readonly level: 'ok' | 'low' | 'critical'
}

/** A twentieth of a disk is low, or 2 GB of a large one; a fiftieth, or 500 MB, is critical. */
export function levelOf(freeBytes: number, totalBytes: number): DiskState['level'] {
  if (freeBytes < Math.min(totalBytes / 50, 500e6)) return 'critical'
  return freeBytes < Math.min(totalBytes / 20, 2e9) ? 'low' : 'ok'
}

export const diskSchema: z.ZodType<DiskState> = z.object({
  freeBytes: z.number().min(0),
  totalBytes: z.number().min(0),
  level: z.enum(['ok', 'low', 'critical']),
})

/** What an instance did that no honest program does, and where that stands. */
export interface IncidentSummary {
  /** Unique for ever; names the evidence on its node. */
  readonly id: string
  readonly wire: Wire
  /** For a person. */
  readonly what: string
  readonly timeMs: number
  /** recorded: it went on, or had ended. frozen: it stands still until a person decides. released, ended: a person has. */
  readonly state: 'recorded' | 'frozen' | 'released' | 'ended'
}

/** All that is kept of an incident, but for the evidence itself. */
export interface Incident extends IncidentSummary {
  readonly app: string
  readonly part: string
  readonly instance: string
  /** Directory of the evidence, on the node. */
  readonly evidence: string
  /** What happened, oldest first. */
  readonly timeline: readonly { readonly timeMs: number; readonly text: string }[]
}

/** decoy: a file that nobody has a reason to touch. addresses: many different ones that it was not given. system-call: one to escape with. */
export type Wire = 'decoy' | 'addresses' | 'system-call'

/** Metrics that travel with a status. */
export const statusMetricsMax = 40

/** Debuggers that travel with a status. */
export const statusDebuggersMax = 8

/** Refusals that travel with a status. */
export const statusRefusalsMax = 8

const text = z.string().max(300)

const refusal: z.ZodType<Refusal> = z.object({
  act: z.enum(['tried', 'looked-up']),
  what: text,
  why: text,
  declare: text.nullable(),
  count: z.int(),
  firstMs: z.number(),
  lastMs: z.number(),
})

const summary = z.object({
  id: z.string().max(100),
  wire: z.enum(['decoy', 'addresses', 'system-call']),
  what: text,
  timeMs: z.number(),
  state: z.enum(['recorded', 'frozen', 'released', 'ended']),
})

/** Validates what is kept of an end. */
export const lastEndSchema: z.ZodType<LastEnd> = z.object({
  timeMs: z.number(),
  sentence: z.string().max(1000),
  attempt: z.int(),
  core: z.object({ bytes: z.int(), isCut: z.boolean() }).exactOptional(),
})

/** Validates an incident that a node tells of. */
export const incidentSchema: z.ZodType<Incident> = summary.extend({
  app: z.string(),
  part: z.string(),
  instance: z.string(),
  evidence: z.string().max(4096),
  timeline: z.array(z.object({ timeMs: z.number(), text: z.string().max(1000) })).max(1000),
})

export const statusSchema: z.ZodType<AssignmentStatus> = z.object({
  id: z.string(),
  phase: z.enum(phases),
  reason: z.string().nullable(),
  restarts: z.int(),
  sinceMs: z.number(),
  endpoint: endpointSchema.nullable(),
  pid: z.int().nullable(),
  memoryBytes: z.number().nullable(),
  cpuSeconds: z.number().nullable().exactOptional(),
  carried: z.object({ sentBytes: z.number(), receivedBytes: z.number() }).exactOptional(),
  heldSinceMs: z.number().exactOptional(),
  debuggers: z
    .array(z.object({ by: z.string(), traffic: z.enum(['drain', 'keep']), sinceMs: z.number(), stands: z.boolean() }))
    .max(statusDebuggersMax)
    .exactOptional(),
  lastEnd: lastEndSchema.exactOptional(),
  exitCode: z.int().exactOptional(),
  settled: z.boolean().exactOptional(),
  refused: z.array(refusal).max(statusRefusalsMax).exactOptional(),
  incident: summary.exactOptional(),
  credentials: z.array(z.string()).exactOptional(),
  generation: z.int().positive().exactOptional(),
  schema: z.string().nullable().exactOptional(),
  durability: z.string().max(1000).exactOptional(),
  metrics: z
    .record(z.string().max(100), z.number())
    .refine((metrics) => Object.keys(metrics).length <= statusMetricsMax)
    .exactOptional(),
  log: z
    .object({
      sinceMs: z.number().nullable(),
      bytes: z.number(),
      waiting: z.number(),
      trouble: z.string().max(1000).nullable(),
    })
    .exactOptional(),
})
