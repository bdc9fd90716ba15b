/**
 * What a task is told of itself: variables of our own, those that scripts for Slurm expect, and those by which the tasks of
 * a gang find one another. Pure.
 */
import type { JobRecord } from './records.ts'
import { indexesOf } from './submission.ts'

/** Where a script and the host list lie inside; without a sandbox the agent puts them elsewhere and says where. */
export const scriptPath = '/run/stead/script'
export const hostsPath = '/run/stead/hosts'

/** Where the tasks of a gang meet: port of the first of them. */
const rendezvousPortMin = 20_000
const rendezvousPorts = 10_000

/** Where each task of a gang runs, by rank. */
export interface GangPlace {
  readonly node: string
  readonly address: string
}

export interface TaskFacts {
  readonly record: JobRecord
  readonly position: number
  readonly attempt: number
  readonly node: string
  readonly gpus: readonly number[]
  /** Null: it is no gang. */
  readonly gang: readonly GangPlace[] | null
  /** First, last and step of the array; see `arrayFacts`. */
  readonly array: ArrayFacts | null
}

export interface ArrayFacts {
  readonly index: number
  readonly count: number
  readonly min: number
  readonly max: number
  readonly step: number
}

/** What all tasks of an array are told of it, but for the index. */
export function arrayFacts(record: JobRecord): Omit<ArrayFacts, 'index'> | null {
  const { array } = record.submission
  if (array === null) return null
  const indexes = indexesOf(array.ranges)
  const step = array.ranges.length === 1 ? (array.ranges[0]?.step ?? 1) : 1
  return {
    count: indexes.length,
    min: Math.min(...boundsOf(array, 'from')),
    max: indexes.reduce((a, b) => Math.max(a, b), 0),
    step,
  }
}

function boundsOf({ ranges }: NonNullable<JobRecord['submission']['array']>, end: 'from' | 'to'): number[] {
  return ranges.map((range) => range[end])
}

export function environmentOf(facts: TaskFacts): Record<string, string> {
  const { record, attempt, gpus, array, gang } = facts
  const own: Record<string, string> = {
    STEAD_JOB_ID: String(record.id),
    STEAD_JOB_NAME: record.submission.name,
    STEAD_ATTEMPT: String(attempt),
  }
  if (array !== null) own['STEAD_TASK'] = String(array.index)
  if (gpus.length > 0) own['CUDA_VISIBLE_DEVICES'] = gpus.join(',')
  Object.assign(own, sharesOf(record.submission.needs))
  const { slurm, env } = record.submission
  // What was said of the job itself stands.
  const slurmOwn = slurm ? Object.entries(slurmOf(facts)).filter(([name]) => !(name in env)) : []
  return { ...own, ...(gang === null ? {} : gangOf(facts, gang)), ...Object.fromEntries(slurmOwn) }
}

/** What a program has of a GPU (NVIDIA's server for several processes on one keeps it to that) and of a core. */
function sharesOf({ gpuMilli, cpuClass }: JobRecord['submission']['needs']): Record<string, string> {
  const gpu =
    gpuMilli === undefined
      ? {}
      : {
          STEAD_GPU_SHARE: String(gpuMilli / 1000),
          CUDA_MPS_ACTIVE_THREAD_PERCENTAGE: String(Math.max(1, Math.floor(gpuMilli / 10))),
        }
  if (typeof cpuClass !== 'object') return gpu
  const { runtimeUs, periodUs } = cpuClass
  return { ...gpu, STEAD_RUNTIME_US: String(runtimeUs), STEAD_PERIOD_US: String(periodUs) }
}

/** Rank and meeting place, as torchrun's programs (`env://`) expect them. */
function gangOf({ record, position, node }: TaskFacts, gang: readonly GangPlace[]): Record<string, string> {
  const here = gang.flatMap((place, rank) => (place.node === node ? [rank] : []))
  const nodes = [...new Set(gang.map((place) => place.node))]
  return {
    STEAD_RANK: String(position),
    STEAD_TASKS: String(gang.length),
    STEAD_HOSTS: hostsPath,
    RANK: String(position),
    WORLD_SIZE: String(gang.length),
    LOCAL_RANK: String(here.indexOf(position)),
    LOCAL_WORLD_SIZE: String(here.length),
    GROUP_RANK: String(nodes.indexOf(node)),
    MASTER_ADDR: gang[0]?.address ?? '127.0.0.1',
    MASTER_PORT: String(rendezvousPortMin + (record.id % rendezvousPorts)),
  }
}

/** A hostfile as MPI starters read it: a host a line, with its slots. */
export function hostsOf(gang: readonly GangPlace[]): string {
  const slots = new Map<string, number>()
  for (const { address } of gang) slots.set(address, (slots.get(address) ?? 0) + 1)
  return [...slots].map(([address, count]) => `${address} slots=${count}\n`).join('')
}

function slurmOf({ record, position, attempt, node, array, gang }: TaskFacts): Record<string, string> {
  const { id, submission, by } = record
  const { needs, name, queue, account, cwd } = submission
  const tasks = gang?.length ?? 1
  const nodes = gang === null ? [node] : [...new Set(gang.map((place) => place.node))]
  const cpus = String(Math.max(1, Math.ceil(needs.cpu)))
  return {
    SLURM_JOB_ID: String(id),
    SLURM_JOBID: String(id),
    SLURM_JOB_NAME: name,
    SLURM_JOB_PARTITION: queue,
    SLURM_JOB_ACCOUNT: account ?? by,
    SLURM_JOB_USER: by,
    SLURM_SUBMIT_DIR: cwd,
    SLURM_CLUSTER_NAME: 'stead',
    SLURMD_NODENAME: node,
    SLURM_JOB_NODELIST: nodes.join(','),
    SLURM_NODELIST: nodes.join(','),
    SLURM_JOB_NUM_NODES: String(nodes.length),
    SLURM_NNODES: String(nodes.length),
    SLURM_NODEID: String(nodes.indexOf(node)),
    SLURM_NTASKS: String(tasks),
    SLURM_NPROCS: String(tasks),
    SLURM_PROCID: String(gang === null ? 0 : position),
    SLURM_LOCALID: String(
      gang === null ? 0 : gang.flatMap((place, rank) => (place.node === node ? [rank] : [])).indexOf(position),
    ),
    SLURM_CPUS_PER_TASK: cpus,
    SLURM_CPUS_ON_NODE: cpus,
    SLURM_JOB_CPUS_PER_NODE: cpus,
    SLURM_MEM_PER_NODE: String(Math.ceil(needs.memoryBytes / 2 ** 20)),
    SLURM_RESTART_COUNT: String(attempt - 1),
    ...(array === null
      ? {}
      : {
          SLURM_ARRAY_JOB_ID: String(id),
          SLURM_ARRAY_TASK_ID: String(array.index),
          SLURM_ARRAY_TASK_COUNT: String(array.count),
          SLURM_ARRAY_TASK_MIN: String(array.min),
          SLURM_ARRAY_TASK_MAX: String(array.max),
          SLURM_ARRAY_TASK_STEP: String(array.step),
        }),
  }
}

/** The path of a pattern: %j and %A the job, %a the number in the array, %x its name, %u who, %N the node, %t the rank, %% itself; %4j with zeros in front. */
export function outputPath(pattern: string, { record, position, node, array, gang }: TaskFacts): string {
  const values: Record<string, string> = {
    j: String(record.id),
    A: String(record.id),
    a: String(array?.index ?? 0),
    x: record.submission.name,
    u: record.by,
    N: node,
    n: '0',
    t: String(gang === null ? 0 : position),
  }
  const path = pattern.replace(/%(\d*)([a-zA-Z%])/g, (whole, width: string, letter: string) => {
    if (letter === '%') return '%'
    const value = values[letter]
    return value === undefined ? whole : value.padStart(width === '' ? 0 : Math.min(Number(width), 10), '0')
  })
  return path.startsWith('/') ? path : `${record.submission.cwd}/${path}`
}
