/**
 * What control and an agent say about tasks of submitted jobs. A task of one attempt has one id; starting it twice is
 * starting it once. Invariant: whatever was missed on a lost connection follows from `tasks-have` on the next one.
 */
import { z } from 'zod'
import { parseEgress } from '../network/index.ts'

/** How tasks are kept from the machine: each in a sandbox of its own, those of a job one after another in one, or not at all. */
export type TaskIsolation = 'own' | 'shared' | 'none'

/** What all tasks of a job have in common. */
export interface TaskJob {
  readonly job: number
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Absolute, inside. */
  readonly cwd: string
  /** Paths of the node that it sees as they are; those of `writes` it may change. */
  readonly reads: readonly string[]
  readonly writes: readonly string[]
  /** A text that lies at `scriptPath` of its environment; null: none. */
  readonly script: string | null
  readonly isolation: TaskIsolation
  /** Its tasks run one after another in as many places as run at once. */
  readonly places: boolean
  /** It has many tasks, each with a sandbox of its own: a node may keep at hand what starts them. Older peers know nothing of it. */
  readonly repeats?: boolean
  /** Host user, unless what it writes belongs to another. */
  readonly hostUid: number
  readonly limits: { readonly cpuCores: number | null; readonly memoryBytes: number; readonly pidsMax: number }
  /** Addresses outside that its tasks may dial, `host:port`; absent: none. */
  readonly egress?: readonly string[] | undefined
  /** Bits per second with the outside that each task is guaranteed, and held to; absent: it shares what is left. */
  readonly networkBits?: number | undefined
  /** Absent: it has its limit, and no more is said. */
  readonly cpuClass?: TaskCpuClass | undefined
}

/** `best-effort`: what nobody else wants. Else so many microseconds of one core in every period, by one of the policies of the kernel. */
export type TaskCpuClass = 'best-effort' | TaskCpuTime

export interface TaskCpuTime {
  readonly runtimeUs: number
  readonly periodUs: number
  readonly deadlineUs: number
  readonly policy: 'deadline' | 'fifo'
}

/** A task that is to run. `env` is its own, beside that of its job. */
export interface TaskStart {
  readonly task: string
  readonly job: number
  readonly env: Readonly<Record<string, string>>
  /** The hosts of a gang, a line each; null: it is none. */
  readonly hosts: string | null
  /** Files that take its output instead of the platform; null: it is kept here. */
  readonly output: { readonly out: string; readonly err: string } | null
  /** Which of the node's GPUs it has; absent: none. */
  readonly gpus?: readonly number[] | undefined
  /** On which of the node's cores for it its CPU time is reserved; absent: it has none. */
  readonly core?: number | undefined
  /** On which node, where a pool speaks for many; absent: on the one that is told. */
  readonly node?: string
}

/** `graceMs` after the signal it is killed; null: it only gets the signal. */
export interface TaskStop {
  readonly task: string
  readonly signal: string
  readonly graceMs: number | null
}

/** How a task ended. */
export interface TaskExit {
  /** `not-started`: it never ran; `interrupted`: its node was shut down under it. */
  readonly cause: 'code' | 'signal' | 'memory' | 'unknown' | 'not-started' | 'interrupted'
  readonly code: number | null
  readonly signal: string | null
  readonly sentence: string
}

/** `endedMs`: milliseconds since 1970, by the clock of the node. */
export interface TaskEnd {
  readonly task: string
  readonly endedMs: number
  readonly exit: TaskExit
}

/** What a node has for tasks. What is absent it has not, or as usual. */
export interface NodeOffer {
  readonly cpu: number
  readonly memoryBytes: number
  readonly gpus: { readonly model: string; readonly count: number } | null
  readonly labels: Readonly<Record<string, string>>
  /** Under which address tasks on other nodes reach those here. */
  readonly address: string
  /** Licences, slots and the like, by name. */
  readonly counted?: Readonly<Record<string, number>> | undefined
  /** Cores, of all, on which time may be reserved. */
  readonly realtimeCores?: number | undefined
  /** How much of its cores all tasks together may ask for, with those of best effort. */
  readonly bestEffortFactor?: number | undefined
  /** What its network carries to the world, each way, in bits per second; absent: nobody has said. */
  readonly networkBits?: number | undefined
  /** Whether jobs leave to the parts of apps there what these are expected to use. */
  readonly usesForecast?: boolean | undefined
}

/** Tasks in one message at most; more come in several. */
export const tasksInMessageMax: number = 1000
/** Nodes in one message of a pool, and heartbeats. */
export const poolNodesInMessageMax: number = 1000
export const poolBeatsInMessageMax: number = 100_000

export type TasksUpward =
  /** First on every connection, in as many messages as it takes; `last` closes it. */
  | {
      readonly type: 'tasks-have'
      readonly offer: NodeOffer
      readonly running: readonly string[]
      readonly ended: readonly TaskEnd[]
      readonly jobs: readonly number[]
      readonly last: boolean
    }
  | { readonly type: 'tasks-ended'; readonly ended: readonly TaskEnd[] }
  /** What the node has is not what it was. */
  | { readonly type: 'tasks-offer'; readonly offer: NodeOffer }

/** A node that a pool speaks for; its name begins with that of the pool and a dot. */
export interface PoolNode {
  readonly name: string
  readonly offer: NodeOffer
}

/**
 * What a pool says: one connection that speaks for many nodes which only run tasks of submitted jobs (a relay in front of agents,
 * or nodes that are simulated). It says `tasks-ended` as any node does.
 */
export type PoolUpward =
  /** First on every connection, in as many messages as it takes: as `tasks-have`, of all of them together. */
  | {
      readonly type: 'pool-have'
      readonly nodes: readonly PoolNode[]
      readonly running: readonly string[]
      readonly ended: readonly TaskEnd[]
      readonly jobs: readonly number[]
      readonly last: boolean
    }
  /** Nodes that were heard of since the last of these, by their place in what it has said, from 0. */
  | { readonly type: 'pool-beats'; readonly nodes: readonly number[] }

/** From control; never to a node that has not said what it has. */
export interface TasksDownward {
  readonly type: 'tasks'
  readonly epoch: number
  /** Those of the starts that the node may not know. */
  readonly jobs: readonly TaskJob[]
  readonly start: readonly TaskStart[]
  readonly stop: readonly TaskStop[]
  /** Jobs that are over; their output is kept. */
  readonly over: readonly number[]
  /** Jobs whose output may go. */
  readonly forget: readonly number[]
}

const texts = z.array(z.string())
const named = z.record(z.string(), z.string())

export const taskEndsSchema: z.ZodType<readonly TaskEnd[]> = z
  .array(
    z.object({
      task: z.string(),
      endedMs: z.number(),
      exit: z.object({
        cause: z.enum(['code', 'signal', 'memory', 'unknown', 'not-started', 'interrupted']),
        code: z.int().nullable(),
        signal: z.string().nullable(),
        sentence: z.string(),
      }),
    }),
  )
  .max(tasksInMessageMax)

export const nodeOfferSchema: z.ZodType<NodeOffer> = z.object({
  cpu: z.number().min(0),
  memoryBytes: z.number().min(0),
  gpus: z.object({ model: z.string(), count: z.int().min(1) }).nullable(),
  labels: named,
  address: z.string(),
  counted: z.record(z.string(), z.number().min(0)).optional(),
  realtimeCores: z.int().min(0).optional(),
  bestEffortFactor: z.number().min(1).max(100).optional(),
  networkBits: z.number().min(0).optional(),
  usesForecast: z.boolean().optional(),
})

/** Addresses outside that tasks of one job may dial. */
const taskEgressMax = 100

/** `host:port`, `*.domain:port`, `address:port` or `range/bits:port`. */
export const taskEgressSchema: z.ZodType<readonly string[]> = z
  .array(z.string().max(300))
  .max(taskEgressMax)
  .refine(canBeOpened, 'must be host:port, *.domain:port, address:port or range/bits:port')

function canBeOpened(entries: readonly string[]): boolean {
  try {
    parseEgress(entries)
    return true
  } catch {
    return false
  }
}

export const taskCpuTimeSchema: z.ZodType<TaskCpuTime> = z.object({
  runtimeUs: z.int(),
  periodUs: z.int(),
  deadlineUs: z.int(),
  policy: z.enum(['deadline', 'fifo']),
})

export const taskJobSchema: z.ZodType<TaskJob> = z.object({
  job: z.int(),
  argv: texts,
  env: named,
  cwd: z.string(),
  reads: texts,
  writes: texts,
  script: z.string().nullable(),
  isolation: z.enum(['own', 'shared', 'none']),
  places: z.boolean(),
  repeats: z.boolean().exactOptional(),
  hostUid: z.int(),
  limits: z.object({ cpuCores: z.number().nullable(), memoryBytes: z.number(), pidsMax: z.int() }),
  egress: taskEgressSchema.optional(),
  networkBits: z.int().min(1).optional(),
  cpuClass: z.union([z.literal('best-effort'), taskCpuTimeSchema]).optional(),
})

export const taskStartSchema: z.ZodType<TaskStart> = z.object({
  task: z.string(),
  job: z.int(),
  env: named,
  hosts: z.string().nullable(),
  output: z.object({ out: z.string(), err: z.string() }).nullable(),
  gpus: z.array(z.int()).optional(),
  core: z.int().optional(),
  node: z.string().exactOptional(),
})

export const poolNodeSchema: z.ZodType<PoolNode> = z.object({
  name: z.string().min(1).max(200),
  offer: nodeOfferSchema,
})

export const taskStopSchema: z.ZodType<TaskStop> = z.object({
  task: z.string(),
  signal: z.string(),
  graceMs: z.number().nullable(),
})
