/**
 * A started guest: the sandbox around what runs it, with what its first program and its monitor answer for.
 *
 * Invariant: how the program ended is what the guest told, with what the guest's own limits saw; when it told nothing, that is
 * said.
 */
import { constants } from 'node:os'
import { SteadError } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import type { ExecOptions, Executed, Exit, Machine, Sandbox, SandboxLimits, SandboxUsage } from '../../driver.ts'
import { explainExit } from '../../exit.ts'
import { Channel } from './channel.ts'
import { readExit } from './controls.ts'
import { execInGuest } from './executed.ts'
import { gdbCommands } from './gdb-commands.ts'
import type { MeetingPlace, Monitor } from './monitor.ts'
import { parseSymbols, symbolFile } from './symbol-file.ts'

export interface GuestParts {
  readonly around: Sandbox
  readonly monitor: Monitor
  readonly clock: Clock
  readonly place: MeetingPlace
  /** Of the program. */
  readonly limits: SandboxLimits
}

export class RunningGuest implements Sandbox {
  readonly id: string
  readonly pid: number
  readonly exited: Promise<Exit>
  readonly #own: GuestParts
  readonly #channel: Channel
  #over = false

  constructor(own: GuestParts) {
    const { around, monitor, place, clock } = own
    this.#own = own
    this.id = around.id
    this.pid = around.pid
    this.#channel = new Channel(
      () => monitor.connect(place),
      clock,
      () => this.#over,
    )
    this.exited = around.exited.then((exit) => this.#ended(exit))
  }

  /** Makes itself known to the guest, which ends what an earlier supervisor had run inside. */
  greet(): void {
    if (!this.#over) this.#channel.send('U', 0).catch(() => undefined)
  }

  /** Leaves the guest to another. */
  letGo(): void {
    this.#channel.close()
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#over) return
    if (signal === 'SIGKILL') return void this.kill()
    // Its end is told by its exit.
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
    const [machine, said] = await Promise.all([
      this.#own.around.usage(),
      this.#over ? null : this.#channel.ask('U').catch(() => null),
    ])
    // Memory and time are those of the whole machine, because these are what the host spends.
    return { ...machine, pids: said === null ? null : Number(said.split(' ')[0]) }
  }

  async exec(options: ExecOptions): Promise<Executed> {
    if (this.#over) throw this.#gone('entered')
    return execInGuest(this.#channel, options)
  }

  members(): readonly number[] {
    return this.#own.around.members()
  }

  machine(): Machine {
    return {
      ...this.#own.monitor.ways(this.#own.place, this.id),
      symbols: (names) => this.#symbols(names),
      debugFiles: () => this.#debugFiles(),
    }
  }

  async #symbols(names: readonly string[]): Promise<ReadonlyMap<string, bigint>> {
    const said = await this.#channel.ask('Q', names.join(' '))
    const lines = (said ?? '').split('\n').map((line) => line.split(' '))
    return new Map(lines.flatMap(([address, , name]) => (name === undefined ? [] : [[name, BigInt(`0x${address}`)]])))
  }

  async #debugFiles(): ReturnType<Machine['debugFiles']> {
    if (this.#over) throw this.#gone('debugged')
    const symbols = parseSymbols((await this.#channel.read('/proc/kallsyms')).toString('latin1'))
    const types = await this.#channel.read('/sys/kernel/btf/vmlinux')
    return { symbols: symbolFile(symbols), commands: gdbCommands(symbols, types) }
  }

  async #pause(paused: boolean): Promise<void> {
    const { around, monitor, place, clock } = this.#own
    if (this.#over) throw this.#gone(paused ? 'frozen' : 'thawed')
    if (monitor.pause === null) return paused ? around.freeze() : around.thaw()
    await monitor.pause(place, { paused, clock, isOver: () => this.#over })
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
