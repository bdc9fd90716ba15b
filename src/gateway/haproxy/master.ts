/**
 * The HAProxy processes: a master that keeps the listening sockets, the worker in charge, and old ones that only end what
 * they have begun. Invariant: a configuration is checked before it is loaded, and a reload has happened when the new worker
 * answers: then no new connection goes to an old one.
 */
import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { messageOf, sleep } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import { ask, engineFailed, parseWorkers } from './runtime.ts'
import type { Workers } from './runtime.ts'

const run = promisify(execFile)
const setpriv = '/usr/bin/setpriv'
const readyMs = 10_000
const pollMs = 15
const saidMax = 4096

export interface MasterOptions {
  readonly program: string
  readonly directory: string
  readonly clock: Clock
  /** It has ended although nobody asked it to. */
  readonly onGone: (said: string) => void
}

export class Master {
  readonly #options: MasterOptions
  #child: ChildProcess | null = null
  #said = ''
  #stopping = false

  constructor(options: MasterOptions) {
    this.#options = options
  }

  get workerSocket(): string {
    return join(this.#options.directory, 'worker.sock')
  }

  get #masterSocket(): string {
    return join(this.#options.directory, 'master.sock')
  }

  get #configPath(): string {
    return join(this.#options.directory, 'haproxy.cfg')
  }

  /** Makes this the configuration: starts with it, or reloads. Throws `gateway.engine-failed`, and the one before stays. */
  async load(config: string): Promise<void> {
    const { program, clock } = this.#options
    const next = `${this.#configPath}.new`
    await writeFile(next, config, { mode: 0o600 })
    try {
      await run(program, ['-c', '-q', '-f', next], { timeout: readyMs })
    } catch (error) {
      throw engineFailed(`HAProxy refuses its configuration: ${messageOf(error).slice(0, saidMax)}`, error)
    }
    await writeFile(this.#configPath, config, { mode: 0o600 })
    const before = this.#child === null ? null : (await this.workers()).current
    if (this.#child === null) this.#start()
    else await ask(clock, this.#masterSocket, 'reload')
    const endMs = clock.monotonicMs() + readyMs
    while (!(await this.#inCharge(before))) {
      if (this.#child === null || clock.monotonicMs() > endMs)
        throw engineFailed(`HAProxy does not start: ${this.#said}`)
      await sleep(clock, pollMs)
    }
  }

  async workers(): Promise<Workers> {
    return parseWorkers(await ask(this.#options.clock, this.#masterSocket, 'show proc'))
  }

  /** Tells the worker in charge. Each command's answer stands by itself, because HAProxy does not say whose is whose. */
  async tell(commands: readonly string[]): Promise<void> {
    for (const command of commands) await ask(this.#options.clock, this.workerSocket, command)
  }

  ask(command: string): Promise<string> {
    return ask(this.#options.clock, this.workerSocket, command)
  }

  /** Asks an old worker; an empty answer when it has ended meanwhile. */
  askOld(pid: number, command: string): Promise<string> {
    return ask(this.#options.clock, this.#masterSocket, `@!${pid} ${command}`).catch(() => '')
  }

  /** Takes nothing new, ends what is in flight within `closeMs`, then is ended. */
  async stop(closeMs: number): Promise<void> {
    const child = this.#child
    this.#stopping = true
    if (child === null) return
    const gone = once(child, 'exit')
    const timers = [
      this.#options.clock.after(closeMs, () => child.kill('SIGTERM')),
      this.#options.clock.after(closeMs + readyMs, () => child.kill('SIGKILL')),
    ]
    child.kill('SIGUSR1')
    await gone
    for (const timer of timers) timer[Symbol.dispose]()
  }

  #start(): void {
    const { program, onGone } = this.#options
    const argv = ['-W', '-S', `${this.#masterSocket},mode,600`, '-f', this.#configPath]
    // It ends with us, also when we are killed: a way in that nobody changes any more would go on to send to who has left.
    const bound = existsSync(setpriv) ? [setpriv, '--pdeathsig', 'TERM', program] : [program]
    const [file = program, ...before] = bound
    const child = spawn(file, [...before, ...argv], { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#child = child
    this.#said = ''
    child.stderr.on('data', (chunk) => (this.#said = `${this.#said}${String(chunk)}`.slice(-saidMax)))
    child.on('error', (error) => (this.#said = error.message))
    child.on('close', () => {
      this.#child = null
      if (!this.#stopping) onGone(this.#said)
    })
  }

  /** Whether a worker other than `before` answers. */
  async #inCharge(before: number | null): Promise<boolean> {
    try {
      const { current } = await this.workers()
      if (current === null || current === before) return false
      return (await this.ask('show info')).includes(`\nPid: ${current}\n`)
    } catch {
      return false
    }
  }
}
