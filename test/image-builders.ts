/**
 * buildah and podman of Debian, unpacked and not installed: each use has storage, policy and registries of its own in one directory,
 * and touches nothing else of the machine.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cached } from './fetch.ts'
import { builderPath, toolEnv, toolPath } from './image-tools.ts'

const libraryPlace = `/usr/lib/${process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'}`
const libraries = [cached('image-builders-bookworm'), cached('image-tools-bookworm')].map((root) =>
  join(root, libraryPlace),
)

/** The tools with a place of their own. Disposing takes away what podman has mounted there. */
export class Builders implements Disposable {
  readonly #directory: string
  readonly env: NodeJS.ProcessEnv

  constructor(directory: string) {
    this.#directory = directory
    mkdirSync(join(directory, '.config/containers'), { recursive: true })
    const own = {
      LD_LIBRARY_PATH: libraries.join(':'),
      HOME: directory,
      CONTAINERS_CONF: join(directory, 'containers.conf'),
      CONTAINERS_STORAGE_CONF: join(directory, 'storage.conf'),
      CONTAINERS_REGISTRIES_CONF: join(directory, 'registries.conf'),
    }
    this.env = { PATH: toolEnv['PATH'], ...own }
    writeFileSync(this.policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }))
    writeFileSync(own.CONTAINERS_REGISTRIES_CONF, '')
    const storage = ['driver = "vfs"', `runroot = "${directory}/run"`, `graphroot = "${directory}/graph"`]
    writeFileSync(own.CONTAINERS_STORAGE_CONF, ['[storage]', ...storage, ''].join('\n'))
    // What conmon starts at the end of a container finds the same.
    const passed = [
      'PATH=/usr/sbin:/usr/bin:/sbin:/bin',
      ...Object.entries(own).map(([name, value]) => `${name}=${value}`),
    ]
    const engine = [
      `conmon_path = ["${builderPath('conmon')}"]`,
      `conmon_env_vars = [${passed.map((word) => JSON.stringify(word)).join(', ')}]`,
    ]
    writeFileSync(own.CONTAINERS_CONF, ['[engine]', ...engine, ''].join('\n'))
  }

  [Symbol.dispose](): void {
    spawnSync('umount', [join(this.#directory, 'podman/overlay')])
  }

  /** The policy that takes every image. */
  get policy(): string {
    return join(this.#directory, '.config/containers/policy.json')
  }

  /**
   * In a chroot, without control groups; layers as plain copies. It starts itself anew without its environment, so that its
   * libraries are laid over those of the machine, in a mount namespace of its own.
   */
  buildah(...args: readonly string[]): string {
    const env = { ...this.env, BUILDAH_ISOLATION: 'chroot' }
    const place = libraryPlace
    const overlay = `mount -t overlay -o lowerdir=${[...libraries, place].join(':')} libraries ${place}`
    return run('unshare', ['-m', 'sh', '-c', `${overlay} && exec "$@"`, 'sh', builderPath('buildah'), ...args], env)
  }

  /** The command line of podman, up to its verb. */
  podman(storage: 'overlay' | 'vfs' = 'overlay'): readonly string[] {
    const place = (name: string): string => join(this.#directory, name)
    const runtime = existsSync('/usr/sbin/runc') ? '/usr/sbin/runc' : toolPath('runc')
    const places = ['--root', place('podman'), '--runroot', place('podman-run')]
    const ways = `--storage-driver ${storage} --cgroup-manager cgroupfs --events-backend file`.split(' ')
    return [builderPath('podman'), ...places, ...ways, '--runtime', runtime]
  }
}

/** Runs a program to its end. Throws with what it said. */
export function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', env, timeout: 300_000 })
  if (status === 0) return stdout
  throw new Error(`${program} ${args.join(' ')}: ${stderr.slice(-800)}`)
}
