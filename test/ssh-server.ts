/**
 * A server for tests: the real OpenSSH on a port of its own, with keys, known hosts and configuration in a directory of its
 * own, and an environment that keeps everything Stead does there inside it. Nothing of this machine is touched.
 */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually, freePort, type Result, type Running, Workbench } from './command-line.ts'
import { isAlive } from './daemon-bench.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'

const sshd = '/usr/sbin/sshd'

/** False, or why there can be no server on this machine. */
export function needsSshServer(): string | false {
  return needsAll(
    needsRoot(),
    needsFile(sshd, 'apt-get install -y --no-install-recommends openssh-server'),
    needsFile('/usr/bin/ssh-keygen', 'apt-get install -y openssh-client'),
  )
}

export interface SshServerOptions {
  /** The user there says that it is not root, and becomes it by sudo, or may not. */
  readonly user?: 'root' | 'sudo' | 'nobody'
}

export class SshServer implements AsyncDisposable {
  readonly dir: string
  /** The machine of whoever deploys. */
  readonly client: Workbench
  readonly prefix: string
  readonly state: string
  readonly run: string
  readonly httpPort: number
  readonly port: number
  #daemon: ReturnType<typeof spawn> | null = null

  private constructor(port: number, httpPort: number, user: 'root' | 'sudo' | 'nobody') {
    this.port = port
    this.httpPort = httpPort
    this.dir = mkdtempSync(join(tmpdir(), 'sv-'))
    execFileSync('chmod', ['711', this.dir])
    this.prefix = join(this.dir, 'opt')
    this.state = join(this.dir, 's')
    this.run = join(this.dir, 'r')
    for (const name of ['host', 'key', 'other']) this.#newKey(name)
    this.authorize('key')
    this.#writePrograms(user)
    this.#writeConfiguration()
    this.client = new Workbench({ env: { STEAD_SSH: `ssh -F ${join(this.dir, 'config')}` } })
  }

  static async start({ user = 'root' }: SshServerOptions = {}): Promise<SshServer> {
    const server = new SshServer(await freePort(), await freePort(), user)
    await server.listen()
    return server
  }

  /** As the commands name it. */
  get url(): string {
    return 'ssh://box'
  }

  /** Starts sshd and waits until it listens. */
  async listen(): Promise<void> {
    mkdirSync('/run/sshd', { recursive: true })
    const child = spawn(sshd, ['-D', '-e', '-f', join(this.dir, 'sshd_config')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => (said += String(chunk)))
    this.#daemon = child
    const knock = (): Promise<boolean> =>
      new Promise((resolve) => {
        const socket = connect(this.port, '127.0.0.1')
        socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
        socket.once('connect', () => socket.destroy())
      })
    await eventually(`sshd listens (${said})`, knock, (open) => open)
  }

  /** Ends sshd, and with it every connection. */
  async hangUp(): Promise<void> {
    this.cut()
    const daemon = this.#daemon
    if (daemon === null || daemon.exitCode !== null) return
    const ended = new Promise((resolve) => daemon.once('exit', resolve))
    daemon.kill()
    await ended
  }

  /** Cuts every connection that is open, as a dead network does, and leaves sshd listening. */
  cut(): void {
    for (const pid of descendants(this.#daemon?.pid ?? 0)) {
      if (commandOf(pid).startsWith('sshd')) process.kill(pid, 'SIGKILL')
    }
  }

  /** How many connections sshd serves now. */
  connections(): number {
    return childrenOf(this.#daemon?.pid ?? 0).length
  }

  /** Lets a key in, as an administrator does by hand. */
  authorize(name: string): void {
    writeFileSync(join(this.dir, 'authorized_keys'), `${this.publicKey(name)}\n`, { mode: 0o600 })
  }

  publicKey(name: string): string {
    return readFileSync(join(this.dir, `${name}.pub`), 'utf8').trim()
  }

  publicKeyFile(name: string): string {
    return join(this.dir, `${name}.pub`)
  }

  /** The server gets another host key, as after a new installation or behind somebody in between. */
  async changeHostKey(): Promise<void> {
    await this.hangUp()
    for (const file of ['host', 'host.pub']) rmSync(join(this.dir, file))
    this.#newKey('host')
    await this.listen()
  }

  /** The client learns the host key that is now. */
  trustHostKey(): void {
    writeFileSync(join(this.dir, 'known_hosts'), `[127.0.0.1]:${this.port} ${this.publicKey('host')}\n`)
  }

  /** The environment of a client that uses another key. */
  as(key: string): NodeJS.ProcessEnv {
    const path = join(this.dir, `config-${key}`)
    writeFileSync(
      path,
      readFileSync(join(this.dir, 'config'), 'utf8').replace(/IdentityFile .*/, `IdentityFile ${join(this.dir, key)}`),
    )
    return { STEAD_SSH: `ssh -F ${path}` }
  }

  /** `stead deploy` of the client's app to this server. */
  deploy(...args: readonly string[]): Promise<Result> {
    return this.client.stead('deploy', this.url, '.', ...this.#serveArguments(), ...args)
  }

  startDeploy(...args: readonly string[]): Running {
    return this.client.start('deploy', this.url, '.', ...this.#serveArguments(), ...args)
  }

  /** The daemon there; null when none runs. */
  supervisor(): number | null {
    try {
      const { pid } = JSON.parse(readFileSync(join(this.run, 'serve', 'claims', 'supervisor.json'), 'utf8')) as {
        pid: number
      }
      return isAlive(pid) ? pid : null
    } catch {
      return null
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const apps = existsSync(join(this.prefix, 'current')) && this.supervisor() !== null ? await this.#apps() : []
    for (const app of apps) await this.client.stead('down', `${this.url}/${app}`, '--delete-data')
    const pids = this.#daemonPids()
    const supervisor = this.supervisor()
    if (supervisor !== null) process.kill(supervisor, 'SIGTERM')
    await eventually(
      'the daemon has ended',
      async () => pids.filter(isAlive),
      (left) => left.length === 0,
      60_000,
    )
    await this.client[Symbol.asyncDispose]()
    await this.hangUp()
    rmSync(this.dir, { recursive: true, force: true })
  }

  async #apps(): Promise<string[]> {
    const { stdout } = await this.client.stead('status', '--all', this.url, '--json')
    return stdout === '' ? [] : ((JSON.parse(stdout) as { apps?: { app: string }[] }).apps?.map(({ app }) => app) ?? [])
  }

  #daemonPids(): number[] {
    const claims = join(this.run, 'serve', 'claims')
    if (!existsSync(claims)) return []
    return readdirSync(claims)
      .filter((name) => name.endsWith('.json'))
      .map((name) => (JSON.parse(readFileSync(join(claims, name), 'utf8')) as { pid: number }).pid)
      .filter(isAlive)
  }

  #serveArguments(): string[] {
    return ['--host', '127.0.0.1', '--port', String(this.httpPort)]
  }

  #newKey(name: string): void {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', join(this.dir, name)])
  }

  /** Programs that stand before those of the machine: who is root there cannot be changed for a test, but what it says can. */
  #writePrograms(user: 'root' | 'sudo' | 'nobody'): void {
    const directory = join(this.dir, 'bin')
    mkdirSync(directory)
    if (user === 'root') return
    const sudo = user === 'sudo' ? 'unset NOT_ROOT; [ "$1" = -n ] && shift; exec "$@"' : 'exit 1'
    writeFileSync(join(directory, 'sudo'), `#!/bin/sh\n${sudo}\n`, { mode: 0o755 })
    writeFileSync(join(directory, 'id'), '#!/bin/sh\necho "${NOT_ROOT:-0}"\n', { mode: 0o755 })
  }

  #writeConfiguration(): void {
    const file = (name: string): string => join(this.dir, name)
    const environment = {
      STEAD_STATE: this.state,
      STEAD_RUN: this.run,
      STEAD_PREFIX: this.prefix,
      STEAD_AUTHORIZED_KEYS: file('authorized_keys'),
      PATH: `${file('bin')}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin`,
      NOT_ROOT: '1000',
    }
    const set = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
    writeFileSync(
      file('sshd_config'),
      `ListenAddress 127.0.0.1:${this.port}
HostKey ${file('host')}
AuthorizedKeysFile ${file('authorized_keys')}
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
SetEnv ${set.join(' ')}
`,
    )
    this.trustHostKey()
    writeFileSync(
      file('config'),
      `Host box
HostName 127.0.0.1
Port ${this.port}
User root
IdentityFile ${file('key')}
IdentitiesOnly yes
IdentityAgent none
UserKnownHostsFile ${file('known_hosts')}
GlobalKnownHostsFile /dev/null
StrictHostKeyChecking yes
BatchMode yes
`,
    )
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

function descendants(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendants(child)])
}
