/**
 * A place: a small process in which, or by which, tasks of one job run one after another. Its program is a shell that takes
 * orders from a pipe, and keeps the exit of each in a file. Where tasks share a sandbox it is in that sandbox; where each has
 * one of its own it stands on the host, as the job's user and within the limits of one task, and starts them; without
 * isolation it is a plain process tree.
 *
 * Invariants: one task runs at a time, so the limits of the place are those of one task; a place does not depend on who
 * started it: what it was told and how that ended is found again by the next agent.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  appendFileSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  type FSWatcher,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  watch,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Clock, SteadError } from '../base/index.ts'
import type { TaskExit, TaskJob, TaskStart } from '../protocol/index.ts'
import {
  explainExit,
  limitsWithin,
  type NetworkPlace,
  readOutput,
  type Sandbox,
  type SandboxDriver,
  type SandboxSpec,
  seriesProcesses,
} from '../sandbox/index.ts'
import { mayChangeOwner } from './options.ts'
import { notStarted, taskExitOf } from './task-exit.ts'
import { jobFile, quote, seriesPlaceScript, sharedScript } from './task-scripts.ts'
import {
  baseEnvironment,
  cpuClassOf,
  entryOf,
  hostUidOf,
  mountsOf,
  nameFiles,
  scriptFile,
  seriesSpec,
} from './task-spec.ts'

/** What a place prints itself is of no interest. */
const outputBytesMax = 2 ** 20
/** An order must fit into a pipe at once. */
const orderBytesMax = 4096
/** The shell stands beside a task that shares its sandbox, and `seriesProcesses` do where it has one of its own. */
const sharedProcesses = 2
/** Of a sandbox that could not be made, lines that say why. */
const linesOfFailure = 5
const killed = 137
/** In the directory of a place: the agent was shut down under it. */
const interruptedFile = 'interrupted'
const workInside = '/run/stead/place'
const outInside = '/run/stead/out'

export interface PlaceNeeds {
  readonly job: TaskJob
  readonly clock: Clock
  readonly sandbox: SandboxDriver
  readonly unsandboxed: SandboxDriver
  /** Directory of the place. */
  readonly dir: string
  /** Directory of the outputs of tasks that share places, and that of the records of those that have sandboxes of their own. */
  readonly outDir: string
  readonly tasksDir: string
  readonly network: NetworkPlace | null
  /** A task has ended in it; after its own end: what ran in it. `endedMs`: not later than this; null: just now. */
  readonly ended: (task: string, exit: TaskExit, endedMs: number | null) => void
}

/** Who starts the place: what starts sandboxes stands outside. */
function driverOf({ job, sandbox, unsandboxed }: PlaceNeeds): SandboxDriver {
  return job.isolation === 'shared' ? sandbox : unsandboxed
}

/** Whether tasks of the job have sandboxes of their own that a place of this node can start. */
export function isSeries({ isolation, repeats }: TaskJob, { series }: SandboxDriver): boolean {
  return isolation === 'own' && repeats === true && series !== undefined
}

export class TaskPlace {
  readonly #needs: PlaceNeeds
  readonly sandbox: Sandbox
  readonly #orders: number
  readonly #told: number
  readonly #ends: number
  readonly #watcher: FSWatcher
  /** Bytes of `ends` that were taken in. */
  #seen = 0
  #oomKills: number
  /** The task that runs here; null: none does. */
  current: string | null = null
  #gone = false

  private constructor(needs: PlaceNeeds, sandbox: Sandbox) {
    const work = workOf(needs.dir)
    this.#needs = needs
    this.sandbox = sandbox
    this.#orders = openSync(join(work, 'orders'), constants.O_RDWR | constants.O_NONBLOCK)
    this.#told = openSync(toldOf(needs.dir), 'a', 0o600)
    this.#ends = openSync(join(work, 'ends'), 'r')
    this.#oomKills = sandbox.oomKills() ?? 0
    this.#watcher = watch(join(work, 'ends'), { persistent: false }, () => this.#look(null))
    void sandbox.exited.then((exit) => {
      if (!this.#gone) this.#look(null)
      this.close()
      const { current } = this
      this.current = null
      if (current !== null) needs.ended(current, taskExitOf(exit, existsSync(join(needs.dir, interruptedFile))), null)
    })
  }

  /** Makes a place. Throws as the sandbox driver does, and `agent.belongs-to-root`. */
  static async make(needs: PlaceNeeds): Promise<TaskPlace> {
    const { job, dir, outDir, network } = needs
    const driver = driverOf(needs)
    const work = workOf(dir)
    const hostUid = hostUidOf(job)
    const inside = job.isolation === 'shared' && isIsolated(driver)
    const ownsFiles = job.isolation !== 'none' && isIsolated(needs.sandbox) && mayChangeOwner()
    for (const path of [work, outDir]) mkdirSync(path, { recursive: true, mode: 0o711 })
    const { pipes, ...program } =
      job.isolation === 'own' ? seriesProgram(needs, work) : sharedProgram(needs, work, inside)
    const made = ['orders', ...pipes].map((pipe) => join(work, pipe))
    await promisify(execFile)('mkfifo', ['-m', '600', ...made])
    writeFileSync(join(work, 'ends'), '', { mode: 0o600 })
    if (ownsFiles) for (const path of [work, outDir, ...made, join(work, 'ends')]) chownSync(path, hostUid, hostUid)
    const extra = job.isolation === 'own' ? seriesProcesses : sharedProcesses
    const sandbox = await driver.start({
      id: `place-${job.job}-${dir.split('/').at(-1)}-${markOf(dir)}`,
      cwd: inside ? '/tmp' : '/',
      mounts: inside
        ? [
            ...mountsOf(job),
            { source: work, target: workInside, access: 'read-write' },
            { source: outDir, target: outInside, access: 'read-write' },
          ]
        : [],
      hostUid,
      limits: limitsWithin(driver.capabilities, {
        ...job.limits,
        pidsMax: job.limits.pidsMax + extra,
        tmpBytes: job.limits.memoryBytes,
      }).limits,
      ...cpuClassOf(job),
      syscalls: driver.capabilities.syscallFilter === 'native' ? 'strict' : 'none',
      network,
      recordDir: join(dir, 'box'),
      outputBytesMax,
      ...program,
    })
    return new TaskPlace(needs, sandbox)
  }

  /** The place that an earlier agent made, with what has ended in it meanwhile; null: there is none. */
  static async adopt(needs: PlaceNeeds): Promise<TaskPlace | null> {
    const ends = join(workOf(needs.dir), 'ends')
    if (!existsSync(ends)) return null
    const sandbox = await driverOf(needs).adopt(join(needs.dir, 'box'))
    if (sandbox === null) return null
    const place = new TaskPlace(needs, sandbox)
    const told = readFileSync(toldOf(needs.dir), { encoding: 'utf8', flag: 'a+' }).split('\n')
    place.current = told.at(-2) ?? null
    place.#look(Math.floor(statSync(ends).mtimeMs))
    return place
  }

  get isFree(): boolean {
    return !this.#gone && this.current === null
  }

  /** Runs a task here; nothing else runs here then. Throws `agent.order-too-long`. */
  run(start: TaskStart): void {
    const { job } = this.#needs
    const variables = Object.entries(start.env).map(([name, value]) => `${name}=${value}`)
    const words = job.isolation === 'own' ? this.#seriesWords(start) : this.#sharedWords(start)
    const order = `${[start.task, ...words, ...variables].map(quote).join(' ')}\n`
    if (Buffer.byteLength(order) > orderBytesMax)
      throw new SteadError({
        code: 'agent.order-too-long',
        message: 'what the task is told of itself is too long to share a sandbox',
      })
    // First what it is to do: an agent that comes later must know what runs.
    writeSync(this.#told, `${start.task}\n`)
    this.current = start.task
    writeSync(this.#orders, order)
  }

  /** Notes that what runs here is ended because its platform is; whoever adopts it says so. */
  interrupt(): void {
    if (this.current !== null) appendFileSync(join(this.#needs.dir, interruptedFile), '')
  }

  #sharedWords({ task, output }: TaskStart): readonly string[] {
    const { outDir, job, sandbox } = this.#needs
    const inside = job.isolation === 'shared' && isIsolated(sandbox)
    const own = `${inside ? outInside : outDir}/${task}`
    const { out, err } = output ?? { out: own, err: own }
    return [out, err === out ? '' : err]
  }

  /** A second attempt adds to the files that the first has left. */
  #seriesWords({ task, output }: TaskStart): readonly string[] {
    const { tasksDir, job } = this.#needs
    const log = join(tasksDir, entryOf(task), 'output')
    mkdirSync(log, { recursive: true, mode: 0o711 })
    const hostUid = hostUidOf(job)
    if (mayChangeOwner()) chownSync(log, hostUid, hostUid)
    if (output === null) return ['', '', '', log]
    return [task.endsWith('-1') ? 'new' : 'add', output.out, output.err === output.out ? '' : output.err, log]
  }

  /** Takes in what has ended. */
  #look(endedMs: number | null): void {
    const { size } = fstatSync(this.#ends)
    if (size === this.#seen) return
    const bytes = Buffer.alloc(size - this.#seen)
    const length = readSync(this.#ends, bytes, 0, bytes.length, this.#seen)
    const end = bytes.subarray(0, length).lastIndexOf(10) + 1
    this.#seen += end
    for (const line of bytes.toString('latin1', 0, end).split('\n')) {
      const [task = '', status = ''] = line.split(' ')
      if (task === '') continue
      if (this.current === task) this.current = null
      if (status === 'failed') void this.#failed(task, endedMs)
      else this.#needs.ended(task, this.#exitOf(Number(status)), endedMs)
    }
  }

  #exitOf(status: number): TaskExit {
    const { memoryBytes, cpuCores, pidsMax } = this.#needs.job.limits
    const kills = status === killed ? (this.sandbox.oomKills() ?? this.#oomKills) : this.#oomKills
    const oomKills = kills - this.#oomKills
    this.#oomKills = kills
    const limits = { memoryBytes, cpuCores, pidsMax, tmpBytes: memoryBytes }
    return taskExitOf(explainExit(status, { oomKills, forksRefused: 0 }, limits))
  }

  /** Its sandbox could not be made; what was printed says why. */
  async #failed(task: string, endedMs: number | null): Promise<void> {
    const { tasksDir, clock, ended } = this.#needs
    const log = join(tasksDir, entryOf(task), 'output')
    const lines = await Array.fromAsync(readOutput(log, { tail: linesOfFailure }, clock, () => true)).catch(() => [])
    ended(task, notStarted(lines.map(({ text }) => text).join('; ') || 'its sandbox could not be made'), endedMs)
  }

  /** Keeps the output of what runs here within a bound: when it is beyond, the older half is dropped. */
  bound(bytesMax: number): void {
    if (this.current === null || this.#needs.job.isolation === 'own') return
    const path = join(this.#needs.outDir, this.current)
    const { size = 0 } = statSync(path, { throwIfNoEntry: false }) ?? {}
    if (size <= bytesMax) return
    const keep = Buffer.alloc(Math.floor(bytesMax / 2))
    const file = openSync(path, constants.O_RDWR | constants.O_APPEND)
    try {
      const length = readSync(file, keep, 0, keep.length, size - keep.length)
      ftruncateSync(file, 0)
      writeSync(file, keep.subarray(0, length))
    } finally {
      closeSync(file)
    }
  }

  /** Lets go of it; it goes on. */
  close(): void {
    if (this.#gone) return
    this.#gone = true
    this.#watcher.close()
    for (const descriptor of [this.#orders, this.#told, this.#ends]) closeSync(descriptor)
  }
}

type Program = Pick<SandboxSpec, 'argv' | 'env' | 'files'> & {
  /** Those it needs in its directory, beside the one for its orders. */
  readonly pipes: readonly string[]
}

function sharedProgram(needs: PlaceNeeds, work: string, inside: boolean): Program {
  const { job, dir } = needs
  const script = scriptFile(job, driverOf(needs), join(dir, 'box'))
  writeFileSync(join(work, 'job'), jobFile(job, script?.path ?? ''), { mode: 0o644 })
  return {
    argv: ['/bin/sh', '-c', sharedScript(inside), 'sh', inside ? workInside : work],
    env: { ...baseEnvironment(inside), ...job.env },
    files: [...(script === null ? [] : [script]), ...(inside ? nameFiles(job, driverOf(needs)) : [])],
    pipes: [],
  }
}

function seriesProgram({ job, sandbox, dir }: PlaceNeeds, work: string): Program {
  const series = sandbox.series?.(seriesSpec(job, { driver: sandbox, recordDir: join(dir, 'box') }), work)
  if (series === undefined) throw new TypeError(`${sandbox.name} starts no series`)
  const shell = ['/bin/sh', '-c', seriesPlaceScript(series.script), 'sh', work]
  return { argv: [...series.identity, ...shell], env: baseEnvironment(true), files: [], pipes: series.pipes }
}

function isIsolated({ capabilities }: SandboxDriver): boolean {
  return capabilities.isolation !== 'refused'
}

/** Another platform of the machine has jobs of the same numbers: what is found by its id must be ours. */
function markOf(dir: string): string {
  return createHash('sha256').update(dir).digest('hex').slice(0, 12)
}

function workOf(dir: string): string {
  return join(dir, 'work')
}

/** Which tasks the place was told, a line each. */
function toldOf(dir: string): string {
  return join(dir, 'told')
}
