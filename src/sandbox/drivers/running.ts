/**
 * A started sandbox, whether this process started it or found it again: follows it to its end, explains and keeps the
 * exit, and acts on its processes.
 *
 * Invariants: `exited` settles only when nothing of the sandbox runs any more and its output is complete; no process is
 * touched whose identity does not match the record.
 */
import type { ChildProcess } from 'node:child_process'
import { rmSync } from 'node:fs'
import { once } from 'node:events'
import { SteadError, sleep } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import type { LimitGroup } from '../cgroup.ts'
import type { ExecOptions, Executed, Exit, Sandbox, SandboxUsage } from '../driver.ts'
import { exitByRestart, exitNeverStarted, explainExit } from '../exit.ts'
import type { Processes, SandboxRecord } from '../record.ts'
import { isAlive, signalProcess } from './processes.ts'
import type { ProcessInfo } from './processes.ts'
import { bootId, readRecord, writeRecord } from './records.ts'
import { waitUntil } from './wait.ts'

const lookEveryMs = 200
const drainTimeoutMs = 2_000
const killTimeoutMs = 10_000

export interface RunningParts {
  readonly record: SandboxRecord
  readonly recordDir: string
  readonly clock: Clock
  readonly group: LimitGroup | null
  /** The keeper, when it is a child of this process. */
  readonly keeper: ChildProcess | null
  /** The exit status that the keeper kept; null when there is none. */
  readStatus(): number | null
  /** Runs a program inside; null where the driver cannot. */
  readonly exec: ((processes: Processes, options: ExecOptions) => Promise<Executed>) | null
  /** Everything inside that still runs, without keeper and logger. */
  members(processes: Processes): readonly ProcessInfo[]
}

/** Whether the program of a record is over. */
export function isOver(record: SandboxRecord): boolean {
  if (record.exit !== null || record.boot !== bootId()) return true
  return !isAlive(record.keeper) && !isAlive(record.processes?.init ?? null)
}

export class RunningSandbox implements Sandbox {
  readonly id: string
  readonly pid: number
  readonly exited: Promise<Exit>
  readonly #parts: RunningParts
  #over = false

  constructor(parts: RunningParts) {
    this.#parts = parts
    this.id = parts.record.id
    this.pid = parts.record.processes?.program.pid ?? 0
    this.exited = this.#follow()
  }

  signal(signal: NodeJS.Signals): void {
    const { processes } = this.#parts.record
    if (!this.#over && processes !== null) signalProcess(processes.program, signal)
  }

  async kill(): Promise<void> {
    if (this.#over) return
    // A frozen process does not see its SIGKILL; it is there already when it goes on, so that it does nothing else first.
    this.#killMembers()
    this.#continue()
    this.#killMembers()
    const late = Promise.withResolvers<never>()
    using _timer = this.#parts.clock.after(killTimeoutMs, () => late.reject(this.#unkillable()))
    await Promise.race([this.exited, late.promise])
  }

  async freeze(): Promise<void> {
    const { group } = this.#parts
    if (this.#over) throw this.#ended('frozen')
    if (group === null) this.#signalMembers('SIGSTOP')
    else await group.freeze()
  }

  async thaw(): Promise<void> {
    if (this.#over) throw this.#ended('thawed')
    this.#continue()
  }

  async usage(): Promise<SandboxUsage> {
    const { group } = this.#parts
    if (group !== null) return group.usage()
    const members = this.#members()
    return {
      memoryBytes: members.reduce((sum, member) => sum + member.memoryBytes, 0),
      cpuSeconds: members.reduce((sum, member) => sum + member.cpuSeconds, 0),
      pids: members.length,
    }
  }

  async exec(options: ExecOptions): Promise<Executed> {
    const { exec, record } = this.#parts
    if (exec === null) {
      throw new SteadError({
        code: 'sandbox.refused',
        message: `The ${record.driver} sandbox driver cannot run a program inside ${this.id} on this machine.`,
        hint: 'It needs the bubblewrap driver, root, nsenter and Node 26: see `stead doctor`.',
      })
    }
    if (this.#over || record.processes === null) throw this.#ended('entered')
    return exec(record.processes, options)
  }

  oomKills(): number | null {
    return this.#parts.group?.evidence().oomKills ?? null
  }

  members(): readonly number[] {
    return this.#over ? [] : this.#members().map(({ pid }) => pid)
  }

  machine(): never {
    const { record } = this.#parts
    throw new SteadError({
      code: 'sandbox.refused',
      message: `The ${record.driver} sandbox driver gives ${this.id} no kernel of its own: there is no console and no debugger for it.`,
      hint: "Run it with isolation: 'kernel'.",
    })
  }

  async #follow(): Promise<Exit> {
    const { record, clock, group, keeper } = this.#parts
    if (record.exit !== null) {
      this.#over = true
      return record.exit
    }
    if (record.boot !== bootId()) return this.#keep(exitByRestart)
    if (keeper !== null && keeper.exitCode === null && keeper.signalCode === null) await once(keeper, 'exit')
    // The keeper is alone, or not our child, or was killed while the program goes on.
    while (!isOver(record)) await sleep(clock, lookEveryMs)
    const clean = await this.#endRest()
    if (record.processes === null) return this.#keep(exitNeverStarted)
    const { logger } = record.processes
    await waitUntil(clock, drainTimeoutMs, () => !isAlive(logger))
    // Another who followed it as well may have kept the exit, and removed the group with its evidence.
    const kept = readRecord(this.#parts.recordDir)?.exit ?? null
    if (kept !== null) return this.#keep(kept)
    const evidence = group?.evidence() ?? { oomKills: 0, forksRefused: 0 }
    const exit = explainExit(this.#parts.readStatus(), evidence, record.limits)
    const sentence = `${exit.sentence}; some processes that it started could not be ended`
    return this.#keep(clean ? exit : { ...exit, sentence })
  }

  /** Ends what the program left behind; answers whether nothing is left. */
  async #endRest(): Promise<boolean> {
    const { clock, group } = this.#parts
    const gone = await waitUntil(clock, killTimeoutMs, () => this.#killMembers() === 0)
    try {
      await group?.kill()
      return gone
    } catch {
      return false
    }
  }

  async #keep(exit: Exit): Promise<Exit> {
    const { record, recordDir, group } = this.#parts
    this.#over = true
    rmSync(`${recordDir}/files`, { recursive: true, force: true })
    try {
      writeRecord(recordDir, { ...record, exit })
      // Its evidence is told now. What still hinders the removal hinders `remove` as well, which reports it.
      await group?.remove()
    } catch {
      // A full disk does not change how it ended; whoever adopts it works the same out again.
    }
    return exit
  }

  #members(): readonly ProcessInfo[] {
    const { processes } = this.#parts.record
    return processes === null ? [] : this.#parts.members(processes)
  }

  #signalMembers(signal: NodeJS.Signals): number {
    const members = this.#members()
    for (const { pid, start } of members) signalProcess({ pid, start }, signal)
    return members.length
  }

  #killMembers(): number {
    return this.#signalMembers('SIGKILL')
  }

  #continue(): void {
    if (this.#parts.group === null) this.#signalMembers('SIGCONT')
    else this.#parts.group.thaw()
  }

  #ended(wanted: string): SteadError {
    return new SteadError({
      code: 'sandbox.ended',
      message: `The sandbox ${this.id} cannot be ${wanted}: its program has ended.`,
      hint: 'Its exit tells how.',
    })
  }

  #unkillable(): SteadError {
    return new SteadError({
      code: 'sandbox.kill-failed',
      message: `The sandbox ${this.id} did not end within ${killTimeoutMs} ms of SIGKILL.`,
      hint: 'A process of it waits inside the kernel, usually for a disk or a network file system; see `ps -o pid,stat,wchan`.',
      retry: 'later',
    })
  }
}
