/**
 * An Incus server for tests: LXD 5.0 as Debian has it, from which Incus comes and whose interface is nearly the same, unpacked
 * into a folder and started in a mount namespace of its own, on a folder of its own. Nothing is installed, nothing of it stays.
 * Tests only look; `scripts/node scripts/machines.ts` fetches.
 */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  closeSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fields, IncusApi } from '../src/sandbox/drivers/incus/api.ts'
import { cached } from './fetch.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'

export const incusPackages: readonly string[] = ['lxd']
export const incusPlace: string = cached('incus-1')
const startTimeoutMs = 60_000
/** Ids that its containers may have on the host: their own, those of the tests of sandboxes, and those of parts of apps. */
const mappable = 'root:1000000:1000000000\nroot:200000:65536\nroot:1900000000:200000000\n'

/** False, or why there can be no such server here. */
export function needsIncus(): string | false {
  return needsAll(
    process.platform === 'linux' && process.arch === 'x64' ? false : 'needs Linux of x86_64',
    needsRoot(),
    needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'),
    needsFile(join(incusPlace, 'usr/bin/lxd'), 'scripts/node scripts/machines.ts'),
  )
}

export interface IncusServerOptions {
  /** A kind of groups, such as `memory`, that it does not see, as if its host had none. */
  readonly without?: string
}

/** Its programs are laid over the host's. */
const script = `
mount --make-rslave /
mount -t overlay -o "lowerdir=$PARTS/usr:/usr" overlay /usr || exit 1
[ -z "$WITHOUT" ] || umount "/sys/fs/cgroup/$WITHOUT" || exit 1
mount --bind "$LXD_DIR/../ids" /etc/subuid && mount --bind "$LXD_DIR/../ids" /etc/subgid || exit 1
exec lxd --logfile "$LXD_DIR/../log"
`

export class IncusTestServer implements AsyncDisposable {
  readonly socketPath: string
  readonly api: IncusApi
  readonly #directory: string
  readonly #without: string
  #child: ChildProcess

  private constructor(directory: string, without: string) {
    this.#directory = directory
    this.#without = without
    this.#child = this.#spawn()
    this.socketPath = `${directory}/server/unix.socket`
    this.api = new IncusApi({ socketPath: this.socketPath }, null)
  }

  /** Throws with what the server said when it does not come up. */
  static async start({ without = '' }: IncusServerOptions = {}): Promise<IncusTestServer> {
    const directory = mkdtempSync(join(tmpdir(), 'stead-incus-'))
    // Containers stand in it, and their root is not root.
    chmodSync(directory, 0o711)
    mkdirSync(join(directory, 'server'), { mode: 0o711 })
    // Empty files are there on Debian; elsewhere there is nothing to cover.
    for (const path of ['/etc/subuid', '/etc/subgid']) if (!existsSync(path)) writeFileSync(path, '')
    writeFileSync(join(directory, 'ids'), mappable)
    const server = new IncusTestServer(directory, without)
    try {
      await server.#ready()
      await server.api.post('/1.0/storage-pools', { name: 'default', driver: 'dir' })
    } catch (error) {
      await server.stop()
      throw error
    }
    return server
  }

  /** Ends it at once, and none of its containers. */
  async crash(): Promise<void> {
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }

  /** Starts it again on what it had. */
  async restart(): Promise<void> {
    this.#child = this.#spawn()
    await this.#ready()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async stop(): Promise<void> {
    for (const path of await this.#instances().catch(() => [])) {
      await this.api.put(`${path}/state`, { action: 'stop', timeout: 30, force: true }).catch(() => undefined)
      await this.api.delete(path).catch(() => undefined)
    }
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGTERM')
      await once(this.#child, 'exit')
    }
    rmSync(this.#directory, { recursive: true, force: true })
    // What its containers were moved to when they ended.
    for (const group of globSync('/sys/fs/cgroup/*/lxc.pivot')) {
      try {
        rmdirSync(group)
      } catch {
        // Another server's.
      }
    }
  }

  /** Names of its containers, and of other instances. */
  async names(): Promise<readonly string[]> {
    return (await this.#instances()).map((path) => path.split('/').at(-1) ?? '')
  }

  async #instances(): Promise<readonly string[]> {
    const { list } = fields({ list: await this.api.get('/1.0/instances') })
    return Array.isArray(list) ? list.map(String) : []
  }

  #spawn(): ChildProcess {
    const said = openSync(join(this.#directory, 'said'), 'a')
    const env = {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      PARTS: incusPlace,
      LXD_DIR: join(this.#directory, 'server'),
      WITHOUT: this.#without,
    }
    try {
      return spawn('unshare', ['--mount', '/bin/sh', '-c', script], { env, stdio: ['ignore', said, said] })
    } finally {
      closeSync(said)
    }
  }

  async #ready(): Promise<void> {
    const deadlineMs = Date.now() + startTimeoutMs
    while (
      !(await this.api.get('/1.0').then(
        () => true,
        () => false,
      ))
    ) {
      if (this.#child.exitCode !== null || Date.now() > deadlineMs) {
        const { stdout } = spawnSync('tail', ['-n', '5', join(this.#directory, 'said')], { encoding: 'utf8' })
        throw new Error(`the server did not come up: ${stdout}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}
