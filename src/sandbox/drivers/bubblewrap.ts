/**
 * The sandbox driver with bubblewrap: own user, process, mount, IPC, host name and cgroup namespaces, no capabilities, a
 * filter on system calls, a read-only root, and limits by limit groups.
 *
 * Invariants: started by root, the program has a host user of its own *before* bubblewrap runs; otherwise its user
 * namespace would map to root of the host, to whom files of /proc/sys that no namespace covers are writable. What runs
 * inside before the program is under the same filter as the program.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, lstatSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { SteadError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import {
  bubblewrapOptions,
  encodeOptions,
  etcWanted,
  insideUid,
  procDirectoriesHidden,
  procFilesHidden,
  standardFiles,
} from '../bubblewrap-args.ts'
import type { HostFacts, RootFacts } from '../bubblewrap-args.ts'
import { groupSupport, refuseBeyond, sharedKernel } from '../capabilities.ts'
import type { LimitGroup, LimitGroups } from '../cgroup.ts'
import type {
  OutputLine,
  OutputOptions,
  Sandbox,
  SandboxCapabilities,
  SandboxDriver,
  SandboxSpec,
  Series,
} from '../driver.ts'
import { descriptors, initScript, quote } from '../launcher.ts'
import { profiles, withEntry } from '../profiles.ts'
import type { Profile } from '../profiles.ts'
import { rootArguments, rootProgram, rootWithin } from '../root.ts'
import { childPidOf, exitCodeOf } from '../record.ts'
import type { Processes, SandboxRecord } from '../record.ts'
import { compileProfile, encodeProgram } from '../seccomp.ts'
import { logDirectory, seriesFiles, seriesFilterFd, seriesScript } from '../series.ts'
import { checkSpec } from '../spec.ts'
import type { Architecture } from '../syscalls.ts'
import { endLeftovers, enter } from './exec.ts'
import { adoptSandbox, outputOf, removeRecords } from './found.ts'
import { launch } from './launch.ts'
import { dropArchives } from './output-files.ts'
import { isAlive, processes, signalProcess, treeOf } from './processes.ts'
import { findLogger, findProgram, needProgram, withoutPerl } from './programs.ts'
import type { Logger } from './programs.ts'
import { readIfThere } from './records.ts'
import { inRoot, makeRootShell, probeRoot, resolveInside, rootPlace, shellTarget, standardInRoot } from './root.ts'
import type { RootShell } from './root.ts'
import { RunningSandbox } from './running.ts'
import { layFile } from './series-files.ts'
import type { RunningParts } from './running.ts'
import { canMakeTerminals } from './terminal.ts'

const name = 'bubblewrap'
/** Beside the program the group holds the outer bubblewrap and the first process inside. */
const keeperProcesses = 2
const probeTimeoutMs = 10_000
const severalForProbe = { user: { uid: 0, gid: 1 }, hostIds: { first: 2, count: 3 } }
const hostShell = ['/bin/sh']
const hostSetsid = ['/usr/bin/setsid']
/** What can be written into a root where no limit of /tmp says it. */
const writtenBytesDefault = 256 * 2 ** 20
/** Room for mount points in a root that is read-only. */
const mountPointBytesMax = 2 ** 20

/** What stands between a sandbox and the program of another driver. */
export interface Around {
  readonly name: string
  /** Such as /dev/kvm. */
  readonly devices: readonly string[]
}

export interface BubblewrapDriverOptions {
  readonly clock: Clock
  /** From `detectLimitGroups`; null where none can be made. */
  readonly groups: LimitGroups | null
  /** Defaults to s6-log where it is installed. */
  readonly logger?: Logger
  /**
   * For a driver that runs its programs in something which this one starts: its name, in records. That something stands in
   * the host's own root; one that the program brings is made all the same, and can be mounted from `madeRoot`. It is given
   * devices of the host, and the groups that may use them.
   */
  readonly around?: Around
}

/** Makes the driver after trying bubblewrap once. Throws `sandbox.unavailable` when it does not work on this machine. */
export function bubblewrapDriver({
  clock,
  groups,
  logger = findLogger(),
  around,
}: BubblewrapDriverOptions): SandboxDriver {
  return new BubblewrapDriver(clock, groups, logger, around ?? null)
}

class BubblewrapDriver implements SandboxDriver {
  readonly name: string = name
  readonly capabilities: SandboxCapabilities
  readonly #clock: Clock
  readonly #groups: LimitGroups | null
  readonly #logger: Logger
  readonly #mkfifo: string
  readonly #perl: string | null = findProgram('perl')
  readonly #bwrap: string
  /** Null where no program can be run inside one that runs. */
  readonly #nsenter: string | null
  /** Null when this process is not root: then everything runs under its own user. */
  readonly #setpriv: string | null
  readonly #host: HostFacts
  /** The driver that this one serves; null: it is the driver itself. */
  readonly #around: Around | null
  /** Made when it is first needed. */
  #rootShell: RootShell | null = null

  constructor(clock: Clock, groups: LimitGroups | null, logger: Logger, around: Around | null) {
    this.#around = around
    this.#clock = clock
    this.#groups = groups
    this.#logger = logger
    this.#mkfifo = needProgram('mkfifo', 'Install coreutils.')
    this.#bwrap = needProgram('bwrap', 'Install bubblewrap (apt-get install bubblewrap).')
    this.#setpriv = process.getuid?.() === 0 ? needProgram('setpriv', 'Install util-linux.') : null
    this.#nsenter = this.#setpriv === null || !canMakeTerminals() ? null : findProgram('nsenter')
    this.#host = lookAtHost()
    probe(this.#bwrap)
    this.capabilities = capabilitiesWith(groups, logger, {
      ownUser: this.#setpriv !== null,
      perl: this.#perl,
      exec: this.#nsenter !== null,
      noRoot: probeRoot(this.#perl, null),
      noUsers: probeRoot(this.#perl, severalForProbe),
      // A guest has users of its own.
      guest: around !== null,
    })
  }

  async start(asked: SandboxSpec): Promise<Sandbox> {
    checkSpec(asked)
    refuseBeyond(name, this.capabilities, asked)
    const { root: _forTheProgram, ...inHost } = asked
    const spec = this.#around === null ? inRoot(asked) : asked
    const standing: SandboxSpec = this.#around === null ? spec : inHost
    const shell = standing.root === undefined ? null : this.#shellOfRoots()
    const files = [...standardInRoot(standing, standardFiles(standing)), ...spec.files]
    const filter = filterOf(spec)
    const contents = [...(filter === null ? [] : [filter]), ...files.map((file) => file.content)]
    const firstFile = descriptors.firstHandover + 1 + (filter === null ? 0 : 1)
    const handover = {
      seccomp: filter === null ? null : descriptors.firstHandover + 1,
      files: files.map(({ path, mode, writable = false }, index) => ({
        path,
        mode,
        writable,
        from: firstFile + index,
      })),
    }
    const options = bubblewrapOptions(spec, this.#host, handover, rootFacts(standing, shell), this.#devicesOf(spec))
    const { recordDir } = spec
    const { pidsMax } = spec.limits
    const launched = await launch({
      driver: this.#around?.name ?? name,
      spec,
      clock: this.#clock,
      mkfifo: this.#mkfifo,
      logger: this.#logger,
      perl: this.#perl,
      groups: this.#groups,
      groupLimits: { ...spec.limits, pidsMax: pidsMax === null ? null : pidsMax + keeperProcesses },
      last: this.#lastOf(spec, shell),
      args: spec.argv,
      env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin' },
      cwd: '/',
      handovers: [encodeOptions(options), ...contents],
      prepare: () => undefined,
      identify: () => identifyInside(childPidOf(readIfThere(statusFileOf(recordDir)) ?? '')),
      abort: async () => {
        const pid = childPidOf(readIfThere(statusFileOf(recordDir)) ?? '')
        const init = pid === null ? null : processes.identify(pid)
        if (init !== null) signalProcess(init, 'SIGKILL')
      },
    })
    return new RunningSandbox(this.#parts(launched.record, recordDir, launched))
  }

  async adopt(recordDir: string): Promise<Sandbox | null> {
    return adoptSandbox(this.#around?.name ?? name, recordDir, this.#groups, (record, group) => {
      // What a supervisor that died had run inside has nobody left who follows it.
      if (record.processes !== null) endLeftovers(record.id, record.processes.init)
      return this.#parts(record, recordDir, { group, keeper: null })
    })
  }

  /** Throws as `start` does; `sandbox.refused` too for what only a start by a supervisor can have. */
  series(spec: SandboxSpec, directory: string): Series {
    checkSpec(spec)
    refuseBeyond(name, this.capabilities, spec)
    if (spec.root !== undefined || spec.filterFile !== undefined || this.#around !== null) {
      throw new SteadError({
        code: 'sandbox.refused',
        message: `The sandbox ${spec.id} cannot be started in a series: it has a root or an output filter of its own.`,
        hint: 'Start it by itself.',
      })
    }
    const owner = this.#setpriv === null ? null : spec.hostUid
    const lay = (file: string, content: string | Uint8Array, mode: number): string =>
      layFile(directory, file, content, mode, owner)
    const files = [...standardFiles(spec), ...spec.files].map(({ path, mode, writable = false, content }, index) => {
      return { path, mode, writable, from: lay(`file-${index}`, content, mode) }
    })
    const filter = filterOf(spec)
    if (filter !== null) lay(seriesFiles.filter, filter, 0o400)
    const handover = { seccomp: filter === null ? null : seriesFilterFd, files }
    lay(seriesFiles.options, encodeOptions(bubblewrapOptions(spec, this.#host, handover)), 0o400)
    lay(seriesFiles.status, '', 0o600)
    const logger = this.#logger.command(logDirectory, spec.outputBytesMax)
    return {
      identity: this.#identity(spec.hostUid, this.#devicesOf(spec)),
      script: seriesScript({ bwrap: this.#bwrap, argv: spec.argv, filtered: filter !== null, logger }),
      // A program may reopen it as /dev/stdout.
      pipes: [seriesFiles.output],
    }
  }

  output(recordDir: string, options: OutputOptions = {}): AsyncIterable<OutputLine> {
    return outputOf(recordDir, options, this.#clock)
  }

  dropOldOutput(recordDir: string): number {
    return dropArchives(`${recordDir}/output`)
  }

  async remove(recordDir: string): Promise<void> {
    await removeRecords(recordDir, this.#groups)
  }

  /** Makes the root, becomes the host user of the workload, then bubblewrap, which stays as the keeper of the exit. */
  #lastOf(spec: SandboxSpec, shell: RootShell | null): string {
    const { hostUid, root, limits, mounts } = spec
    const drop = this.#identity(hostUid, this.#devicesOf(spec)).map(quote).join(' ')
    const options = `--args ${descriptors.firstHandover} --json-status-fd ${descriptors.status}`
    const sh = (shell?.sh ?? hostShell).map(quote).join(' ')
    const bwrap = `${drop} ${quote(this.#bwrap)} ${options} -- ${sh} -c ${quote(initScript)} sh "$@"`
    if (root === undefined || this.#perl === null) return `exec ${bwrap}`
    const { layers, writable, scratch = [] } = root
    const isWritten = writable || scratch.length > 0
    const writtenBytesMax = isWritten
      ? (root.writtenBytesMax ?? limits.tmpBytes ?? writtenBytesDefault)
      : mountPointBytesMax
    const sources = [...mounts.map(({ source }) => source), ...(shell === null ? [] : [shell.directory])]
    const { hostIds, user = { uid: insideUid, gid: insideUid } } = root
    const several = hostIds === undefined ? null : { user, hostIds }
    const whose = { hostUid, several }
    const order = { architecture: process.arch, place: rootPlace, ...whose, writtenBytesMax, layers, scratch, sources }
    return `exec ${[this.#perl, '-e', rootProgram, ...rootArguments(order)].map(quote).join(' ')} ${bwrap}`
  }

  #devicesOf({ devices = [] }: SandboxSpec): readonly string[] {
    return [...(this.#around?.devices ?? []), ...devices]
  }

  /** In front of a command line: who it is run as. */
  #identity(hostUid: number, devices: readonly string[]): readonly string[] {
    if (this.#setpriv === null) return []
    const closed = devices.filter((device) => (statSync(device).mode & 0o006) !== 0o006)
    const groups = closed.map((device) => statSync(device).gid)
    const held = groups.length === 0 ? '--clear-groups' : `--groups=${groups.join(',')}`
    const ids = [`--reuid=${hostUid}`, `--regid=${hostUid}`, held]
    return [this.#setpriv, ...ids, '--inh-caps=-all', '--bounding-set=-all', '--no-new-privs']
  }

  #shellOfRoots(): RootShell {
    this.#rootShell ??= makeRootShell()
    return this.#rootShell
  }

  #exec(record: SandboxRecord, group: LimitGroup | null, nsenter: string): NonNullable<RunningParts['exec']> {
    const { syscalls = 'strict' } = record
    return ({ init }, options) => {
      const rooted = record.rooted === true ? this.#shellOfRoots() : null
      const { sh, setsid, setpriv } = rooted ?? { sh: hostShell, setsid: hostSetsid, setpriv: null }
      const filter = filterOf({ syscalls }, withEntry)
      const into = { sandbox: record.id, init, group, nsenter, sh, setsid, setpriv, filter, clock: this.#clock }
      return enter(into, options)
    }
  }

  #parts(record: SandboxRecord, recordDir: string, own: Pick<RunningParts, 'group' | 'keeper'>): RunningParts {
    return {
      record,
      recordDir,
      clock: this.#clock,
      ...own,
      exec: this.#nsenter === null ? null : this.#exec(record, own.group, this.#nsenter),
      readStatus: () => exitCodeOf(readIfThere(statusFileOf(recordDir)) ?? ''),
      members: ({ init }) => (isAlive(init) ? treeOf(init.pid, processes.list()) : []),
    }
  }
}

/** In the launcher's namespace, a root that a program brings. */
export const madeRoot: string = `${rootPlace}/${rootWithin}`

/** Of a spec with a root; null for others. */
export function rootFacts({ root }: SandboxSpec, shell: RootShell | null): RootFacts | null {
  if (root === undefined || shell === null) return null
  const resolver = resolveInside(root, '/etc/resolv.conf')
  return { path: madeRoot, shellSource: shell.directory, shellTarget, resolver }
}

function statusFileOf(recordDir: string): string {
  return `${recordDir}/status`
}

/** A profile as the kernel takes it; null for none, or where none is known for this processor. */
export function filterOf(
  { syscalls }: Pick<SandboxSpec, 'syscalls'>,
  change: (profile: Profile) => Profile = (profile) => profile,
): Uint8Array | null {
  const architecture = thisArchitecture()
  return syscalls === 'none' || architecture === null
    ? null
    : encodeProgram(compileProfile(change(profiles[syscalls]), architecture))
}

export function thisArchitecture(): Architecture | null {
  return process.arch === 'x64' || process.arch === 'arm64' ? process.arch : null
}

/** The first process inside, and its only child, which waits at the gate and will be the program. */
export function identifyInside(initPid: number | null): Pick<Processes, 'init' | 'program'> | null {
  const init = initPid === null ? null : processes.identify(initPid)
  const programPid = Number(readIfThere(`/proc/${initPid}/task/${initPid}/children`) ?? childByTable(initPid))
  const program = processes.identify(programPid)
  return init === null || program === null ? null : { init, program }
}

/** For kernels without lists of children. */
function childByTable(parent: number | null): number {
  return processes.list().find((process) => process.parent === parent)?.pid ?? 0
}

/** What of this machine programs see inside. */
export function lookAtHost(): HostFacts {
  const systemDirectories = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'].filter((path) => existsSync(path))
  return {
    systemDirectories: systemDirectories.map((path) => ({
      path,
      linkTo: lstatSync(path).isSymbolicLink() ? readlinkSync(path) : null,
    })),
    etc: etcWanted.filter((path) => existsSync(path)),
    procFiles: procFilesHidden.filter((path) => existsSync(path)),
    procDirectories: procDirectoriesHidden.filter((path) => existsSync(path)),
  }
}

function probe(bwrap: string): void {
  const args = [
    '--unshare-user',
    '--unshare-pid',
    '--disable-userns',
    '--ro-bind',
    '/',
    '/',
    '--proc',
    '/proc',
    '/bin/true',
  ]
  const { status, stderr } = spawnSync(bwrap, args, { encoding: 'utf8', timeout: probeTimeoutMs, env: {} })
  if (status === 0) return
  const restricted =
    existsSync('/proc/sys/kernel/apparmor_restrict_unprivileged_userns') &&
    readFileSync('/proc/sys/kernel/apparmor_restrict_unprivileged_userns', 'utf8').trim() === '1'
  throw new SteadError({
    code: 'sandbox.unavailable',
    message: `Bubblewrap does not work on this machine: ${stderr.trim() || 'it did not answer'}.`,
    hint: restricted
      ? 'This system forbids user namespaces: run as root, or allow them (sysctl kernel.apparmor_restrict_unprivileged_userns=0).'
      : 'It needs version 0.8 or later and user namespaces in the kernel.',
  })
}

function capabilitiesWith(
  groups: LimitGroups | null,
  logger: Logger,
  found: {
    readonly ownUser: boolean
    readonly perl: string | null
    readonly exec: boolean
    /** Why no root can be made; null where it can. */
    readonly noRoot: string | null
    /** Why there cannot be several users in one; null where there can. */
    readonly noUsers: string | null
    /** Whether it runs what another driver's programs run in. */
    readonly guest: boolean
  },
): SandboxCapabilities {
  const { ownUser, perl, exec, noRoot, noUsers, guest } = found
  const { weaker: groupsWeaker, ...ofGroups } = groupSupport(groups)
  const held = (can: boolean): 'native' | 'refused' => (can ? 'native' : 'refused')
  return {
    isolation: 'native',
    ownNetwork: 'native',
    ...ofGroups,
    tmpLimit: 'native',
    devices: 'native',
    syscallFilter: thisArchitecture() === null ? 'refused' : 'native',
    root: held(noRoot === null),
    users: held(noUsers === null && !guest),
    exec: exec ? 'native' : 'refused',
    outputFilter: perl === null ? 'refused' : 'native',
    survivesSupervisor: 'native',
    ...sharedKernel,
    weaker: [
      ...(ownUser
        ? []
        : ['all programs run under the user of the supervisor on the host: run as root to give each its own']),
      ...(groups === null
        ? ['no limit groups: memory, CPU and processes are not limited, and freezing is SIGSTOP: run as root']
        : []),
      ...groupsWeaker,
      ...[...new Set([noRoot, noUsers])].filter((why) => why !== null),
      ...(perl === null ? [withoutPerl] : []),
      ...logger.weaker,
    ],
  }
}
