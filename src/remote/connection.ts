/**
 * One connection to a server by the user's own `ssh`: their configuration, keys, agent and known hosts, and not one of our
 * own. Everything goes over one master connection (ControlMaster), which ends with this process. Invariants: a script is a
 * constant, what varies are its arguments, each a word of its own; a failure of the connection is told from one of the
 * program there.
 */
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { SteadError, systemCodeOf } from '../base/index.ts'
import { describeServer, type ServerAddress } from './address.ts'
import { connectionRefusal, cutOff } from './refusals.ts'

/** What a program on the server answered. */
export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  /** Words after the script: $1, $2, ... */
  readonly args?: readonly string[]
  /** Becomes its standard input. */
  readonly input?: AsyncIterable<Uint8Array>
  /** As root, by `sudo`. */
  readonly sudo?: boolean
  readonly signal?: AbortSignal
}

/** Answers `ended` with its code; 255 or null when the connection was lost. */
export interface RemoteProgram {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  readonly ended: Promise<number | null>
  readonly kill: () => void
}

type Channel = ChildProcessByStdio<Writable, Readable, Readable>

/** Of what a program prints, so much is kept. */
const keptBytesMax = 256 * 1024
const connectTimeoutSeconds = 20
/** A master without work that lost its owner ends by itself after that. */
const idleSeconds = 60

export interface ConnectOptions {
  /** The program, and options before ours; STEAD_SSH by default, as in `ssh -F other_config`. */
  readonly ssh?: readonly string[]
  readonly signal?: AbortSignal
}

/**
 * Connects. `ssh` may ask on the terminal, as it does. Throws `remote.unreachable`, `remote.key-refused`,
 * `remote.host-key-unknown`, `remote.host-key-changed`, `remote.no-ssh`.
 */
export async function connectServer(address: ServerAddress, options: ConnectOptions = {}): Promise<Connection> {
  const [program = 'ssh', ...before] = options.ssh ?? sshFromEnvironment()
  const directory = mkdtempSync(join(tmpdir(), 'stead-ssh-'))
  const place = describeServer(address)
  const settings = settingWords(
    'ControlMaster=yes',
    `ControlPersist=${idleSeconds}`,
    `ConnectTimeout=${connectTimeoutSeconds}`,
    'ServerAliveInterval=15',
    'ServerAliveCountMax=3',
    'ForwardAgent=no',
    'PermitLocalCommand=no',
    'RemoteCommand=none',
    'ClearAllForwardings=yes',
  )
  const master = [...before, ...settings, '-f', '-N', '-T', ...destination(address, directory)]
  const child = spawn(program, master, { stdio: ['ignore', 'ignore', 'pipe'], signal: options.signal })
  const said = keep(child.stderr)
  try {
    const [code] = (await once(child, 'close')) as [number | null]
    if (code !== 0) throw connectionRefusal(place, said())
  } catch (error) {
    rmSync(directory, { recursive: true, force: true })
    if (systemCodeOf(error) !== 'ENOENT') throw error
    throw new SteadError({
      code: 'remote.no-ssh',
      message: `there is no program ${program} on this machine`,
      hint: 'Install the OpenSSH client: apt-get install -y openssh-client',
      cause: error,
    })
  }
  return new Connection(address, program, before, directory)
}

function sshFromEnvironment(): readonly string[] {
  const words = (process.env['STEAD_SSH'] ?? '').split(' ').filter((word) => word !== '')
  return words.length === 0 ? ['ssh'] : words
}

function settingWords(...settings: readonly string[]): string[] {
  return settings.flatMap((setting) => ['-o', setting])
}

function destination({ user, host, port }: ServerAddress, directory: string): string[] {
  const named = [...(user === null ? [] : ['-l', user]), ...(port === null ? [] : ['-p', String(port)])]
  return ['-S', join(directory, 'c'), ...named, '--', host]
}

/** Made by `connectServer`. */
export class Connection implements Disposable {
  readonly address: ServerAddress
  readonly place: string
  readonly #program: string
  readonly #before: readonly string[]
  readonly #directory: string
  readonly #channels = new Set<Channel>()
  #server: Server | null = null
  #entranceFailure: SteadError | null = null
  #ended = false

  constructor(address: ServerAddress, program: string, before: readonly string[], directory: string) {
    this.address = address
    this.place = describeServer(address)
    this.#program = program
    this.#before = before
    this.#directory = directory
    // When the process ends without disposing, as commands do.
    process.once('exit', this.#onExit)
  }

  readonly #onExit = (): void => this.#endNow()

  /** Runs a shell script there to its end. Throws `remote.cut-off` when the connection does not last so long. */
  async run(script: string, options: RunOptions = {}): Promise<Ended> {
    const channel = this.#open(commandOf(script, options), options.signal)
    const stdout = keep(channel.stdout)
    const stderr = keep(channel.stderr)
    const closed = once(channel, 'close') as Promise<[number | null, NodeJS.Signals | null]>
    // What the program does not read is its own affair; what it says counts.
    const fed = pipeline(options.input ?? Readable.from([]), channel.stdin).catch((error: unknown) => error)
    const [code] = await closed
    options.signal?.throwIfAborted()
    if (code === 255 || code === null) throw cutOff(this.place, stderr().trim().split('\n').at(-1) ?? '')
    const failure = await fed
    if (code === 0 && failure !== undefined && !isBrokenPipe(failure)) throw failure
    return { code, stdout: stdout(), stderr: stderr() }
  }

  /** A program there while it runs, with its three streams. It ends with the connection, and when its input is closed it may. */
  open(script: string, options: Pick<RunOptions, 'args' | 'sudo'> = {}): RemoteProgram {
    const channel = this.#open(commandOf(script, options))
    const ended = (once(channel, 'close') as Promise<[number | null]>).then(([code]) => code)
    for (const stream of [channel.stdin, channel.stdout, channel.stderr]) stream.on('error', () => {})
    const { stdin, stdout, stderr } = channel
    return { stdin, stdout, stderr, ended, kill: () => void channel.kill() }
  }

  /**
   * A Unix socket on this machine behind which the daemon of the server answers, as whoever this SSH key belongs to: each
   * connection to it is a channel to `stead access serve` there. It does not keep this process alive.
   */
  async operatorSocket(): Promise<string> {
    const path = join(this.#directory, 'operator.sock')
    if (this.#server !== null) return path
    const server = createServer((socket) => {
      const channel = this.#open(commandOf(entranceScript, {}))
      const stderr = keep(channel.stderr)
      for (const part of [channel, channel.stdin, channel.stdout, channel.stderr, socket]) unref(part)
      socket.pipe(channel.stdin)
      // Why it ended is known before whoever asks hears that it did.
      channel.stdout.pipe(socket, { end: false })
      for (const stream of [socket, channel.stdin, channel.stdout]) stream.on('error', () => {})
      socket.on('close', () => channel.kill())
      channel.on('close', (code) => {
        if (code !== 0) this.#entranceFailure = entranceRefusal(this.place, code ?? 255, stderr())
        socket.end()
      })
    })
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
    server.unref()
    this.#server = server
    return path
  }

  /** Why the last channel to the daemon ended in failure; null when none did. */
  get entranceFailure(): SteadError | null {
    return this.#entranceFailure
  }

  [Symbol.dispose](): void {
    process.off('exit', this.#onExit)
    if (!this.#ended) this.#endNow()
  }

  #open(command: string, signal?: AbortSignal): Channel {
    // Without the master there is no connection: a second one would ask again, and count as another login.
    const settings = settingWords('ControlMaster=no', 'ProxyCommand=false', 'RemoteCommand=none')
    const argv = [...this.#before, ...settings, '-T', ...destination(this.address, this.#directory), command]
    const channel = spawn(this.#program, argv, { stdio: ['pipe', 'pipe', 'pipe'], signal })
    channel.on('error', () => {})
    this.#channels.add(channel)
    channel.once('close', () => this.#channels.delete(channel))
    return channel
  }

  #endNow(): void {
    this.#ended = true
    this.#server?.close()
    for (const channel of this.#channels) channel.kill()
    const argv = [...this.#before, '-O', 'exit', ...destination(this.address, this.#directory)]
    // At once, because at the end of the process nothing else can be waited for; the master is on this machine.
    spawnSync(this.#program, argv, { stdio: 'ignore', timeout: 5000 })
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

/** Starts the way in of the installed Stead; a person's key starts its own command there instead. */
const entranceScript = `p=\${STEAD_PREFIX:-/opt/stead}/current/bin/stead
if [ ! -x "$p" ]; then p=$(command -v stead) || { echo "stead is not installed here" >&2; exit 127; }; fi
if [ "$(id -u)" = 0 ]; then exec "$p" access serve; fi
exec sudo -n /usr/bin/env "SSH_CONNECTION=\${SSH_CONNECTION:-}" "$p" access serve`

function entranceRefusal(place: string, code: number, said: string): SteadError {
  const last = said.trim().split('\n').at(-1) ?? ''
  if (code === 255) return cutOff(place, last)
  if (code === 127) {
    return new SteadError({
      code: 'remote.not-installed',
      message: `Stead is not installed on ${place}`,
      hint: `\`stead deploy ssh://${place}\` installs it.`,
    })
  }
  if (/sudo:/.test(said)) return noSudo(place)
  return new SteadError({ code: 'remote.failed', message: `stead on ${place} ended with code ${code}: ${last}` })
}

/** For a user there who is neither root nor may become it. */
export function noSudo(place: string): SteadError {
  return new SteadError({
    code: 'remote.no-sudo',
    message: `the user on ${place} is not root and may not use sudo without a password`,
    hint: 'Connect as root, let the user run sudo without a password, or ask for your SSH key to be added with `stead access add`.',
  })
}

/** A script with its arguments as one line for the login shell of the server, whichever that is. */
export function commandOf(script: string, { args = [], sudo = false }: Pick<RunOptions, 'args' | 'sudo'>): string {
  const words = [...(sudo ? ['sudo', '-n'] : []), 'sh', '-c', script, 'stead', ...args]
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')
}

/** Collects what a stream says, up to a limit; the last of it stays. */
function keep(stream: Readable): () => string {
  let text = ''
  stream.setEncoding('utf8')
  stream.on('data', (chunk: string) => (text = (text + chunk).slice(-keptBytesMax)))
  return () => text
}

function isBrokenPipe(error: unknown): boolean {
  return ['EPIPE', 'ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET'].includes(systemCodeOf(error) ?? '')
}

function unref(handle: object): void {
  if ('unref' in handle && typeof handle.unref === 'function') handle.unref()
}
