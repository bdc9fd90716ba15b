/**
 * What a provider gets to serve a resource on this node: its directories, and programs in sandboxes of the resource's
 * own. Every program runs as the resource's user, sees only what it names, and has a network of its own with nothing in it.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, randomId } from '../base/index.ts'
import type { ResourceAssignment } from '../protocol/index.ts'
import type { ProgramResult, ProviderContext, ProviderProgram, ProviderServer } from '../provider/index.ts'
import { limitsWithin, type Mount, type OutputLine, type Sandbox, type SandboxSpec } from '../sandbox/index.ts'
import { placeOf } from './domains.ts'
import { bundleOf } from './fetch.ts'
import type { AgentOptions } from './options.ts'
import { giveTo } from './owners.ts'

const outputBytesMax = 16 * 1024 * 1024
const tmpBytes = 64 * 1024 * 1024
const taskMemoryBytes = 512 * 1024 * 1024
/** Last lines of output that go into an error. */
const tailLines = 20

/** The directories of a resource, made and given to its user. */
function resourceDirs(
  options: AgentOptions,
  assignment: ResourceAssignment,
  { tree, socketDir }: ContextPlace,
): { dataDir: string; socketDir: string } {
  const dirs = { dataDir: join(tree, assignment.part), socketDir: socketDir ?? join(options.runDir, assignment.id) }
  for (const directory of Object.values(dirs)) {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    giveTo(directory, assignment.hostUid)
  }
  return dirs
}

/** Starts a program of the resource with its directories mounted at their own paths. */
export async function startProgram(
  options: AgentOptions,
  assignment: ResourceAssignment,
  program: Omit<ProviderProgram, 'timeoutMs'>,
  how: { id: string; recordDir: string; memoryBytes: number; writes: readonly string[] },
): Promise<Sandbox> {
  const { sandbox, network } = options
  const mount =
    (access: Mount['access']) =>
    (path: string): Mount => ({ source: path, target: path, access })
  // The place is only needed to start it: the namespace lives on with its processes.
  using place = await network.place(how.id)
  const spec: SandboxSpec = {
    id: how.id,
    argv: program.argv,
    env: { PATH: '/usr/bin:/bin', HOME: '/tmp', ...program.env },
    cwd: '/',
    mounts: [
      ...program.reads.map(mount('read-only')),
      ...[...new Set([...how.writes, ...program.writes])].map(mount('read-write')),
    ],
    files: [],
    hostUid: assignment.hostUid,
    limits: limitsWithin(sandbox.capabilities, { memoryBytes: how.memoryBytes, cpuCores: null, pidsMax: 256, tmpBytes })
      .limits,
    syscalls: sandbox.capabilities.syscallFilter === 'native' ? 'default' : 'none',
    network: network.capabilities.isolation === 'native' ? place : null,
    recordDir: how.recordDir,
    outputBytesMax,
  }
  return await sandbox.start(spec)
}

/** Asks a server to stop as it wants to be asked, and kills it when it does not in time. */
export async function endServer(
  options: AgentOptions,
  sandbox: Sandbox,
  server: Pick<ProviderServer, 'stopSignal' | 'stopTimeoutMs'>,
): Promise<void> {
  sandbox.signal(server.stopSignal)
  using _timer = options.clock.after(server.stopTimeoutMs, () => void sandbox.kill())
  await sandbox.exited
}

/**
 * Ends a server whose data is left behind, at once: what it acknowledged is on the disk, and what else it would write now (a checkpoint
 * of all that it has in memory, which takes the longer the more was written) only keeps those waiting who go back. Whoever
 * opens that data later finds it as after a crash.
 */
export async function killServer(sandbox: Sandbox): Promise<void> {
  await sandbox.kill()
  await sandbox.exited
}

/** The last lines of an output as one text. */
export async function lastLines(output: AsyncIterable<OutputLine>): Promise<string> {
  const lines = await Array.fromAsync(output)
  return lines
    .slice(-tailLines)
    .map((line) => line.text)
    .join('\n')
}

/** Which data of a resource a context is about. */
export interface ContextPlace {
  /** The tree of the domain. */
  readonly tree: string
  /** Unless given, the assignment's own. */
  readonly socketDir?: string
  /** Aborted, it ends what was started, and nothing more is. */
  readonly signal?: AbortSignal
}

/**
 * The context of a provider for one assignment. `serverOutput` reads what the resource's own server has written. Throws
 * `agent.no-bundle`.
 */
export async function resourceContext(
  options: AgentOptions,
  assignment: ResourceAssignment,
  place: ContextPlace,
  serverOutput: () => Promise<string>,
): Promise<ProviderContext> {
  const { clock, random, sandbox } = options
  const dirs = resourceDirs(options, assignment, place)
  const { part } = assignment
  const bundle = assignment.bundle === null ? null : await bundleOf(options, part, assignment.bundle)
  const task = (): { id: string; recordDir: string } => {
    const id = `${assignment.id}.task-${randomId(random)}`
    return { id, recordDir: join(options.stateDir, 'tasks', id) }
  }
  const finish = async (recordDir: string, started: Sandbox): Promise<ProgramResult> => {
    const exit = await started.exited
    const output = await lastLines(sandbox.output(recordDir, { tail: tailLines }))
    await sandbox.remove(recordDir)
    return { code: exit.cause === 'code' ? exit.code : null, sentence: exit.sentence, output }
  }
  const writes = [dirs.dataDir, dirs.socketDir]
  const start = async (
    program: Omit<ProviderProgram, 'timeoutMs'>,
    own: { id: string; recordDir: string },
    memoryBytes: number,
  ): Promise<Sandbox> => {
    place.signal?.throwIfAborted()
    const started = await startProgram(options, assignment, program, { ...own, memoryBytes, writes })
    const end = (): void => void started.kill().catch((error: unknown) => options.onNotice(messageOf(error)))
    place.signal?.addEventListener('abort', end, { once: true })
    void started.exited.then(() => place.signal?.removeEventListener('abort', end))
    // It may have been aborted while this was started.
    if (place.signal?.aborted === true) end()
    return started
  }

  return {
    // The names of what is in the data are those of the app that it was made for.
    app: placeOf(assignment).app,
    name: assignment.part,
    config: assignment.config,
    ...dirs,
    adminPassword: assignment.adminPassword,
    filesDir: bundle?.path ?? null,
    async run(program) {
      const own = task()
      const started = await start(program, own, taskMemoryBytes)
      using _timer = clock.after(program.timeoutMs, () => void started.kill())
      return await finish(own.recordDir, started)
    },
    async serve(server) {
      const own = task()
      const started = await start(server, own, server.memoryBytes)
      const exited = finish(own.recordDir, started)
      return {
        exited,
        async [Symbol.asyncDispose]() {
          await endServer(options, started, server)
          await exited
        },
      }
    },
    serverOutput,
    clock,
    random,
  }
}
