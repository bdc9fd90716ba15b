/** What has to be done on a server before it can take an app, or why it cannot. Pure: what it is in, steps out. */
import { SteadError } from '../base/index.ts'
import type { ServerState } from './look.ts'

/** What would be brought there. */
export interface OwnBuild {
  readonly version: string
  readonly build: string
  readonly platform: string
  readonly arch: string
}

export interface PlanOptions {
  /** Bring an older Stead there to this version. */
  readonly upgrade: boolean
  /** Install Debian packages. */
  readonly packages: boolean
  /** Some part of the app runs on Python. */
  readonly python: boolean
  /** The app declares backups. */
  readonly backups: boolean
}

export interface ServerPlan {
  /** Debian packages to install, each with what it gives. */
  readonly packages: readonly { readonly name: string; readonly why: string }[]
  /** What will be weaker, because packages were declined or there is no apt. */
  readonly without: readonly { readonly name: string; readonly why: string }[]
  /** Bring this Stead there. */
  readonly install: boolean
  /** Free bytes needed. */
  readonly bytesNeeded: number
}

/** A smallest Debian has no need of it but Node's. */
const nodeLibrary = 'libatomic.so.1'

/** `when`: only for apps of which that is so. */
const debian = [
  { name: 'libatomic1', program: nodeLibrary, why: 'Node does not start without it', when: null },
  { name: 'bubblewrap', program: 'bwrap', why: 'sandboxes', when: null },
  { name: 's6', program: 's6-log', why: 'keeps the output of programs, bounded', when: null },
  { name: 'btrfs-progs', program: 'mkfs.btrfs', why: "instant checkpoints of an app's data", when: null },
  { name: 'python3', program: 'python3', why: 'parts of this app run on it', when: 'python' },
  { name: 'restic', program: 'restic', why: 'the backups that this app declares', when: 'backups' },
] as const

/** Without these nothing can be brought there. */
const essential = ['tar', 'gzip', 'flock', 'sha256sum', 'setsid'] as const

/** Stead unpacked, its packed form, and room to start. */
const installBytes = 1024 ** 3
const startBytes = 256 * 1024 ** 2

/** Whether the version there fits. Throws `remote.newer`, and `remote.older` unless it is to be upgraded. */
export function checkVersion(there: string | null, own: string, upgrade: boolean, place: string): void {
  const order = there === null ? 0 : compareVersions(there, own)
  if (order > 0) {
    throw new SteadError({
      code: 'remote.newer',
      message: `${place} runs Stead ${there}, and this is ${own}, which is older`,
      hint: 'Bring this one up to the same version, and deploy again.',
    })
  }
  if (order < 0 && !upgrade) {
    throw new SteadError({
      code: 'remote.older',
      message: `${place} runs Stead ${there}, and this is ${own}`,
      hint: 'Run the same command with --upgrade (and a key that may) to bring the server to this version; its apps go on.',
    })
  }
}

/** Throws `remote.other-platform`, `remote.newer`, `remote.older`, `remote.strange-server`, `remote.disk-full`. */
export function planServer(server: ServerState, own: OwnBuild, options: PlanOptions, place: string): ServerPlan {
  checkVersion(server.version, own.version, options.upgrade, place)
  const install = server.version === null || (options.upgrade && server.build !== own.build)
  if (install && (server.platform !== own.platform || server.arch !== own.arch)) {
    throw new SteadError({
      code: 'remote.other-platform',
      message: `${place} is ${server.platform} ${server.arch}, and this machine is ${own.platform} ${own.arch}`,
      hint: 'Stead is brought from here as it is: bring it there once from a machine of the same kind. Apps without machine code can be deployed from here then.',
    })
  }
  const lacking = essential.filter((program) => !server.programs.has(program))
  if (install && lacking.length > 0) {
    throw new SteadError({
      code: 'remote.strange-server',
      message: `${place} (${server.os}) lacks ${lacking.join(', ')}`,
      hint: 'They are in coreutils, tar, gzip and util-linux, which every Debian has.',
    })
  }
  const can = options.packages && server.programs.has('apt-get')
  if (install && !can && !server.programs.has(nodeLibrary)) {
    throw new SteadError({
      code: 'remote.strange-server',
      message: `${place} (${server.os}) lacks ${nodeLibrary}, without which Node does not start`,
      hint: 'Debian has it in the package libatomic1: install it there, or deploy without --no-packages.',
    })
  }
  const bytesNeeded = install ? installBytes : startBytes
  if (server.freeBytes < bytesNeeded) {
    const megabytes = (bytes: number): string => `${Math.floor(bytes / 1024 ** 2)} MiB`
    throw new SteadError({
      code: 'remote.disk-full',
      message: `${place} has ${megabytes(server.freeBytes)} free, and ${megabytes(bytesNeeded)} are needed`,
      hint: 'Make room there, and run the same command again. Nothing was changed.',
      retry: 'later',
    })
  }
  const missing = debian
    .filter(({ program, when }) => !server.programs.has(program) && (when === null || options[when]))
    .map(({ name, why }) => ({ name, why }))
  return { packages: can ? missing : [], without: can ? [] : missing, install, bytesNeeded }
}

/** Below 0: `a` is older. By the three numbers; what follows a dash is before none. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => {
    const [numbers = '', pre = ''] = text.split(/-(.*)/s)
    return { numbers: numbers.split('.').map(Number), pre }
  })
  for (let index = 0; index < 3; index += 1) {
    const difference = (left?.numbers[index] ?? 0) - (right?.numbers[index] ?? 0)
    if (difference !== 0) return difference
  }
  if (left?.pre === right?.pre) return 0
  if (left?.pre === '') return 1
  return right?.pre === '' || (left?.pre ?? '') < (right?.pre ?? '') ? -1 : 1
}
