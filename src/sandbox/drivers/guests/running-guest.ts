/**
 * A started guest: the sandbox around what runs it, with what its first program and its monitor answer for.
 *
 * Invariant: how the program ended is what the guest told, with what the guest's own limits saw; when it told nothing, that is
 * said.
 */
import { statfsSync } from 'node:fs'
import { constants } from 'node:os'
import { SteadError } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import type {
  ExecOptions,
  Executed,
  Exit,
  Machine,
  MachineSnapshot,
  Sandbox,
  SandboxLimits,
  SandboxUsage,
} from '../../driver.ts'
import { explainExit } from '../../exit.ts'
import { Channel } from './channel.ts'
import { diskMemoryBytes } from './config.ts'
import { controls, readExit } from './controls.ts'
import { execInGuest } from './executed.ts'
import { gdbCommands } from './gdb-commands.ts'
import { KernelDebugger } from './kernel-debugger.ts'
import { processes, treeOf } from '../processes.ts'
import type { Found, MeetingPlace, Monitor, MachineOrder, StateOrder } from './monitor.ts'
import { parseSymbols, symbolFile } from './symbol-file.ts'

/** A name that is no number: QEMU would take that for one of its own. */
const namePattern = /^[A-Za-z][A-Za-z0-9.-]{0,62}$/
const mebibyte = 2 ** 20

export interface GuestParts {
  readonly around: Sandbox
  readonly monitor: Monitor
  readonly clock: Clock
  readonly place: MeetingPlace
  /** Of the program. */
  readonly limits: SandboxLimits
  /** It is a system on a disk: nothing of ours runs inside. */
  readonly isDisk: boolean
  /** Where something else runs it. */
  readonly found: Found | null
  /** Where the system keeps what it writes, and its kept states. */
  readonly writtenDir: string | null
}

export class RunningGuest implements Sandbox {
  readonly id: string
  readonly pid: number
  readonly exited: Promise<Exit>
  readonly #own: GuestParts
  readonly #channel: Channel
  readonly #debugger: KernelDebugger
  #over = false
  #isFrozen = false

  constructor(own: GuestParts) {
    const { around, monitor, place, clock, found } = own
    this.#own = own
    this.id = around.id
    this.pid = found?.program ?? around.pid
    this.#channel = new Channel(
      () => monitor.connect(place),
      clock,
      () => this.#over,
    )
    this.#debugger = new KernelDebugger({
      id: this.id,
      clock,
      open: async () => monitor.ways(place, this.id).debugger(),
      mark: `${place.directory}/${controls.debugged}`,
      released: async () => {
        // What was frozen stays so, whoever looked into it meanwhile.
        if (this.#isFrozen && !this.#over) await this.#pause(true)
      },
    })
    this.exited = around.exited.then(async (exit) => {
      this.#over = true
      // A server that does not answer leaves it to who removes the records, who is told.
      await monitor.elsewhere?.end(place).catch(() => undefined)
      return this.#ended(exit)
    })
  }

  /** Makes itself known to the guest, which ends what an earlier supervisor had run inside, and whom it had let into the kernel. */
  greet(): void {
    if (this.#over) return
    if (!this.#own.isDisk) this.#channel.send('U', 0).catch(() => undefined)
    void this.#debugger.adopt()
  }

  /** Leaves the guest to another. */
  letGo(): void {
    this.#channel.close()
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#over) return
    if (signal === 'SIGKILL') return void this.kill()
    // Its end is told by its exit.
    if (this.#own.isDisk) return void this.#order({ kind: 'power-down' }, 'switched off').catch(() => undefined)
    this.#channel.send('S', 0, String(constants.signals[signal])).catch(() => undefined)
  }

  async kill(): Promise<void> {
    await this.#own.around.kill()
    await this.exited
  }

  async freeze(): Promise<void> {
    await this.#pause(true)
  }

  async thaw(): Promise<void> {
    await this.#pause(false)
  }

  async usage(): Promise<SandboxUsage> {
    const { monitor, place } = this.#own
    if (monitor.elsewhere !== undefined) return await monitor.elsewhere.usage(place)
    const [machine, said] = await Promise.all([
      this.#own.around.usage(),
      this.#over || this.#own.isDisk ? null : this.#channel.ask('U').catch(() => null),
    ])
    // Memory and time are those of the whole machine, because these are what the host spends.
    return { ...machine, pids: said === null ? null : Number(said.split(' ')[0]) }
  }

  async exec(options: ExecOptions): Promise<Executed> {
    if (this.#own.isDisk) throw this.#refused('has nothing inside that would run another program')
    if (this.#over) throw this.#gone('entered')
    return execInGuest(this.#channel, options)
  }

  /** What the guest's kernel does is told with the exit. */
  oomKills(): null {
    return null
  }

  members(): readonly number[] {
    const { around, found } = this.#own
    const inside = found === null || this.#over ? [] : treeOf(found.init, processes.list()).map(({ pid }) => pid)
    return [...around.members(), ...inside]
  }

  machine(): Machine {
    return {
      ...this.#own.monitor.ways(this.#own.place, this.id),
      debugger: () => this.#debugger.connect(),
      accepts: (port) => this.#accepts(port),
      symbols: (names) => this.#symbols(names),
      debugFiles: () => this.#debugFiles(),
      snapshot: (name) => this.#state('keep', name),
      restore: (name) => this.#state('go-back', name),
      forget: (name) => this.#state('drop', name),
      snapshots: () => this.#kept(),
    }
  }

  async #accepts(port: number): Promise<boolean> {
    const { monitor, place, clock } = this.#own
    if (this.#over) throw this.#gone('asked')
    if (monitor.accepts === null) throw this.#refused('has no network')
    return await monitor.accepts(place, port, { clock, isOver: () => this.#over })
  }

  async #symbols(names: readonly string[]): Promise<ReadonlyMap<string, bigint>> {
    this.#needFirstProgram()
    const said = await this.#channel.ask('Q', names.join(' '))
    const lines = (said ?? '').split('\n').map((line) => line.split(' '))
    return new Map(lines.flatMap(([address, , name]) => (name === undefined ? [] : [[name, BigInt(`0x${address}`)]])))
  }

  async #debugFiles(): ReturnType<Machine['debugFiles']> {
    this.#needFirstProgram()
    if (this.#over) throw this.#gone('debugged')
    const symbols = parseSymbols((await this.#channel.read('/proc/kallsyms')).toString('latin1'))
    const types = await this.#channel.read('/sys/kernel/btf/vmlinux')
    return { symbols: symbolFile(symbols), commands: gdbCommands(symbols, types) }
  }

  async #pause(paused: boolean): Promise<void> {
    const { around, monitor } = this.#own
    if (monitor.order === null && !this.#over) return paused ? around.freeze() : around.thaw()
    await this.#order({ kind: paused ? 'pause' : 'resume' }, paused ? 'frozen' : 'thawed')
    this.#isFrozen = paused
  }

  async #kept(): Promise<readonly MachineSnapshot[]> {
    this.#needDisk()
    return await this.#order({ kind: 'kept' }, 'asked')
  }

  async #state(kind: StateOrder, name: string): Promise<void> {
    this.#needDisk()
    if (!namePattern.test(name)) {
      throw new SteadError({
        code: 'sandbox.bad-spec',
        message: `${JSON.stringify(name)} is no name of a snapshot.`,
        hint: 'Letters, digits, dots and dashes, a letter first, at most 63.',
      })
    }
    if (kind === 'keep') this.#needRoom()
    await this.#order({ kind, name }, 'kept')
  }

  /** A memory is as large as it is: what has no room is refused before the machine stands still for it. */
  #needRoom(): void {
    const { writtenDir, limits } = this.#own
    if (writtenDir === null) return
    const { bavail, bsize } = statfsSync(writtenDir)
    const [free, wanted] = [bavail * bsize, diskMemoryBytes(limits)]
    if (free > wanted) return
    const [has, needs] = [free, wanted].map((bytes) => `${Math.floor(bytes / mebibyte)} MiB`)
    throw new SteadError({
      code: 'sandbox.no-space',
      message: `A snapshot of ${this.id} may take ${needs} for its memory, and the disk it is kept on has ${has} left.`,
      hint: 'Forget an older one, or make room.',
    })
  }

  async #order(order: MachineOrder, wanted: string): Promise<readonly MachineSnapshot[]> {
    const { monitor, place, clock } = this.#own
    if (this.#over) throw this.#gone(wanted)
    if (monitor.order === null) throw this.#refused('takes no orders')
    return await monitor.order(place, order, { clock, isOver: () => this.#over })
  }

  #needDisk(): void {
    if (!this.#own.isDisk)
      throw this.#refused('has directories of the host, which no snapshot holds: boot a system from a disk')
  }

  #needFirstProgram(): void {
    if (this.#own.isDisk) throw this.#refused('does not tell its symbols, as nothing of ours runs inside')
  }

  #refused(why: string): SteadError {
    return new SteadError({
      code: 'sandbox.refused',
      message: `The guest ${this.id} ${why}.`,
      hint: 'The capabilities of its driver tell more.',
    })
  }

  #ended(around: Exit): Exit {
    this.#over = true
    this.#channel.close()
    const told = /^(\d+) (\d+) (\d+)$/m.exec(readExit(this.#own.place.directory))
    if (told !== null) {
      const [status = 0, oomKills = 0, forksRefused = 0] = told.slice(1).map(Number)
      return explainExit(status, { oomKills, forksRefused }, this.#own.limits)
    }
    if (around.cause !== 'code') return around
    const sentence =
      'ended with its machine, which did not tell how: its kernel failed or it could not be started; its output says more'
    return { cause: 'unknown', code: null, signal: null, sentence }
  }

  #gone(wanted: string): SteadError {
    return new SteadError({
      code: 'sandbox.ended',
      message: `The sandbox ${this.id} cannot be ${wanted}: its machine has ended.`,
      hint: 'Its exit tells how.',
    })
  }
}
