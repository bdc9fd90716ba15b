/**
 * The sandbox driver without isolation: a program as a plain process, for machines where nothing better runs. It keeps
 * what does not need isolation: exit and output survive the supervisor, the whole tree is ended, limits hold where limit
 * groups can be made.
 *
 * Invariant: it never pretends. Isolation and filters are refused, paths inside are those of the host.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { SteadError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import { groupSupport, refuseBeyond, sharedKernel } from '../capabilities.ts'
import type { LimitGroups } from '../cgroup.ts'
import type { OutputLine, OutputOptions, Sandbox, SandboxCapabilities, SandboxDriver, SandboxSpec } from '../driver.ts'
import { keepExitScript } from '../launcher.ts'
import type { Processes, SandboxRecord } from '../record.ts'
import { checkSpec } from '../spec.ts'
import { adoptSandbox, outputOf, removeRecords } from './found.ts'
import { launch } from './launch.ts'
import { dropArchives } from './output-files.ts'
import { isAlive, mayDescend, processes, signalProcess, treeOf } from './processes.ts'
import type { ProcessInfo } from './processes.ts'
import { findLogger, findProgram, needProgram, withoutPerl } from './programs.ts'
import type { Logger } from './programs.ts'
import { readIfThere } from './records.ts'
import { RunningSandbox } from './running.ts'
import type { RunningParts } from './running.ts'

const name = 'process'
/** Marks every process of a sandbox, so that those that left its session are found again. */
const marker = 'STEAD_SANDBOX_ID'
/** The launcher waits in the group beside the program. */
const keeperProcesses = 1

export interface ProcessDriverOptions {
  readonly clock: Clock
  /** From `detectLimitGroups`; null where none can be made. */
  readonly groups: LimitGroups | null
  /** Defaults to s6-log where it is installed. */
  readonly logger?: Logger
}

/** Makes the driver. Throws `sandbox.unavailable` when the machine lacks a program it needs. */
export function processDriver({ clock, groups, logger = findLogger() }: ProcessDriverOptions): SandboxDriver {
  return new ProcessDriver(clock, groups, logger)
}

class ProcessDriver implements SandboxDriver {
  readonly name: string = name
  readonly capabilities: SandboxCapabilities
  readonly #clock: Clock
  readonly #groups: LimitGroups | null
  readonly #logger: Logger
  readonly #mkfifo: string
  readonly #perl: string | null = findProgram('perl')
  readonly #mv: string
  readonly #newSession: readonly string[]

  constructor(clock: Clock, groups: LimitGroups | null, logger: Logger) {
    this.#clock = clock
    this.#groups = groups
    this.#logger = logger
    this.#mkfifo = needProgram('mkfifo', 'Install coreutils.')
    this.#mv = needProgram('mv', 'Install coreutils.')
    const setsid = findProgram('setsid')
    this.#newSession =
      setsid === null
        ? [
            needProgram('perl', 'Install util-linux or perl.'),
            '-MPOSIX',
            '-e',
            'POSIX::setsid(); exec @ARGV or exit 127',
          ]
        : [setsid]
    this.capabilities = capabilitiesWith(groups, logger, this.#perl)
  }

  async start(spec: SandboxSpec): Promise<Sandbox> {
    checkSpec(spec)
    refuseBeyond(name, this.capabilities, spec)
    for (const path of [spec.cwd, ...spec.mounts.map((mount) => mount.source)]) needPath(spec, path)
    const exitFile = exitFileOf(spec.recordDir)
    const started: { program: Processes['program'] | null } = { program: null }
    const { pidsMax } = spec.limits
    const launched = await launch({
      driver: name,
      spec,
      clock: this.#clock,
      mkfifo: this.#mkfifo,
      logger: this.#logger,
      perl: this.#perl,
      groups: this.#groups,
      groupLimits: { ...spec.limits, pidsMax: pidsMax === null ? null : pidsMax + keeperProcesses },
      last: keepExitScript(this.#newSession, exitFile, this.#mv),
      args: spec.argv,
      env: { ...spec.env, [marker]: spec.id },
      cwd: spec.cwd,
      handovers: [],
      prepare: () => layFiles(spec),
      identify(line) {
        const program = processes.identify(Number(line.split(' ')[1]))
        started.program = program
        return program === null ? null : { init: program, program }
      },
      async abort() {
        if (started.program !== null) signalProcess(started.program, 'SIGKILL')
      },
    })
    return new RunningSandbox(this.#parts(launched.record, spec.recordDir, launched))
  }

  async adopt(recordDir: string): Promise<Sandbox | null> {
    return adoptSandbox(name, recordDir, this.#groups, (record, group) =>
      this.#parts(record, recordDir, { group, keeper: null }),
    )
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

  #parts(record: SandboxRecord, recordDir: string, own: Pick<RunningParts, 'group' | 'keeper'>): RunningParts {
    return {
      record,
      recordDir,
      clock: this.#clock,
      ...own,
      exec: null,
      readStatus() {
        const kept = readIfThere(exitFileOf(recordDir))
        return kept === null ? null : Number(kept)
      },
      members: (who) => membersOf(who, record.id),
    }
  }
}

function exitFileOf(recordDir: string): string {
  return `${recordDir}/exit`
}

/** What belongs to a program: its session, its descendants, and what carries its mark in the environment. */
function membersOf({ keeper, logger, program }: Processes, id: string): readonly ProcessInfo[] {
  const all = processes.list()
  const tree = isAlive(program) ? treeOf(program.pid, all) : []
  return (
    all
      // What the keeper runs to keep the exit is in its session, where nothing of the program can be.
      .filter(({ pid, session }) => session !== keeper.pid && pid !== keeper.pid && pid !== logger?.pid)
      .filter((process) => mayDescend(process, program))
      .filter((process) => process.session === program.pid || tree.includes(process) || carriesMark(process.pid, id))
  )
}

function carriesMark(pid: number, id: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`${marker}=${id}`)
  } catch {
    // Gone meanwhile, another user's, or no /proc here: then its session has to do.
    return false
  }
}

function needPath(spec: SandboxSpec, path: string): void {
  if (existsSync(path)) return
  throw new SteadError({
    code: 'sandbox.start-failed',
    message: `The sandbox ${spec.id} could not be started: there is no ${path} on this machine.`,
    hint: 'See that its working directory and the sources of its mounts exist.',
  })
}

function layFiles(spec: SandboxSpec): void {
  for (const { path, content, mode } of spec.files) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    writeFileSync(path, content, { mode })
  }
}

function capabilitiesWith(groups: LimitGroups | null, logger: Logger, perl: string | null): SandboxCapabilities {
  const { weaker: groupsWeaker, ...ofGroups } = groupSupport(groups)
  return {
    isolation: 'refused',
    ownNetwork: 'native',
    ...ofGroups,
    tmpLimit: 'refused',
    devices: 'native',
    syscallFilter: 'refused',
    root: 'refused',
    users: 'refused',
    exec: 'refused',
    outputFilter: perl === null ? 'refused' : 'native',
    survivesSupervisor: 'native',
    ...sharedKernel,
    weaker: [
      'programs see and may touch whatever their user can: install bubblewrap on Linux (apt-get install bubblewrap)',
      'inline files lie on the disk of the host while the program runs',
      'a mount is not read-only, whatever was asked',
      ...(groups === null
        ? [
            'no limit groups: memory, CPU and processes are not limited, freezing is SIGSTOP, and a program that leaves its session and clears its environment outlives its sandbox: run as root on Linux',
          ]
        : []),
      ...groupsWeaker,
      ...(perl === null ? [withoutPerl] : []),
      ...logger.weaker,
    ],
  }
}
