/**
 * Real brokers for tests, each on a free port of the loopback address with its data in a temporary folder. They can be killed with
 * -9 and started again on the same data; what was started is stopped when it is disposed of.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const startTimeoutMs = 60_000

/** How a broker is started. */
export interface BrokerKind {
  readonly name: string
  readonly program: string
  /** The Debian package that brings it. */
  readonly package: string
  argv(port: number, folder: string): readonly string[]
}

export const beanstalkd: BrokerKind = {
  name: 'beanstalkd',
  program: '/usr/bin/beanstalkd',
  package: 'beanstalkd',
  argv: (port, folder) => ['-l', '127.0.0.1', '-p', String(port), '-b', folder, '-f0', '-z', '1048576'],
}

/** Why a broker cannot be started here, or false. */
export function needsBroker({ program, package: name }: BrokerKind): string | false {
  return existsSync(program) ? false : `needs ${program}: apt-get install ${name}`
}

/** A running broker. */
export class Broker implements AsyncDisposable {
  readonly port: number
  readonly #kind: BrokerKind
  readonly #folder: string
  #process: ChildProcess | undefined
  #log = ''

  static async start(kind: BrokerKind): Promise<Broker> {
    const broker = new Broker(kind, await freePort(), await mkdtemp(join(tmpdir(), `stead-${kind.name}-`)))
    await broker.start()
    return broker
  }

  private constructor(kind: BrokerKind, port: number, folder: string) {
    this.#kind = kind
    this.port = port
    this.#folder = folder
  }

  /** Starts it (again) and waits until it accepts connections. */
  async start(): Promise<void> {
    const child = spawn(this.#kind.program, [...this.#kind.argv(this.port, this.#folder)], {
      cwd: this.#folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.#log = (this.#log + text).slice(-4000)))
    }
    this.#process = child
    const endMs = performance.now() + startTimeoutMs
    while (!(await accepts(this.port))) {
      if (performance.now() > endMs || child.exitCode !== null) {
        throw new Error(`${this.#kind.name} did not start:\n${this.#log}`)
      }
      await new Promise((resolve) => void setTimeout(resolve, 20))
    }
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = new Promise((resolve) => void child.once('exit', resolve))
    child.kill('SIGKILL')
    await exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 20 })
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}
