/**
 * The sandbox driver with a container runtime of OCI, runc or crun, for programs in a root of their own: for who must run what
 * others run. Limits, output, records and the root itself are those of the bubblewrap driver; the runtime makes the namespaces.
 *
 * Invariants: the runtime runs as root, the program never does; what is handed to the runtime lies in memory that is gone with
 * it; when the runtime is killed the program goes on or is gone, and is found again either way.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmdirSync } from 'node:fs'
import { SteadError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import { insideUid, standardFiles } from '../bubblewrap-args.ts'
import type { HostFacts } from '../bubblewrap-args.ts'
import { groupSupport, refuseBeyond, sharedKernel } from '../capabilities.ts'
import type { LimitGroup, LimitGroups } from '../cgroup.ts'
import type {
  OciRuntime,
  OutputLine,
  OutputOptions,
  Sandbox,
  SandboxCapabilities,
  SandboxDriver,
  SandboxSpec,
} from '../driver.ts'
import { quote } from '../launcher.ts'
import { ociConfig, ociKeeper, runtimeGroups } from '../oci-config.ts'
import { ociSeccomp } from '../oci-seccomp.ts'
import { profiles, withEntry } from '../profiles.ts'
import type { Processes, SandboxRecord } from '../record.ts'
import { rootArguments, rootProgram } from '../root.ts'
import { checkSpec } from '../spec.ts'
import { filterOf, identifyInside, lookAtHost, rootFacts, thisArchitecture } from './bubblewrap.ts'
import { endLeftovers, enter } from './exec.ts'
import { adoptSandbox, outputOf, removeRecords } from './found.ts'
import { launch } from './launch.ts'
import { dropArchives } from './output-files.ts'
import { isAlive, processes, signalProcess, treeOf } from './processes.ts'
import { findLogger, findProgram, needProgram } from './programs.ts'
import type { Logger } from './programs.ts'
import { readIfThere, readRecord } from './records.ts'
import { inRoot, makeRootShell, probeRoot, rootPlace, standardInRoot } from './root.ts'
import type { RootShell } from './root.ts'
import { RunningSandbox } from './running.ts'
import type { RunningParts } from './running.ts'
import { canMakeTerminals } from './terminal.ts'
import { waitUntil } from './wait.ts'

/** Beside the program the group holds the keeper and the first process inside. */
const keeperProcesses = 2
const commandTimeoutMs = 10_000
const pidTimeoutMs = 10_000
const forgetTimeoutMs = 2_000
const writtenBytesDefault = 256 * 2 ** 20
const mountPointBytesMax = 2 ** 20

export interface OciRuntimeDriverOptions {
  readonly runtime: OciRuntime
  readonly clock: Clock
  /** From `detectLimitGroups`; null where none can be made. */
  readonly groups: LimitGroups | null
  /** Its command line, where it is not the one that is installed. */
  readonly command?: readonly string[]
  /** Defaults to s6-log where it is installed. */
  readonly logger?: Logger
}

/** Makes the driver. Throws `sandbox.unavailable` where the runtime is not installed, or a root cannot be made. */
export function ociRuntimeDriver({
  runtime,
  clock,
  groups,
  command,
  logger = findLogger(),
}: OciRuntimeDriverOptions): SandboxDriver {
  const words = command ?? [needProgram(runtime, `Install ${runtime} (apt-get install ${runtime}).`)]
  return new OciRuntimeDriver(runtime, words, clock, groups, logger)
}

class OciRuntimeDriver implements SandboxDriver {
  readonly name: OciRuntime
  readonly capabilities: SandboxCapabilities
  /** Its command line, up to the verb. */
  readonly #runtime: readonly string[]
  readonly #clock: Clock
  readonly #groups: LimitGroups | null
  readonly #logger: Logger
  readonly #mkfifo: string
  readonly #perl: string
  readonly #nsenter: string | null
  readonly #host: HostFacts
  readonly #shell: RootShell

  constructor(name: OciRuntime, command: readonly string[], clock: Clock, groups: LimitGroups | null, logger: Logger) {
    this.name = name
    this.#clock = clock
    this.#groups = groups
    this.#logger = logger
    this.#mkfifo = needProgram('mkfifo', 'Install coreutils.')
    this.#perl = needProgram('perl', 'Install perl.')
    const why = probeRoot(this.#perl, null) ?? probeRuntime(command)
    if (why !== null) {
      throw new SteadError({
        code: 'sandbox.unavailable',
        message: `Containers of ${name} cannot be run on this machine: ${why}.`,
        hint: 'Leave the runtime out: images run without one.',
      })
    }
    this.#nsenter = canMakeTerminals() ? findProgram('nsenter') : null
    this.#host = lookAtHost()
    this.#shell = makeRootShell()
    this.#runtime = command
    this.capabilities = capabilitiesWith(groups, logger, this.#nsenter !== null)
  }

  async start(asked: SandboxSpec): Promise<Sandbox> {
    checkSpec(asked)
    refuseBeyond(this.name, this.capabilities, asked)
    const spec = inRoot(asked)
    const { recordDir, limits, root } = spec
    const facts = rootFacts(spec, this.#shell)
    if (root === undefined || facts === null) {
      throw new SteadError({
        code: 'sandbox.refused',
        message: `The ${this.name} sandbox driver runs images, and ${spec.id} has no root of its own.`,
        hint: 'Use the bubblewrap driver, which runs programs of the host as well.',
      })
    }
    // A runtime only says that something was not there.
    const missing = spec.mounts.find(({ source }) => !existsSync(source))
    if (missing !== undefined) {
      throw new SteadError({
        code: 'sandbox.start-failed',
        message: `The sandbox ${spec.id} could not be started: there is no ${missing.source} on this machine.`,
        hint: 'See that the sources of its mounts exist.',
      })
    }
    const files = [...standardInRoot(spec, standardFiles(spec)), ...spec.files]
    const architecture = thisArchitecture()
    const config = ociConfig(spec, {
      place: rootPlace,
      host: this.#host,
      root: facts,
      sh: this.#shell.sh,
      seccomp:
        spec.syscalls === 'none' || architecture === null ? null : ociSeccomp(profiles[spec.syscalls], architecture),
      files: files.map(({ path, writable = false }, index) => ({
        path,
        writable,
        source: `${rootPlace}/bundle/file-${index}`,
      })),
      hasResolver: existsSync('/etc/resolv.conf'),
    })
    const initOf = (): number => Number(readIfThere(pidFileOf(recordDir)) ?? 0)
    const launched = await launch({
      driver: this.name,
      spec,
      clock: this.#clock,
      mkfifo: this.#mkfifo,
      logger: this.#logger,
      perl: this.#perl,
      groups: this.#groups,
      groupLimits: { ...limits, pidsMax: limits.pidsMax === null ? null : limits.pidsMax + keeperProcesses },
      last: this.#lastOf(spec, root, files),
      args: [],
      env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin' },
      cwd: '/',
      handovers: [JSON.stringify(config), ...files.map(({ content }) => content)],
      prepare: () => undefined,
      identify: async () => {
        // It is written when the container has been started, and by then its first process may have spoken.
        await waitUntil(this.#clock, pidTimeoutMs, () => initOf() > 0)
        return identifyInside(initOf())
      },
      abort: async () => {
        const init = processes.identify(initOf())
        if (init !== null) signalProcess(init, 'SIGKILL')
        await this.#forget(spec.id)
      },
    })
    return new RunningSandbox(this.#parts(launched.record, recordDir, launched))
  }

  async adopt(recordDir: string): Promise<Sandbox | null> {
    return adoptSandbox(this.name, recordDir, this.#groups, (record, group) => {
      if (record.processes !== null) endLeftovers(record.id, record.processes.init)
      return this.#parts(record, recordDir, { group, keeper: null })
    })
  }

  output(recordDir: string, options: OutputOptions = {}): AsyncIterable<OutputLine> {
    return outputOf(recordDir, options, this.#clock)
  }

  dropOldOutput(recordDir: string): number {
    return dropArchives(`${recordDir}/output`)
  }

  async remove(recordDir: string): Promise<void> {
    const record = readRecord(recordDir)
    await removeRecords(recordDir, this.#groups)
    if (record !== null) await this.#forget(record.id)
  }

  /** Removes the control groups that a keeper which was killed has left: what has just ended is counted there for a moment longer. */
  async #forget(id: string): Promise<void> {
    await waitUntil(this.#clock, forgetTimeoutMs, () => removeRuntimeGroups(id))
  }

  /** Makes the root, and runs the container in it. */
  #lastOf(spec: SandboxSpec, root: NonNullable<SandboxSpec['root']>, files: SandboxSpec['files']): string {
    const { hostUid, limits, mounts, recordDir, id } = spec
    const { layers, writable, scratch = [], hostIds, user = { uid: insideUid, gid: insideUid } } = root
    const isWritten = writable || scratch.length > 0
    const writtenBytesMax = isWritten
      ? (root.writtenBytesMax ?? limits.tmpBytes ?? writtenBytesDefault)
      : mountPointBytesMax
    const several = hostIds === undefined ? null : { user, hostIds }
    const sources = [...mounts.map(({ source }) => source), this.#shell.directory, recordDir]
    const whose = { hostUid, several }
    const order = { architecture: process.arch, place: rootPlace, ...whose, writtenBytesMax, layers, scratch, sources }
    const keeper = ociKeeper(this.#perl, {
      architecture: process.arch,
      runtime: this.#runtime,
      id,
      hostUid,
      place: rootPlace,
      tmpBytes: limits.tmpBytes,
      files: files.map(({ mode }, index) => ({ name: `file-${index}`, mode })),
      filesBytes: files.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0),
      pidFile: pidFileOf(recordDir),
      exitFile: exitFileOf(recordDir),
    })
    return `exec ${[this.#perl, '-e', rootProgram, ...rootArguments(order), ...keeper].map(quote).join(' ')}`
  }

  #parts(record: SandboxRecord, recordDir: string, own: Pick<RunningParts, 'group' | 'keeper'>): RunningParts {
    return {
      record,
      recordDir,
      clock: this.#clock,
      ...own,
      exec: this.#nsenter === null ? null : this.#exec(record, own.group, this.#nsenter),
      readStatus() {
        const kept = readIfThere(exitFileOf(recordDir))
        return kept === null ? null : Number(kept)
      },
      members: ({ init }: Processes) => (isAlive(init) ? treeOf(init.pid, processes.list()) : []),
    }
  }

  #exec(record: SandboxRecord, group: LimitGroup | null, nsenter: string): NonNullable<RunningParts['exec']> {
    const { syscalls = 'strict' } = record
    const { sh, setsid, setpriv } = this.#shell
    return ({ init }, options) => {
      const filter = filterOf({ syscalls }, withEntry)
      const into = { sandbox: record.id, init, group, nsenter, sh, setsid, setpriv, filter, clock: this.#clock }
      return enter(into, options)
    }
  }
}

/** Answers whether all are gone. */
function removeRuntimeGroups(id: string): boolean {
  const top = '/sys/fs/cgroup'
  const groups = [top, ...readdirSync(top).map((name) => `${top}/${name}`)].map(
    (place) => `${place}/${runtimeGroups}/${id}`,
  )
  for (const group of groups) {
    try {
      rmdirSync(group)
    } catch {
      // There is none, or something of it is still ending.
    }
  }
  return !groups.some((group) => existsSync(group))
}

function pidFileOf(recordDir: string): string {
  return `${recordDir}/pid`
}

function exitFileOf(recordDir: string): string {
  return `${recordDir}/exit`
}

/** Why a runtime does not work here; null where it answers. */
function probeRuntime([program = '', ...args]: readonly string[]): string | null {
  const { status, stderr, error } = spawnSync(program, [...args, '--version'], {
    encoding: 'utf8',
    timeout: commandTimeoutMs,
    env: {},
  })
  return status === 0 ? null : (error?.message ?? stderr.trim().split('\n')[0] ?? 'it does not answer')
}

function capabilitiesWith(groups: LimitGroups | null, logger: Logger, exec: boolean): SandboxCapabilities {
  const held = (can: boolean): 'native' | 'refused' => (can ? 'native' : 'refused')
  const { weaker: groupsWeaker, ...ofGroups } = groupSupport(groups)
  return {
    isolation: 'native',
    ownNetwork: 'native',
    ...ofGroups,
    tmpLimit: 'native',
    // Groups of the host that may use them are no users of the container.
    devices: 'refused',
    syscallFilter: held(thisArchitecture() !== null),
    root: 'native',
    users: 'native',
    exec: held(exec),
    outputFilter: 'native',
    survivesSupervisor: 'native',
    ...sharedKernel,
    weaker: [
      'programs of the host are refused: only what brings a root of its own is run',
      'namespaces of its own are kept from a program by the filter alone: without one it may make some',
      ...groupsWeaker,
      ...logger.weaker,
    ],
  }
}
