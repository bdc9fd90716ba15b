/**
 * A place: a sandbox (or a plain process tree) in which tasks of one job run one after another. Its program is a small
 * shell that takes orders from a pipe, and keeps the exit of each in a file.
 *
 * Invariants: one task runs at a time, so the limits of the place are those of one task; a place does not depend on who
 * started it: what it was told and how that ended is found again by the next agent.
 */
import { execFile } from 'node:child_process'
import {
  appendFileSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
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
import { constants as osConstants } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { SteadError } from '../base/index.ts'
import type { TaskExit, TaskJob, TaskStart } from '../protocol/index.ts'
import { limitsWithin, type NetworkPlace, type Sandbox, type SandboxDriver } from '../sandbox/index.ts'
import { mayChangeOwner } from './options.ts'
import { baseEnvironment, cpuClassOf, hostUidOf, mountsOf, scriptFile } from './task-spec.ts'

/** What a place prints itself is of no interest. */
const outputBytesMax = 2 ** 20
/** An order must fit into a pipe at once. */
const orderBytesMax = 4096
const signals = ['HUP', 'INT', 'QUIT', 'USR1', 'USR2', 'TERM', 'CONT'] as const

/**
 * The program of a place, given the directory with its files. Orders are words for the shell: the task, where its output
 * goes, where its errors go ('': the same), and variables. What a task leaves behind in a sandbox is ended with it.
 */
export function placeScript(isolated: boolean): string {
  return [
    'cd "$1" || exit 125',
    'exec 9<>orders 8>>ends',
    ...signals.map((signal) => `trap 'kill -${signal} $child 2>/dev/null' ${signal}`),
    'child=',
    'while read -r line <&9; do',
    '  eval "set -- $line"',
    '  id=$1 out=$2 err=$3; shift 3',
    '  (',
    '    exec </dev/null >>"$out" 9>&- 8>&- || exit 126',
    '    if [ -n "$err" ]; then exec 2>>"$err" || exit 126; else exec 2>&1; fi',
    '    for variable; do export "$variable"; done',
    '    . ./job',
    '  ) &',
    '  child=$!',
    '  wait $child; status=$?',
    '  while kill -0 $child 2>/dev/null; do wait $child; status=$?; done',
    '  child=',
    ...(isolated ? ['  kill -9 -1 2>/dev/null'] : []),
    '  echo "$id $status" >&8',
    'done',
  ].join('\n')
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

export interface PlaceNeeds {
  readonly job: TaskJob
  readonly driver: SandboxDriver
  /** Directory of the place. */
  readonly dir: string
  /** Directory of the outputs of the job's tasks. */
  readonly outDir: string
  readonly network: NetworkPlace | null
  /** A task has ended in it; after its own end: what ran in it. */
  readonly ended: (task: string, exit: TaskExit) => void
}

export class TaskPlace {
  readonly #needs: PlaceNeeds
  readonly sandbox: Sandbox
  readonly #orders: number
  readonly #watcher: FSWatcher
  #seen = 0
  /** The task that runs here; null: none does. */
  current: string | null = null
  #gone = false

  private constructor(needs: PlaceNeeds, sandbox: Sandbox) {
    this.#needs = needs
    this.sandbox = sandbox
    this.#orders = openSync(join(workOf(needs.dir), 'orders'), constants.O_RDWR | constants.O_NONBLOCK)
    this.#watcher = watch(join(workOf(needs.dir), 'ends'), { persistent: false }, () => this.#look())
    void sandbox.exited.then((exit) => {
      this.#look()
      this.close()
      const { current } = this
      this.current = null
      if (current !== null) needs.ended(current, exit)
    })
  }

  /** Makes a place. Throws as the sandbox driver does, and `agent.belongs-to-root`. */
  static async make(needs: PlaceNeeds): Promise<TaskPlace> {
    const { job, driver, dir, outDir, network } = needs
    const work = workOf(dir)
    const isolated = driver.capabilities.isolation !== 'refused'
    const hostUid = hostUidOf(job)
    for (const made of [work, outDir]) mkdirSync(made, { recursive: true, mode: 0o711 })
    await promisify(execFile)('mkfifo', ['-m', '600', join(work, 'orders')])
    writeFileSync(join(work, 'ends'), '', { mode: 0o600 })
    const script = scriptFile(job, driver, join(dir, 'box'))
    writeFileSync(join(work, 'job'), jobFile(job, script?.path ?? ''), { mode: 0o644 })
    if (isolated && mayChangeOwner())
      for (const path of [work, outDir, join(work, 'orders'), join(work, 'ends')]) chownSync(path, hostUid, hostUid)
    const sandbox = await driver.start({
      id: `place-${job.job}-${dir.split('/').at(-1)}`,
      argv: ['/bin/sh', '-c', placeScript(isolated), 'sh', isolated ? workInside : work],
      env: { ...baseEnvironment(isolated), ...job.env },
      cwd: isolated ? '/tmp' : '/',
      mounts: isolated
        ? [
            ...mountsOf(job),
            { source: work, target: workInside, access: 'read-write' },
            { source: outDir, target: outInside, access: 'read-write' },
          ]
        : [],
      files: script === null ? [] : [script],
      hostUid,
      // The shell stands beside the task.
      limits: limitsWithin(driver.capabilities, {
        ...job.limits,
        pidsMax: job.limits.pidsMax + 2,
        tmpBytes: job.limits.memoryBytes,
      }).limits,
      ...cpuClassOf(job),
      syscalls: driver.capabilities.syscallFilter === 'native' ? 'strict' : 'none',
      network,
      recordDir: join(dir, 'box'),
      outputBytesMax,
    })
    return new TaskPlace(needs, sandbox)
  }

  /** The place that an earlier agent made, with what has ended in it meanwhile; null: there is none. */
  static async adopt(needs: PlaceNeeds): Promise<TaskPlace | null> {
    if (!existsSync(join(workOf(needs.dir), 'ends'))) return null
    const sandbox = await needs.driver.adopt(join(needs.dir, 'box'))
    if (sandbox === null) return null
    const place = new TaskPlace(needs, sandbox)
    const told = readFileSync(toldOf(needs.dir), { encoding: 'utf8', flag: 'a+' }).split('\n')
    place.current = told.at(-2) ?? null
    place.#look()
    return place
  }

  get isFree(): boolean {
    return !this.#gone && this.current === null
  }

  /** Runs a task here; nothing else runs here then. Throws `agent.order-too-long`. */
  run(start: TaskStart): void {
    const { dir, outDir, driver } = this.#needs
    const isolated = driver.capabilities.isolation !== 'refused'
    const own = `${isolated ? outInside : outDir}/${start.task}`
    const { out, err } = start.output ?? { out: own, err: own }
    const variables = Object.entries(start.env).map(([name, value]) => `${name}=${value}`)
    const order = `${[start.task, out, err === out ? '' : err, ...variables].map(quote).join(' ')}\n`
    if (Buffer.byteLength(order) > orderBytesMax)
      throw new SteadError({
        code: 'agent.order-too-long',
        message: 'what the task is told of itself is too long to share a sandbox',
      })
    // First what it is to do: an agent that comes later must know what runs.
    appendFileSync(toldOf(dir), `${start.task}\n`)
    this.current = start.task
    writeSync(this.#orders, order)
  }

  /** Takes in what has ended. */
  #look(): void {
    const path = join(workOf(this.#needs.dir), 'ends')
    if (statSync(path).size === this.#seen) return
    const bytes = readFileSync(path)
    const end = bytes.lastIndexOf(10) + 1
    const lines = bytes.subarray(this.#seen, end).toString('latin1').split('\n')
    this.#seen = end
    for (const line of lines) {
      const [task = '', status = ''] = line.split(' ')
      if (task === '') continue
      if (this.current === task) this.current = null
      this.#needs.ended(task, exitOf(Number(status)))
    }
  }

  /** Keeps the output of what runs here within a bound: when it is beyond, the older half is dropped. */
  bound(bytesMax: number): void {
    if (this.current === null) return
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
    closeSync(this.#orders)
  }
}

const workInside = '/run/stead/place'
const outInside = '/run/stead/out'

function workOf(dir: string): string {
  return join(dir, 'work')
}

/** Which tasks the place was told, a line each. */
function toldOf(dir: string): string {
  return join(dir, 'told')
}

/** What each task begins with. Without a sandbox the script lies elsewhere. */
function jobFile({ argv, cwd }: TaskJob, script: string): string {
  const words = argv.map((word) => (word === '/run/stead/script' ? script : word))
  return `cd ${quote(cwd)} || exit 126\nexec ${words.map(quote).join(' ')}\n`
}

function exitOf(status: number): TaskExit {
  if (status <= 128) return { cause: 'code', code: status, signal: null, sentence: `ended with code ${status}` }
  const found = Object.entries(osConstants.signals).find(([, number]) => number === status - 128)
  const signal = found?.[0] ?? `signal ${status - 128}`
  return { cause: 'signal', code: status, signal, sentence: `was ended by ${signal}` }
}
