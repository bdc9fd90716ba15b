/**
 * From a spec to the arguments of bubblewrap. Pure: what the machine has comes in as facts.
 *
 * Invariants: nothing of the host is writable inside but the mounts the spec names; what is not named is not there; no
 * secret stands in the arguments that other users of the host can read (all of these travel by descriptor).
 */
import type { SandboxSpec } from './driver.ts'
import { tableFd } from './root.ts'

/** What of the host matters to the arguments. */
export interface HostFacts {
  /** /bin, /lib and the like: with the target where it is a symbolic link. */
  readonly systemDirectories: readonly { readonly path: string; readonly linkTo: string | null }[]
  /** Files and directories of /etc that programs need and that hold no secret, as far as they are there. */
  readonly etc: readonly string[]
  /** Files of /proc that tell of the host, and directories, as far as they are there. */
  readonly procFiles: readonly string[]
  readonly procDirectories: readonly string[]
}

/** What may be bound from the host's /etc. */
export const etcWanted: readonly string[] = [
  '/etc/alternatives',
  '/etc/ld.so.cache',
  '/etc/localtime',
  '/etc/protocols',
  '/etc/services',
  '/etc/ssl/certs',
  '/etc/ssl/openssl.cnf',
]
/**
 * What is covered in /proc: what any user may read there and that tells of the host. The rest of it belongs to root of
 * the host, whom the program never is. Each cover costs a mount, a good half millisecond of starting.
 */
export const procFilesHidden: readonly string[] = [
  'config.gz',
  'kallsyms',
  'key-users',
  'keys',
  'modules',
  'timer_list',
].map((file) => `/proc/${file}`)
export const procDirectoriesHidden: readonly string[] = ['acpi', 'bus', 'fs', 'irq', 'scsi'].map(
  (directory) => `/proc/${directory}`,
)

/** User and group id inside where no root says another, whatever the id on the host is. */
export const insideUid = 1000
const sharedMemoryBytesMax = 64 * 2 ** 20

/** Descriptor of the filter, if there is one, and where each file comes from: a descriptor, or a file of the host. */
export interface Handover {
  readonly seccomp: number | null
  readonly files: readonly {
    readonly path: string
    readonly mode: number
    readonly writable: boolean
    readonly from: number | string
  }[]
}

const addressFiles = ['/etc/hosts', '/etc/resolv.conf']

/** The files that every sandbox has, unless the spec brings its own. */
export function standardFiles(spec: SandboxSpec): readonly SandboxSpec['files'][number][] {
  const standard = [
    {
      path: '/etc/passwd',
      content: `app:x:${insideUid}:${insideUid}:app:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n`,
    },
    { path: '/etc/group', content: `app:x:${insideUid}:\nnogroup:x:65534:\n` },
    { path: '/etc/hosts', content: '127.0.0.1 localhost\n::1 localhost\n' },
    { path: '/etc/nsswitch.conf', content: 'passwd: files\ngroup: files\nhosts: files dns\n' },
    // In a network of its own there is no name server but one that the spec brings.
    ...(spec.network === null ? [] : [{ path: '/etc/resolv.conf', content: '' }]),
  ]
  // A root of its own knows its users itself.
  const wanted = spec.root === undefined ? standard : standard.filter(({ path }) => addressFiles.includes(path))
  return wanted
    .filter(({ path }) => !spec.files.some((file) => file.path === path))
    .map((file) => ({ ...file, mode: 0o444 }))
}

/**
 * What user 0 may do inside where there are several users: with files of theirs, and become one of them. Nothing of it reaches
 * beyond their ids: what belongs to others, on the host or of the kernel, is not in its namespace.
 */
export const capabilitiesOfSeveral: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
]

/** Where a root of its own stands on the host, and what is bound into it to start with. */
export interface RootFacts {
  readonly path: string
  readonly shellSource: string
  readonly shellTarget: string
  /** Where /etc/resolv.conf of the root leads. */
  readonly resolver: string
}

/** All options; the program and its arguments follow them on the command line. */
export function bubblewrapOptions(
  spec: SandboxSpec,
  host: HostFacts,
  handover: Handover,
  root: RootFacts | null = null,
  devices: readonly string[] = [],
): readonly string[] {
  const { uid, gid } = spec.root?.user ?? { uid: insideUid, gid: insideUid }
  const { tmpBytes } = spec.limits
  const sharedBytes = Math.min(tmpBytes ?? sharedMemoryBytesMax, sharedMemoryBytesMax)
  const resolver = root?.resolver ?? '/etc/resolv.conf'
  const ownResolver = handover.files.some(({ path }) => path === resolver)
  const severalUsers = root !== null && spec.root?.hostIds !== undefined
  const groups: readonly (readonly string[])[] = [
    severalUsers ? ['--userns', String(tableFd)] : ['--unshare-user', '--disable-userns'],
    ['--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup'],
    [
      '--uid',
      String(uid),
      '--gid',
      String(gid),
      '--hostname',
      spec.id,
      '--cap-drop',
      'ALL',
      '--new-session',
      '--as-pid-1',
    ],
    severalUsers && uid === 0 ? capabilitiesOfSeveral.flatMap((held) => ['--cap-add', held]) : [],
    ...(root === null ? hostRoot(host) : [['--bind', root.path, '/']]),
    ownResolver ? [] : ['--ro-bind-try', '/etc/resolv.conf', resolver],
    ['--perms', '1777', ...(tmpBytes === null ? [] : ['--size', String(tmpBytes)]), '--tmpfs', '/tmp'],
    root === null
      ? ['--dir', '/run', '--dir', '/var', '--symlink', '/tmp', '/var/tmp']
      : ['--ro-bind', root.shellSource, root.shellTarget],
    ['--proc', '/proc', '--ro-bind', '/proc/sys', '/proc/sys'],
    ...host.procFiles.map((path) => ['--ro-bind', '/dev/null', path]),
    ...host.procDirectories.map((path) => ['--tmpfs', path, '--remount-ro', path]),
    ['--dev', '/dev', ...devices.flatMap((device) => ['--dev-bind', device, device])],
    ['--perms', '1777', '--size', String(sharedBytes), '--tmpfs', '/dev/shm', '--remount-ro', '/dev'],
    // Bound by itself, it stays as it is when the root is closed.
    ...(spec.root?.scratch ?? []).map((path) => (root === null ? [] : ['--bind', `${root.path}${path}`, path])),
    ...parentsFirst(spec).map(({ source, target, access }) => [
      access === 'read-only' ? '--ro-bind' : '--bind',
      source,
      target,
    ]),
    ...handover.files.map(({ path, mode, writable, from }) =>
      typeof from === 'string'
        ? [writable ? '--bind' : '--ro-bind', from, path]
        : [
            '--perms',
            mode.toString(8).padStart(4, '0'),
            writable ? '--bind-data' : '--ro-bind-data',
            String(from),
            path,
          ],
    ),
    // Where it is missing; the root is the image's.
    root === null ? [] : ['--dir', spec.cwd],
    root !== null && spec.root?.writable === true ? [] : ['--remount-ro', '/'],
    ['--chdir', spec.cwd, '--clearenv'],
    ...Object.entries(spec.env).map(([name, value]) => ['--setenv', name, value]),
    handover.seccomp === null ? [] : ['--seccomp', String(handover.seccomp)],
  ]
  return groups.flat()
}

/** The programs and libraries of the host. */
function hostRoot(host: HostFacts): readonly (readonly string[])[] {
  return [
    ['--ro-bind', '/usr', '/usr'],
    ...host.systemDirectories.map(({ path, linkTo }) =>
      linkTo === null ? ['--ro-bind', path, path] : ['--symlink', linkTo, path],
    ),
    ...host.etc.map((path) => ['--ro-bind', path, path]),
  ]
}

/** A mount inside another comes after it, or it would be covered. */
function parentsFirst(spec: SandboxSpec): readonly SandboxSpec['mounts'][number][] {
  return [...spec.mounts].sort((a, b) => a.target.split('/').length - b.target.split('/').length)
}

/** Options as bubblewrap reads them from a descriptor. */
export function encodeOptions(options: readonly string[]): string {
  return options.map((option) => `${option}\0`).join('')
}
