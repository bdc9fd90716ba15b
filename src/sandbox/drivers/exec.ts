/**
 * Runs a program inside a sandbox that runs: `exec-entry` puts on group and filter and becomes nsenter, which enters the
 * namespaces of the sandbox's first process and starts the program there.
 *
 * Invariants: the program runs under the user, the limits and the filter of the sandbox; when it ends, when it is killed or
 * when its supervisor is gone and another adopts the sandbox, what carries its mark is ended.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync, readlinkSync } from 'node:fs'
import { extname } from 'node:path'
import { type Duplex, PassThrough, type Readable, type Writable } from 'node:stream'
import { messageOf, SteadError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import type { LimitGroup } from '../cgroup.ts'
import type { ExecOptions, Executed, Exit } from '../driver.ts'
import { explainExit } from '../exit.ts'
import type { ProcessIdentity } from '../record.ts'
import { withoutInherited } from './inherited.ts'
import { isAlive, processes, signalProcess, treeOf } from './processes.ts'
import { readIfThere } from './records.ts'
import { makePipe, makeTerminal, type Terminal } from './terminal.ts'
import { waitUntil } from './wait.ts'

/** In the environment of what was run inside: by it, its descendants are found. */
const marker = 'STEAD_EXEC'
const readyTimeoutMs = 30_000
/** Between asking to end and killing. */
const termTimeoutMs = 1000
const killTimeoutMs = 10_000
const noLimits = { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: null }

export interface Entered {
  /** Id of the sandbox. */
  readonly sandbox: string
  readonly init: ProcessIdentity
  readonly group: LimitGroup | null
  readonly nsenter: string
  /** Command line of a shell inside. */
  readonly sh: readonly string[]
  /** Command line of setsid inside; null where there is none, and then no terminal. */
  readonly setsid: readonly string[] | null
  /** Command line of setpriv inside, where user 0 is one that the sandbox's program may be. */
  readonly setpriv: readonly string[] | null
  readonly filter: Uint8Array | null
  readonly clock: Clock
}

/** Throws `sandbox.exec-failed`, `sandbox.ended`. */
export async function enter(into: Entered, options: ExecOptions): Promise<Executed> {
  const { init, sandbox } = into
  if (!isAlive(init)) throw failed(into, 'its program has ended')
  const [hostUid, hostGid] = [idOf(init.pid, 'Uid'), idOf(init.pid, 'Gid')]
  // The supervisor's own user is never that of a program.
  if (hostUid === null || hostUid === 0 || hostGid === null || hostGid === 0)
    throw failed(into, 'its user is not known')
  if (options.terminal !== null && into.setsid === null) throw failed(into, 'it has no setsid for a terminal')
  const terminal = options.terminal === null ? null : makeTerminal(init.pid, hostUid, options.terminal)
  const pipes = terminal === null ? (['reads', 'writes', 'writes'] as const).map((how) => makePipe(how, hostUid)) : null
  const environment = makePipe('reads', hostUid)
  const ends = pipes?.map(({ end }) => end) ?? Array.from({ length: 3 }, () => terminal?.slave ?? -1)
  const child = spawnEntry(ends, environment.end)
  for (const end of new Set([...ends, environment.end])) closeSync(end)
  // An entry that ends before it has read is told by its exit, and by nothing else.
  for (const stream of [streamOf(child, 3), streamOf(child, 4), environment.stream]) stream.on('error', () => {})
  const mark = `${sandbox}.${child.pid}`
  try {
    const order = {
      nsenter: into.nsenter,
      argv: argvOf(into, options),
      env: { [marker]: mark },
      gid: hostGid,
      filter: into.filter === null ? null : Buffer.from(into.filter).toString('base64'),
    }
    streamOf(child, 4).end(JSON.stringify(order))
    environment.stream.end(assignments({ ...environmentOf(init.pid), ...options.env, [marker]: mark }))
    await ready(into, child)
    await into.group?.join([child.pid ?? 0])
    streamOf(child, 3).end('go\n')
  } catch (error) {
    child.kill('SIGKILL')
    terminal?.[Symbol.dispose]()
    environment.stream.destroy()
    for (const { stream } of pipes ?? []) stream.destroy()
    throw error instanceof SteadError ? error : failed(into, messageOf(error))
  }
  const [input, output, errors] = pipes?.map(({ stream }) => stream) ?? []
  return new Running(into, child, mark, terminal, {
    input: terminal?.master ?? input ?? streamOf(child, 3),
    output: terminal === null ? (output ?? streamOf(child, 3)) : untilHungUp(terminal.master),
    errors: errors ?? null,
  })
}

/** What a terminal prints, until nobody has its other end: reading from it fails then, which is its end. */
function untilHungUp(master: Readable): Readable {
  const output = new PassThrough()
  master.on('error', () => output.end())
  master.on('close', () => output.end())
  return master.pipe(output)
}

class Running implements Executed {
  readonly input: Writable
  readonly output: Readable
  readonly errors: Readable | null
  readonly exited: Promise<Exit>
  readonly #into: Entered
  readonly #child: ChildProcess
  readonly #mark: string
  readonly #terminal: Terminal | null

  constructor(
    into: Entered,
    child: ChildProcess,
    mark: string,
    terminal: Terminal | null,
    streams: Pick<Executed, 'input' | 'output' | 'errors'>,
  ) {
    this.#into = into
    this.#child = child
    this.#mark = mark
    this.#terminal = terminal
    this.input = streams.input
    this.output = streams.output
    this.errors = streams.errors
    // Whoever reads sees the end; that the other side went away first is no failure of its own.
    for (const stream of [this.input, this.output, this.errors]) stream?.on('error', () => {})
    this.exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve(this.#ended(code, signal))))
  }

  resize(size: { columns: number; rows: number }): void {
    this.#terminal?.resize(size)
  }

  async kill(): Promise<void> {
    const { clock } = this.#into
    this.#signal('SIGHUP')
    this.#signal('SIGTERM')
    await waitUntil(clock, termTimeoutMs, () => this.#members().length === 0)
    const gone = await waitUntil(clock, killTimeoutMs, () => this.#signal('SIGKILL') === 0)
    this.#child.kill('SIGKILL')
    if (gone) return void (await this.exited)
    throw failed(this.#into, `what was run inside did not end within ${killTimeoutMs} ms of SIGKILL`)
  }

  /** The end of the program; what it left in the background goes with it. */
  async #ended(code: number | null, signal: NodeJS.Signals | null): Promise<Exit> {
    await waitUntil(this.#into.clock, killTimeoutMs, () => this.#signal('SIGKILL') === 0)
    if (signal === null) return explainExit(code, { oomKills: 0, forksRefused: 0 }, noLimits)
    return { cause: 'signal', code: null, signal, sentence: `ended by signal ${signal}` }
  }

  #members(): readonly ProcessIdentity[] {
    return marked(this.#into.init, (mark) => mark === this.#mark)
  }

  #signal(signal: NodeJS.Signals): number {
    const members = this.#members()
    for (const member of members) signalProcess(member, signal)
    return members.length
  }
}

/** Ends what earlier supervisors ran inside a sandbox. */
export function endLeftovers(sandbox: string, init: ProcessIdentity): void {
  for (const member of marked(init, (mark) => mark.startsWith(`${sandbox}.`))) signalProcess(member, 'SIGKILL')
}

/** The processes of a sandbox, and those that stand beside it to follow one, that carry a mark. */
function marked(init: ProcessIdentity, fits: (mark: string) => boolean): readonly ProcessIdentity[] {
  if (!isAlive(init)) return []
  const all = processes.list()
  const inside = treeOf(init.pid, all)
  const own = all.filter((process) => inside.includes(process) || isInNamespaceOf(init.pid, process.pid))
  return own.filter(({ pid }) => {
    const mark = environmentOf(pid)[marker]
    return mark !== undefined && fits(mark)
  })
}

/** What nsenter started is no descendant of the first process, but its process ids are counted by the same namespace. */
function isInNamespaceOf(init: number, pid: number): boolean {
  return namespaceOf(pid) !== null && namespaceOf(pid) === namespaceOf(init)
}

function namespaceOf(pid: number): string | null {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`)
  } catch {
    return null
  }
}

function spawnEntry(ends: readonly number[], environment: number): ChildProcess {
  const script = `${import.meta.dirname}/exec-entry${extname(import.meta.filename)}`
  const nothing = openSync('/dev/null', 'r')
  try {
    return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script], {
      stdio: withoutInherited([...ends, 'pipe', 'pipe', environment], nothing),
      env: {},
      cwd: '/',
      detached: true,
    })
  } finally {
    closeSync(nothing)
  }
}

function argvOf({ init: { pid }, sh, setsid, setpriv }: Entered, { argv, terminal }: ExecOptions): string[] {
  const namespaces = ['--user', '--mount', '--pid', '--ipc', '--uts', '--cgroup', '--net']
  const uid = insideUidOf(pid)
  const who = ['--setuid', uid, '--preserve-credentials', '--wd']
  // Who enters a user namespace as its user 0 has every right in it, whatever its programs have.
  const held = uid !== '0' || setpriv === null ? [] : [...setpriv, '--inh-caps=-all', `--bounding-set=${boundsOf(pid)}`]
  // A session of its own inside, so that what is typed at the terminal reaches the program and not nsenter.
  const session = terminal === null || setsid === null ? [] : [...setsid, '--ctty']
  const shell = [...sh, '-c', takeEnvironment, 'sh']
  return ['nsenter', '--target', String(pid), ...namespaces, ...who, '--', ...held, ...session, ...shell, ...argv]
}

/** The user inside that the first process is. */
function insideUidOf(pid: number): string {
  const uid = idOf(pid, 'Uid') ?? -1
  const rows = readQuietly(`/proc/${pid}/uid_map`)
    .split('\n')
    .map((row) => row.trim().split(/\s+/).map(Number))
  const row = rows.find(([, outside = 0, count = 0]) => uid >= outside && uid < outside + count)
  return row === undefined ? '' : String((row[0] ?? 0) + uid - (row[1] ?? 0))
}

/** What the first process may ever do, in the words of setpriv. */
function boundsOf(pid: number): string {
  const bounds = BigInt(`0x${/^CapBnd:\s+([0-9a-f]+)$/m.exec(readQuietly(`/proc/${pid}/status`))?.[1] ?? '0'}`)
  const numbers = Array.from({ length: 64 }, (_, number) => number)
  return [
    '-all',
    ...numbers.filter((number) => (bounds >> BigInt(number)) & 1n).map((number) => `+cap_${number}`),
  ].join()
}

/**
 * Run inside: takes the program's environment, and becomes the program. It comes by a descriptor because a command line can
 * be read by others, and so late because the program of the sandbox has it in its hand: before the namespaces are entered
 * it would be read by the loader of a process that is the host's.
 */
const takeEnvironment = 'set -a; . /proc/self/fd/5; set +a; exec 5<&-; exec "$@"'

/** Variables as a shell reads them, each value quoted whole. Names that a shell does not know as such are left out. */
function assignments(env: Readonly<Record<string, string>>): string {
  return Object.entries(env)
    .filter(([name]) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
    .map(([name, value]) => `${name}='${value.replaceAll("'", "'\\''")}'\n`)
    .join('')
}

/** Resolves when the entry waits to be let go. */
async function ready(into: Entered, child: ChildProcess): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  using _timer = into.clock.after(readyTimeoutMs, () => reject(failed(into, 'it was not entered in time')))
  child.once('error', (error) => reject(failed(into, messageOf(error))))
  child.once('exit', (code) => reject(failed(into, `its entry ended with code ${code}`)))
  streamOf(child, 3).once('data', () => resolve())
  await promise
}

function streamOf(child: ChildProcess, descriptor: number): Duplex {
  // Node types descriptors as readable or writable; a pipe is both.
  return child.stdio[descriptor] as Duplex
}

/** The environment a process was started with; empty when it is gone. */
function environmentOf(pid: number): Record<string, string> {
  const entries = readQuietly(`/proc/${pid}/environ`).split('\0').filter(Boolean)
  return Object.fromEntries(
    entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  )
}

/** Of a process, on the host. */
function idOf(pid: number, kind: 'Uid' | 'Gid'): number | null {
  const found = new RegExp(`^${kind}:\\s+(\\d+)`, 'm').exec(readIfThere(`/proc/${pid}/status`) ?? '')?.[1]
  return found === undefined ? null : Number(found)
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // Gone meanwhile.
    return ''
  }
}

function failed({ sandbox }: Entered, why: string): SteadError {
  return new SteadError({
    code: 'sandbox.exec-failed',
    message: `No program could be run inside ${sandbox}: ${why}.`,
    hint: 'See that it runs, and try again.',
    retry: 'later',
  })
}
