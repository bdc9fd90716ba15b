/**
 * From a spec to the configuration of a container, as OCI runtimes read it, and to what hands it to one and keeps its exit. Pure.
 *
 * Invariants: what the bubblewrap driver closes is closed here: capabilities, system calls, /proc, devices, a root that is
 * read-only; the configuration holds environments, and with them secrets, so it lies in memory that no other process sees.
 */
import { capabilitiesOfSeveral, insideUid } from './bubblewrap-args.ts'
import type { HostFacts, RootFacts } from './bubblewrap-args.ts'
import type { SandboxSpec } from './driver.ts'
import { descriptors, initScript, quote } from './launcher.ts'
import type { OciSeccomp } from './oci-seccomp.ts'
import { tableRows } from './root.ts'

const sharedMemoryBytesMax = 64 * 2 ** 20
/** Room beside the files: for the configuration, and for what each file takes at least. */
const bundleBytesMin = 2 ** 20
/**
 * A container's first steps are taken as user 0 of its namespace. Where the program is another, that is a user of the host
 * as well, whom nothing belongs to: so far above the program's own.
 */
const stepsAbove = 100_000_000

/** Files that are handed in, by the names under which the script lays them beside the configuration. */
export interface LaidFile {
  readonly path: string
  readonly source: string
  readonly writable: boolean
}

interface OciMount {
  readonly destination: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
}

/** Below the place where the root is made. */
function temporaryOf(place: string): string {
  return `${place}/tmp`
}

export interface OciFacts {
  /** A directory of the namespace that the root is made in. */
  readonly place: string
  readonly host: Pick<HostFacts, 'procFiles' | 'procDirectories'>
  readonly root: RootFacts
  /** Command line of a shell inside. */
  readonly sh: readonly string[]
  readonly seccomp: OciSeccomp | null
  readonly files: readonly LaidFile[]
  /** Whether the host has a list of name servers. */
  readonly hasResolver: boolean
}

function bind(source: string, destination: string, ...options: readonly string[]): OciMount {
  return { destination, type: 'bind', source, options: ['rbind', 'nosuid', 'nodev', ...options] }
}

function memory(destination: string, bytes: number, ...options: readonly string[]): OciMount {
  return { destination, type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', `size=${bytes}`, ...options] }
}

/** The configuration, as a value of JSON. */
export function ociConfig(spec: SandboxSpec, facts: OciFacts): Readonly<Record<string, unknown>> {
  const { place, host, root, sh, seccomp, files, hasResolver } = facts
  const { tmpBytes } = spec.limits
  const { hostIds, scratch = [], writable = false, user = { uid: insideUid, gid: insideUid } } = spec.root ?? {}
  const held = hostIds !== undefined && user.uid === 0 ? capabilitiesOfSeveral : []
  const idsOf = (own: number): readonly object[] => {
    const steps = { first: spec.hostUid + stepsAbove, count: 1 }
    const rows =
      hostIds === undefined
        ? [[own, spec.hostUid, 1], ...(own === 0 ? [] : [[0, steps.first, 1]])]
        : tableRows(own, spec.hostUid, hostIds)
    return rows.map(([containerID, hostID, size]) => ({ containerID, hostID, size }))
  }
  // The runtime sets it where the environment does not.
  const home = 'HOME' in spec.env ? '' : 'unset HOME; '
  const sharedBytes = Math.min(tmpBytes ?? sharedMemoryBytesMax, sharedMemoryBytesMax)
  const ownResolver = files.some(({ path }) => path === root.resolver)
  return {
    ociVersion: '1.0.2',
    hostname: spec.id,
    root: { path: root.path, readonly: !writable },
    process: {
      terminal: false,
      user: { ...user, umask: 0o022 },
      args: [...sh, '-c', `${home}${initScript}`, 'sh', ...spec.argv],
      env: Object.entries(spec.env).map(([name, value]) => `${name}=${value}`),
      cwd: spec.cwd,
      noNewPrivileges: true,
      capabilities: { bounding: held, effective: held, permitted: held, inheritable: [], ambient: [] },
    },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      memory('/dev', 65_536, 'mode=755', 'strictatime', 'ro'),
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
      },
      memory('/dev/shm', sharedBytes, 'mode=1777'),
      // Made by the script: a runtime gives one of its own the bits of the directory that it covers.
      bind(temporaryOf(place), '/tmp'),
      bind(root.shellSource, root.shellTarget, 'ro'),
      ...(hasResolver && !ownResolver ? [bind('/etc/resolv.conf', root.resolver, 'ro')] : []),
      // Bound by itself, it stays as it is when the root is closed.
      ...scratch.map((path) => bind(`${root.path}${path}`, path)),
      ...[...spec.mounts]
        .sort((a, b) => a.target.split('/').length - b.target.split('/').length)
        .map(({ source, target, access }) => bind(source, target, ...(access === 'read-only' ? ['ro'] : []))),
      ...files.map(({ path, source, writable: open }) => bind(source, path, ...(open ? [] : ['ro']))),
    ],
    linux: {
      namespaces: ['user', 'pid', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
      uidMappings: idsOf(user.uid),
      gidMappings: idsOf(user.gid),
      cgroupsPath: `/stead-runtime/${spec.id}`,
      resources: { devices: [{ allow: false, access: 'rwm' }] },
      rootfsPropagation: 'private',
      maskedPaths: [...host.procFiles, ...host.procDirectories],
      readonlyPaths: ['/proc/sys', '/proc/sysrq-trigger'],
      ...(seccomp === null ? {} : { seccomp }),
    },
  }
}

export interface OciOrder {
  readonly architecture: string
  /** Command line of the runtime. */
  readonly runtime: readonly string[]
  readonly id: string
  readonly hostUid: number
  /** A directory of the namespace that the root is made in. */
  readonly place: string
  readonly tmpBytes: number | null
  /** By descriptor, after that of the configuration, one after another; the size of all of them. */
  readonly files: readonly { readonly name: string; readonly mode: number }[]
  readonly filesBytes: number
  readonly pidFile: string
  readonly exitFile: string
}

/** Run as root where the root is made: lays out the configuration and the files, and starts the container. */
function layAndStart({ runtime, id, hostUid, place, tmpBytes, files, filesBytes, pidFile }: OciOrder): string {
  const bundle = `${place}/bundle`
  const size = bundleBytesMin + 2 * filesBytes
  const tmpSize = tmpBytes === null ? '' : `,size=${tmpBytes}`
  const tmp = temporaryOf(place)
  const first = descriptors.firstHandover
  const run = [...runtime, 'run', '--detach', '--bundle', bundle, '--pid-file', pidFile, '--preserve-fds', '1', id]
  return [
    'umask 077',
    `mkdir ${bundle} && mount -t tmpfs -o mode=0711,nosuid,nodev,size=${size} stead ${bundle} || exit 125`,
    `mkdir ${tmp} && mount -t tmpfs -o mode=1777,nosuid,nodev${tmpSize} stead ${tmp} || exit 125`,
    `cat <&${first} >${bundle}/config.json || exit 125`,
    ...files.flatMap(({ name, mode }, index) => [
      `cat <&${first + 1 + index} >${bundle}/${name} && chmod ${mode.toString(8)} ${bundle}/${name} || exit 125`,
      `chown ${hostUid}:${hostUid} ${bundle}/${name} || exit 125`,
    ]),
    `exec ${Array.from({ length: files.length + 1 }, (_, index) => `${first + index}<&-`).join(' ')}`,
    // A hierarchy that holds no controller makes some refuse the host; in this namespace nobody needs it.
    'umount /sys/fs/cgroup/unified 2>/dev/null',
    // What a runtime is given as input it may give to the program's user: not the host's own /dev/null.
    `: >${bundle}/nothing`,
    'umask 022',
    `exec ${run.map(quote).join(' ')} <${bundle}/nothing`,
  ].join('\n')
}

/** Number of prctl, and what makes orphans its children. */
const prctl: Readonly<Record<string, number>> = { x64: 157, arm64: 167 }
const becomeSubreaper = 36

/**
 * Starts the container and keeps its exit, in a file that appears whole. The runtime ends as soon as the container runs, so
 * that the program's output passes through nothing; its first process becomes the child of this one.
 */
const keeper = `
my ($prctl, $what, $script, $pidFile, $exitFile, @forget) = @ARGV;
require POSIX;
syscall($prctl + 0, $what + 0, 1, 0, 0, 0) == 0 or die "orphans cannot be kept: $!\\n";
system('/bin/sh', '-c', $script) == 0 or exit 125;
POSIX::close($_) for 3 .. 255;
open(my $file, '<', $pidFile) or die "$pidFile: $!\\n";
my $pid = <$file> + 0;
waitpid($pid, 0) == $pid or exit 125;
my $code = $? & 127 ? 128 + ($? & 127) : $? >> 8;
if (open(my $exit, '>', "$exitFile.new")) {
  print $exit "$code\\n"; close $exit; rename "$exitFile.new", $exitFile;
}
open(STDOUT, '>', '/dev/null'); open(STDERR, '>', '/dev/null');
system { $forget[0] } @forget;
`

/** Command line of what runs a container to its end, in the place where its root is made. */
export function ociKeeper(perl: string, order: OciOrder): readonly string[] {
  const { architecture, runtime, id, pidFile, exitFile } = order
  const numbers = [prctl[architecture] ?? 0, becomeSubreaper].map(String)
  const forget = [...runtime, 'delete', '--force', id]
  return [perl, '-e', keeper, ...numbers, layAndStart(order), pidFile, exitFile, ...forget]
}
