/**
 * Starts a launcher and leads it to the point where the program runs, recorded.
 *
 * Invariants: every step that made something can be taken back until the program was let go; the program is let go only
 * after the record is complete on disk.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, rmSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { SteadError, UndoStack, messageOf } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import type { GroupLimits, LimitGroup, LimitGroups } from '../cgroup.ts'
import type { SandboxSpec } from '../driver.ts'
import { filterProgram } from '../filter.ts'
import { descriptors, launcherScript } from '../launcher.ts'
import type { Processes, SandboxRecord } from '../record.ts'
import { readOutput } from './output-files.ts'
import { withoutInherited } from './inherited.ts'
import { isAlive, processes, signalProcess } from './processes.ts'
import type { Logger } from './programs.ts'
import { bootId, readIfThere, readRecord, writeRecord } from './records.ts'
import { waitUntil } from './wait.ts'

const readyTimeoutMs = 30_000
const endTimeoutMs = 5_000
/** What a driver adds to the common way of starting. */
export interface LaunchPlan {
  readonly driver: string
  readonly spec: SandboxSpec
  readonly clock: Clock
  readonly mkfifo: string
  readonly logger: Logger
  /** Absolute, of perl, which filters output; null where there is none, and then no spec asks for it. */
  readonly perl: string | null
  readonly groups: LimitGroups | null
  /** Limits of the group: those of the spec, and room for the processes of the driver. */
  readonly groupLimits: GroupLimits
  /** Shell text that starts the program, given in `"$@"`, and keeps its exit. */
  readonly last: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  /** Texts handed over by descriptor, the first at `descriptors.firstHandover`. */
  readonly handovers: readonly (string | Uint8Array)[]
  /** Makes what the launcher needs in the directory of records. */
  prepare(): void
  /** Who the program and its first process are, now that they wait at the gate; null when they are gone. `line` is what the gate said. */
  identify(
    line: string,
  ): Promise<Pick<Processes, 'init' | 'program'> | null> | Pick<Processes, 'init' | 'program'> | null
  /** Ends whatever was started, when starting has failed. */
  abort(): Promise<void>
}

export interface Launched {
  readonly record: SandboxRecord
  readonly group: LimitGroup | null
  readonly keeper: ChildProcess
}

/** Starts the program of a plan. Throws `sandbox.start-failed`, `sandbox.exists`, `sandbox.limits-failed`; nothing is left then. */
export async function launch(plan: LaunchPlan): Promise<Launched> {
  const { spec, clock } = plan
  plan.groups?.warm()
  await using undo = new UndoStack()
  makeRecordDir(spec)
  undo.push('make the directory of records', () => rmSync(spec.recordDir, { recursive: true, force: true }))
  const begun: SandboxRecord = {
    version: 1,
    driver: plan.driver,
    id: spec.id,
    boot: bootId(),
    limits: spec.limits,
    syscalls: spec.syscalls,
    rooted: spec.root !== undefined,
    grouped: plan.groups !== null,
    keeper: null,
    processes: null,
    exit: null,
  }
  plan.prepare()
  writeRecord(spec.recordDir, begun)
  const group = plan.groups?.make(spec.id, { ...plan.groupLimits, cpuClass: spec.cpu?.kind }) ?? null
  undo.push('make the limit group', () => group?.remove())

  const { child, gate, ready } = spawnLauncher(plan)
  undo.push('start the launcher', async () => {
    gate?.destroy()
    endLauncher(child)
    await plan.abort()
    await group?.kill()
  })
  const keeper = child.pid === undefined ? null : processes.identify(child.pid)
  writeRecord(spec.recordDir, { ...begun, keeper })
  const said = await withTimeout(clock, ready)
  if (said.kind === 'failed' || keeper === null || gate === null) {
    throw startFailed(
      spec,
      said.kind === 'failed' ? said.why : 'its launcher could not be started',
      await lastWords(plan),
    )
  }
  const output = `${spec.recordDir}/output/current`
  if (!(await waitUntil(clock, readyTimeoutMs, () => existsSync(output)))) {
    throw startFailed(spec, `its output could not be opened within ${readyTimeoutMs} ms`, '')
  }
  const waiting = await plan.identify(said.line)
  if (waiting === null) throw startFailed(spec, 'it was ended before the program could run', await lastWords(plan))
  // Before the program runs, and while it waits: the kernel may take its time.
  await group?.join([...new Set([keeper.pid, waiting.init.pid, waiting.program.pid])])
  if (spec.cpu?.kind === 'reserved') await group?.reserve(spec.cpu, waiting.program.pid)
  const loggerPid = Number(readIfThere(`${spec.recordDir}/logger.pid`) ?? 0)
  const record: SandboxRecord = {
    ...begun,
    keeper,
    processes: { keeper, logger: processes.identify(loggerPid), ...waiting },
  }
  writeRecord(spec.recordDir, record)
  undo.commit()
  gate.end('go\n', () => gate.destroy())
  rmSync(`${spec.recordDir}/output.pipe`, { force: true })
  child.unref()
  return { record, group, keeper: child }
}

function makeRecordDir(spec: SandboxSpec): void {
  if (readRecord(spec.recordDir) !== null) {
    throw new SteadError({
      code: 'sandbox.exists',
      message: `The sandbox ${spec.id} cannot be started: ${spec.recordDir} holds the records of another.`,
      hint: 'Adopt that one, or remove its records first.',
    })
  }
  mkdirSync(`${spec.recordDir}/output`, { recursive: true, mode: 0o700 })
}

/** With all that it has started and that has not left its process group: what it waits for may be at work as well. */
function endLauncher({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid === undefined || exitCode !== null || signalCode !== null) return
  process.kill(-pid, 'SIGKILL')
}

type Said = { readonly kind: 'ready'; readonly line: string } | { readonly kind: 'failed'; readonly why: string }

interface Spawned {
  readonly child: ChildProcess
  /** Null when it could not be started. */
  readonly gate: Duplex | null
  readonly ready: Promise<Said>
}

function spawnLauncher(plan: LaunchPlan): Spawned {
  const { spec } = plan
  const script = launcherScript({
    mkfifo: plan.mkfifo,
    recordDir: spec.recordDir,
    logger: plan.logger.command(`${spec.recordDir}/output`, spec.outputBytesMax),
    filter:
      plan.perl === null || spec.filterFile === undefined ? null : [plan.perl, '-e', filterProgram, spec.filterFile],
    last: plan.last,
  })
  const status = openSync(`${spec.recordDir}/status`, 'a', 0o600)
  const nothing = openSync('/dev/null', 'r')
  try {
    const handovers = plan.handovers.map(() => 'pipe' as const)
    const stdio = withoutInherited(['ignore', 'ignore', 'ignore', 'pipe', status, 'ignore', ...handovers], nothing)
    const run = (): ChildProcess =>
      spawn('/bin/sh', ['-c', script, 'sh', ...plan.args], { stdio, env: plan.env, cwd: plan.cwd, detached: true })
    const child = spec.network === null ? run() : spec.network.enter(run)
    for (const [index, text] of plan.handovers.entries()) {
      const pipe = pipeOf(child, descriptors.firstHandover + index)
      // When the other side dies early, its own words tell why.
      pipe?.on('error', () => undefined).end(text, () => pipe.destroy())
    }
    const gate = pipeOf(child, descriptors.gate)
    return { child, gate, ready: listen(child, gate) }
  } finally {
    closeSync(status)
    closeSync(nothing)
  }
}

/** Node types descriptors above 2 as readable or writable; a 'pipe' there is both. */
function pipeOf(child: ChildProcess, descriptor: number): Duplex | null {
  return (child.stdio[descriptor] ?? null) as Duplex | null
}

function listen(child: ChildProcess, gate: Duplex | null): Promise<Said> {
  return new Promise((resolve) => {
    let text = ''
    child.once('error', (error) => resolve({ kind: 'failed', why: messageOf(error) }))
    child.once('exit', () => resolve({ kind: 'failed', why: 'its launcher ended' }))
    gate?.on('error', () => undefined)
    gate?.once('close', () => resolve({ kind: 'failed', why: 'it ended before the program could run' }))
    gate?.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (text.includes('\n')) resolve({ kind: 'ready', line: text.slice(0, text.indexOf('\n')) })
    })
  })
}

async function withTimeout(clock: Clock, ready: Promise<Said>): Promise<Said> {
  const late = Promise.withResolvers<Said>()
  using _timer = clock.after(readyTimeoutMs, () =>
    late.resolve({ kind: 'failed', why: `it was not ready within ${readyTimeoutMs} ms` }),
  )
  return await Promise.race([ready, late.promise])
}

/** What the launcher wrote before it ended, for the message. */
async function lastWords({ spec, clock }: LaunchPlan): Promise<string> {
  const logger = processes.identify(Number(readIfThere(`${spec.recordDir}/logger.pid`) ?? 0))
  await waitUntil(clock, endTimeoutMs, () => !isAlive(logger))
  if (logger !== null) signalProcess(logger, 'SIGKILL')
  const lines = await Array.fromAsync(readOutput(`${spec.recordDir}/output`, { tail: 5 }, clock, () => true))
  return lines.map((line) => line.text).join('; ')
}

function startFailed(spec: SandboxSpec, why: string, said: string): SteadError {
  const unreachable = /Can't find source path|Permission denied/.test(said)
  return new SteadError({
    code: 'sandbox.start-failed',
    message: `The sandbox ${spec.id} could not be started: ${said === '' ? why : said}.`,
    hint: unreachable
      ? `See that the sources of its mounts exist, and that user ${spec.hostUid} may pass through every directory on the way.`
      : 'See that its mounts exist on this machine and that its limits are not too small to start in.',
  })
}
