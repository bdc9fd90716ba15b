/**
 * What is submitted: data with its validator. Invariant: what passes holds only numbers and texts within limits.ts; whether
 * the nodes can ever hold it is the scheduler's to say.
 */
import { z } from 'zod'
import { type TaskCpuClass, taskCpuTimeSchema, taskEgressSchema } from '../protocol/index.ts'
import type { Selector } from '../scheduler/index.ts'
import {
  arrayTasksMax,
  dependenciesMax,
  gangTasksMax,
  pathsMax,
  retriesMax,
  scriptBytesMax,
  selectorMax,
  wordsBytesMax,
} from './limits.ts'

/** Exit code of a program that wants to go on later, where its job was submitted with `requeue`. */
export const requeueCode = 75

/** Of a core, so that the kernel keeps something for everything else. */
const reservedShareMax = 0.95

/** A slower link is none. */
const networkBitsMin = 64_000

/** Signals that a job may ask for as a warning. */
export const warningSignals = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGTERM', 'SIGCONT'] as const

/** Numbers of an array: from, to and what is between. */
export interface ArrayRange {
  readonly from: number
  readonly to: number
  readonly step: number
}

export interface Submission {
  readonly name: string
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Absolute, inside. */
  readonly cwd: string
  /** Paths of the node that it sees, read-only and as they are. */
  readonly reads: readonly string[]
  readonly writes: readonly string[]
  /** Text that lies at `scriptPath` inside; `argv` is what it is given to, with its arguments. */
  readonly script: string | null
  readonly isolation: 'own' | 'shared' | 'none'
  /** Addresses outside that it may dial, `host:port`; absent: none. */
  readonly egress?: readonly string[] | undefined
  readonly needs: {
    /** Cores, which are also its limit. 0: what is left over, without a limit. */
    readonly cpu: number
    readonly memoryBytes: number
    readonly gpus: number
    /** Thousandths of one GPU, instead of whole ones. */
    readonly gpuMilli?: number | undefined
    /** Models that will do; absent: all. */
    readonly gpuModels?: readonly string[] | undefined
    readonly pidsMax: number
    /** Absent: its cores are its limit, and as good as anybody's. */
    readonly cpuClass?: TaskCpuClass | undefined
    /** Bits per second with the outside that each task is guaranteed, and no more; absent: it shares what is left. */
    readonly networkBits?: number | undefined
    /** Licences, slots and the like, by name. */
    readonly counted?: Readonly<Record<string, number>> | undefined
  }
  readonly timeLimitMs: number | null
  /** Only nodes whose labels meet all of these; absent: any. */
  readonly selector?: readonly Selector[] | undefined
  /** May use what this reservation keeps free, and nothing else. */
  readonly reservation?: string | undefined
  /** No two of its tasks on one node. */
  readonly onePerNode?: boolean | undefined
  /** A signal so long before the time limit. */
  readonly warn: { readonly signal: (typeof warningSignals)[number]; readonly beforeMs: number } | null
  /** -1000 to 1000, within its queue. */
  readonly priority: number
  readonly queue: string
  /** Whose share it uses; null: of who submits it. */
  readonly account: string | null
  /** For accounting; null: no app's. */
  readonly app: string | null
  /** One task for each number; `atMost`: so many at once. */
  readonly array: { readonly ranges: readonly ArrayRange[]; readonly atMost: number | null } | null
  /** So many tasks that start together or not at all; null: it is no gang. */
  readonly gang: number | null
  readonly after: readonly { readonly job: number; readonly when: 'success' | 'failure' | 'end' | 'start' }[]
  /** How often a task that failed is started again. */
  readonly retries: number
  /** Exit code `requeueCode` puts it back into the queue. */
  readonly requeue: boolean
  /** Files that take its output, as Slurm's patterns (%j, %A, %a, %x, %u, %%); null: the platform keeps it. */
  readonly output: { readonly out: string; readonly err: string | null } | null
  /** Whether it gets the variables that scripts for Slurm expect. */
  readonly slurm: boolean
}

/** What is taken where nothing is said. */
export const submissionDefaults: Omit<Submission, 'name' | 'argv'> = {
  env: {},
  cwd: '/tmp',
  reads: [],
  writes: [],
  script: null,
  isolation: 'own',
  needs: { cpu: 1, memoryBytes: 256 * 2 ** 20, gpus: 0, pidsMax: 256 },
  timeLimitMs: null,
  warn: null,
  priority: 0,
  queue: 'default',
  account: null,
  app: null,
  array: null,
  gang: null,
  after: [],
  retries: 0,
  requeue: false,
  output: null,
  slurm: false,
}

const text = z
  .string()
  .max(wordsBytesMax)
  .refine((value) => !value.includes('\0'), 'holds a NUL byte')
const word = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,99}$/, 'must be letters, digits and ._@:+-')
const path = z
  .string()
  .max(4096)
  .regex(/^\/[^\0\n]*$/, 'must be an absolute path')
  .refine((value) => !/\/\.{1,2}(\/|$)|\/\/|.\/$/.test(value), 'must be without dots, double slashes and an end slash')

const selectorSchema: z.ZodType<Selector> = z.union([
  z.object({ label: word, operator: z.enum(['in', 'not-in']), values: z.array(z.string().max(253)).min(1).max(100) }),
  z.object({ label: word, operator: z.enum(['exists', 'not-exists']) }),
])

export const submissionSchema: z.ZodType<Submission> = z
  .object({
    name: z
      .string()
      .min(1)
      .max(200)
      .regex(/^[^\p{Cc}/]+$/u, 'must be printable, without slashes'),
    argv: z.array(text).min(1).max(1000),
    env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is no name of a variable'), text),
    cwd: path,
    reads: z.array(path).max(pathsMax),
    writes: z.array(path).max(pathsMax),
    script: z.string().max(scriptBytesMax).nullable(),
    isolation: z.enum(['own', 'shared', 'none']),
    egress: taskEgressSchema.optional(),
    needs: z.object({
      cpu: z.number().min(0).max(4096),
      memoryBytes: z
        .int()
        .min(2 ** 20)
        .max(2 ** 50),
      gpus: z.int().min(0).max(64),
      gpuMilli: z.int().min(1).max(999).optional(),
      gpuModels: z.array(word).min(1).max(100).optional(),
      pidsMax: z.int().min(1).max(1_000_000),
      cpuClass: z.union([z.literal('best-effort'), taskCpuTimeSchema]).optional(),
      networkBits: z.int().min(networkBitsMin).max(1e12).optional(),
      counted: z.record(word, z.int().min(1).max(1_000_000)).optional(),
    }),
    selector: z.array(selectorSchema).max(selectorMax).optional(),
    reservation: word.optional(),
    onePerNode: z.boolean().optional(),
    timeLimitMs: z
      .int()
      .min(1)
      .max(366 * 86_400_000)
      .nullable(),
    warn: z.object({ signal: z.enum(warningSignals), beforeMs: z.int().min(1) }).nullable(),
    priority: z.int().min(-1000).max(1000),
    queue: word,
    account: word.nullable(),
    app: word.nullable(),
    array: z
      .object({
        ranges: z
          .array(z.object({ from: z.int().min(0), to: z.int().max(4_000_000), step: z.int().min(1) }))
          .min(1)
          .max(1000),
        atMost: z.int().min(1).nullable(),
      })
      .nullable(),
    gang: z.int().min(1).max(gangTasksMax).nullable(),
    after: z
      .array(z.object({ job: z.int().min(1), when: z.enum(['success', 'failure', 'end', 'start']) }))
      .max(dependenciesMax),
    retries: z.int().min(0).max(retriesMax),
    requeue: z.boolean(),
    output: z.object({ out: z.string().min(1).max(4096), err: z.string().min(1).max(4096).nullable() }).nullable(),
    slurm: z.boolean(),
  })
  .superRefine((job, context) => {
    const wrong = (at: string, message: string): void => context.addIssue({ code: 'custom', path: [at], message })
    if (bytesOf(job) > wordsBytesMax) wrong('argv', `is, with env, longer than ${wordsBytesMax} bytes`)
    const { gpus, gpuMilli, cpuClass } = job.needs
    if (gpus > 0 && gpuMilli !== undefined) wrong('needs', 'name whole GPUs or a share of one, not both')
    if (cpuClass === 'best-effort' && job.needs.cpu === 0) wrong('needs', 'of best effort still say how many cores')
    if (cpuClass !== undefined && cpuClass !== 'best-effort') {
      const { runtimeUs, deadlineUs, periodUs } = cpuClass
      if (!(runtimeUs > 0 && runtimeUs <= deadlineUs * reservedShareMax && deadlineUs <= periodUs))
        wrong('needs', `reserve at most ${reservedShareMax * 100} % of a core, with a deadline within the period`)
      if (job.isolation !== 'own') wrong('isolation', 'of reserved CPU time is a sandbox of its own')
    }
    const { egress = [] } = job
    if (egress.length > 0 && job.isolation === 'none')
      wrong('egress', 'is for sandboxes: without one it dials anything')
    if (job.needs.networkBits !== undefined && egress.length === 0)
      wrong('needs', 'a rate is one with the outside, and it may dial nothing there')
    if (job.onePerNode === true && job.array === null && job.gang === null)
      wrong('onePerNode', 'is for several tasks: an array, or a gang')
    if (job.array !== null && job.gang !== null) wrong('gang', 'cannot be an array too')
    if (job.gang !== null && job.isolation === 'shared')
      wrong('isolation', 'of a gang is not shared: its tasks run at once')
    const indexes = job.array === null ? [] : indexesOf(job.array.ranges)
    if (job.array !== null && (indexes.length === 0 || indexes.length > arrayTasksMax))
      wrong('array', `must be 1 to ${arrayTasksMax} tasks`)
    if (new Set(indexes).size !== indexes.length) wrong('array', 'names a task twice')
    if (job.warn !== null && job.timeLimitMs === null) wrong('warn', 'needs a time limit')
    if (job.warn !== null && job.timeLimitMs !== null && job.warn.beforeMs >= job.timeLimitMs)
      wrong('warn', 'comes before the start')
    const toFile = [job.output?.out, job.output?.err].some(
      (one) => one !== undefined && one !== null && one !== '/dev/null',
    )
    if (toFile && job.writes.length === 0 && job.isolation !== 'none')
      wrong('output', 'goes to a file, so the job has to write somewhere')
  })

function bytesOf({ argv, env }: Submission): number {
  return [...argv, ...Object.entries(env).flat()].reduce((sum, one) => sum + Buffer.byteLength(one) + 1, 0)
}

/** The numbers of an array, in order; at most one more than there may be. */
export function indexesOf(ranges: readonly ArrayRange[]): number[] {
  const indexes: number[] = []
  for (const { from, to, step } of ranges)
    for (let index = from; index <= to && indexes.length <= arrayTasksMax; index += step) indexes.push(index)
  return indexes
}
