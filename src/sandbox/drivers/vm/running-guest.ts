/**
 * A started guest: the sandbox around its QEMU, with what its first program and QEMU answer for.
 *
 * Invariant: how the program ended is what the guest told, with what the guest's own limits saw; when it told nothing, that is
 * said.
 */
import type { Duplex } from 'node:stream'
import { SteadError } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import type { ExecOptions, Executed, Exit, Machine, Sandbox, SandboxLimits, SandboxUsage } from '../../driver.ts'
import { explainExit } from '../../exit.ts'
import { constants } from 'node:os'
import { readIfThere } from '../records.ts'
import { Channel, tryConnect } from './channel.ts'
import { execInGuest } from './executed.ts'
import { controls } from './guest.ts'
import { gdbCommands } from './gdb-commands.ts'
import { parseSymbols, symbolFile } from './symbol-file.ts'
import { withQmp } from './qmp.ts'

export interface GuestSandbox {
  /** The sandbox of QEMU. */
  readonly around: Sandbox
  readonly clock: Clock
  readonly controlDir: string
  /** Of the program. */
  readonly limits: SandboxLimits
}

export class RunningGuest implements Sandbox {
  readonly id: string
  readonly pid: number
  readonly exited: Promise<Exit>
  readonly #own: GuestSandbox
  readonly #channel: Channel
  #over = false

  constructor(own: GuestSandbox) {
    this.#own = own
    this.id = own.around.id
    this.pid = own.around.pid
    this.#channel = new Channel(this.#path('control'), own.clock, () => this.#over)
    this.exited = own.around.exited.then((exit) => this.#ended(exit))
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
    await this.#order('stop', 'frozen')
  }

  async thaw(): Promise<void> {
    await this.#order('cont', 'thawed')
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
      console: () => this.#reach('console'),
      debugStub: this.#path('debugStub'),
      debugger: () => this.#reach('debugStub'),
      symbols: (names) => this.#symbols(names),
      debugFiles: () => this.#debugFiles(),
    }
  }

  async #reach(control: 'console' | 'debugStub'): Promise<Duplex> {
    const socket = this.#over ? null : await tryConnect(this.#path(control))
    if (socket === null) throw this.#gone(`reached at its ${control === 'console' ? 'console' : 'debugger'}`)
    return socket
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

  async #order(command: 'stop' | 'cont', wanted: string): Promise<void> {
    if (this.#over) throw this.#gone(wanted)
    await withQmp(
      this.#path('qmp'),
      this.#own.clock,
      () => this.#over,
      (qmp) => qmp.execute(command),
    )
  }

  #path(control: keyof typeof controls): string {
    return `${this.#own.controlDir}/${controls[control]}`
  }

  #ended(around: Exit): Exit {
    this.#over = true
    this.#channel.close()
    const told = /^(\d+) (\d+) (\d+)$/m.exec(readIfThere(this.#path('exit')) ?? '')
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
