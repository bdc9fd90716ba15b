/**
 * From a spec to a machine: what QEMU is started with, what it sees of the host, and what the guest is told. Pure: what the
 * machine has comes in as facts.
 *
 * Invariants: QEMU sees of the host what the spec names and its own parts, nothing else; a directory that the spec gives
 * read-only is read-only to QEMU itself, so that not even the guest's kernel could write it; no secret stands in arguments.
 */
import { insideUid, standardFiles } from '../../bubblewrap-args.ts'
import type { HostFacts } from '../../bubblewrap-args.ts'
import type { Mount, SandboxLimits, SandboxSpec } from '../../driver.ts'
import { encodeConfig } from './channel.ts'
import type { GuestFiles } from './initramfs.ts'
import type { GuestParts } from './kernel.ts'

/** Where everything of the machine lies, as QEMU sees it. */
const place = '/machine'
/** Sockets of the machine, and its exit. */
export const controls = {
  qmp: 'qmp',
  control: 'control',
  console: 'console',
  debugStub: 'gdb',
  exit: 'exit',
} as const

const mebibyte = 2 ** 20
/** What a guest's kernel and first program need beside the program. */
const guestBytes = 96 * mebibyte
const memoryBytesDefault = 1024 * mebibyte
/** What QEMU itself needs beside the guest's memory: translated code, firmware, its own heap. */
const machineBytes = 256 * mebibyte
const cpusMax = 8
/** Characters of an inline file: each at most four bytes. */
const pieceChars = 15_000

/** How QEMU runs guests here. */
export interface Acceleration {
  readonly kind: 'kvm' | 'emulation'
  /** Why not in hardware. */
  readonly reason: string | null
}

export interface MachinePlan {
  readonly parts: GuestParts
  readonly files: GuestFiles
  readonly host: HostFacts
  readonly acceleration: Acceleration
  /** Where the sandbox around makes a root that the program brings. */
  readonly madeRoot: string
  /** Directory on the host for the machine's sockets. */
  readonly controlDir: string
  /** Of the host. */
  readonly cpus: number
  /** Base 64 or nothing: the program's filter, hexadecimal. */
  readonly filter: string | null
}

/** Memory that the guest has, in bytes: whole MiB. */
export function guestMemoryBytes({ memoryBytes }: Pick<SandboxLimits, 'memoryBytes'>): number {
  const program = memoryBytes === null ? memoryBytesDefault : memoryBytes + guestBytes
  return Math.ceil(program / mebibyte) * mebibyte
}

/** What the sandbox around QEMU is started with. */
export function machineSpec(spec: SandboxSpec, plan: MachinePlan): SandboxSpec {
  const trees = spec.root === undefined ? systemMounts(plan.host) : []
  const shares = spec.mounts.map(({ source, access }, index) => ({ source, target: `/share/${index}`, access }))
  const config = configOf(spec, plan, trees, shares)
  const { kernel, initramfs } = plan.files
  const own: readonly Mount[] = [
    { source: kernel, target: '/kernel', access: 'read-only' },
    { source: initramfs, target: '/initramfs', access: 'read-only' },
    { source: plan.controlDir, target: '/control', access: 'read-write' },
    ...(spec.root === undefined ? [] : [{ source: plan.madeRoot, target: '/root', access: 'read-write' as const }]),
    ...(plan.parts.root === null ? [] : [{ source: plan.parts.root, target: '/parts', access: 'read-only' as const }]),
  ]
  const libraries = plan.parts.libraries.map((path) => inParts(path, plan.parts))
  // What only the guest is asked for, the sandbox around it is not.
  const { isolation: _guests, ports: _forwarded, ...common } = spec
  return {
    ...common,
    argv: ['/bin/sh', '-c', runner, 'sh', ...qemuArgs(spec, plan, shares.length > 0)],
    env: { PATH: '/usr/bin:/bin', ...(libraries.length > 0 && { LD_LIBRARY_PATH: libraries.join(':') }) },
    cwd: '/',
    mounts: [...own, ...trees, ...shares].map(({ source, target, access }) => ({
      source,
      target: `${place}${target}`,
      access,
    })),
    files: piecesOf(config).map((content, index) => ({ path: `${place}/boot/${index}`, content, mode: 0o400 })),
    limits: {
      memoryBytes: spec.limits.memoryBytes === null ? null : guestMemoryBytes(spec.limits) + machineBytes,
      cpuCores: spec.limits.cpuCores,
      pidsMax: null,
      // With a root of its own, what is written into that.
      tmpBytes: spec.root?.writable === true ? spec.limits.tmpBytes : mebibyte,
    },
  }
}

/** Runs QEMU and ends as the guest's program did, which the guest told; with 125 when it told nothing. */
const runner = [
  '"$@" </dev/null',
  `[ -s ${place}/control/${controls.exit} ] || exit 125`,
  `read -r status rest <${place}/control/${controls.exit}`,
  'exit "$status"',
].join('\n')

function inParts(path: string, { root }: GuestParts): string {
  return root === null ? path : `${place}/parts${path.slice(root.length)}`
}

function qemuArgs(spec: SandboxSpec, { parts, acceleration, cpus }: MachinePlan, shares: boolean): readonly string[] {
  const { cpuCores } = spec.limits
  const processors = Math.max(1, Math.min(cpusMax, cpuCores === null ? cpus : Math.ceil(cpuCores)))
  const socket = (name: string, more = ''): string =>
    `socket,id=${name},path=${place}/control/${name},server=on,wait=off${more}`
  const forwards = (spec.ports ?? []).map((port, index) => `,hostfwd=tcp:127.0.0.1:${port}-10.0.2.15:${40_000 + index}`)
  const share = (tag: string, path: string, readOnly: boolean): readonly string[] => [
    '-fsdev',
    `local,id=${tag},path=${place}/${path},security_model=none,multidevs=remap${readOnly ? ',readonly=on' : ''}`,
    '-device',
    `virtio-9p-device,fsdev=${tag},mount_tag=${tag}`,
  ]
  const groups: readonly (readonly string[])[] = [
    [inParts(parts.qemu, parts), ...parts.firmware.flatMap((path) => ['-L', inParts(path, parts)])],
    ['-name', spec.id, '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ['-M', 'microvm,acpi=on,rtc=on,pic=on,pit=on', '-m', `${guestMemoryBytes(spec.limits) / mebibyte}M`],
    ['-smp', String(processors), '-cpu', acceleration.kind === 'kvm' ? 'host' : 'max'],
    ['-accel', acceleration.kind === 'kvm' ? 'kvm' : 'tcg,thread=multi'],
    ['-kernel', `${place}/kernel`, '-initrd', `${place}/initramfs`, '-append', commandLine(acceleration)],
    ['-chardev', socket(controls.qmp), '-mon', `chardev=${controls.qmp},mode=control`],
    ['-chardev', socket(controls.console, ',logfile=/proc/self/fd/1,logappend=on')],
    ['-serial', `chardev:${controls.console}`],
    ['-chardev', socket(controls.debugStub), '-gdb', `chardev:${controls.debugStub}`],
    ['-device', 'virtio-serial-device'],
    ['-chardev', 'file,id=output,path=/proc/self/fd/1,append=on'],
    ['-device', 'virtserialport,chardev=output,name=output'],
    ['-chardev', socket(controls.control), '-device', `virtserialport,chardev=${controls.control},name=control`],
    ['-chardev', `file,id=exit,path=${place}/control/${controls.exit}`],
    ['-device', 'virtserialport,chardev=exit,name=exit'],
    ['-netdev', `user,id=net,ipv6=off${forwards.join('')}`, '-device', 'virtio-net-device,netdev=net'],
    share('boot', 'boot', true),
    spec.root === undefined ? share('trees', 'trees', true) : share('root', 'root', false),
    shares ? share('share', 'share', false) : [],
  ]
  return groups.flat()
}

/** Quiet, down at once when it fails, and without the measurements of clocks that emulation makes slow or wrong. */
function commandLine({ kind }: Acceleration): string {
  const clocks = kind === 'kvm' ? '' : ' tsc_early_khz=2000000 lpj=4000000 tsc=reliable no_timer_check'
  return `console=ttyS0 quiet panic=-1 reboot=t pci=off nokaslr${clocks}`
}

/** What of the host's system programs find inside: as in the bubblewrap driver. */
function systemMounts({ systemDirectories, etc }: HostFacts): readonly Mount[] {
  const paths = ['/usr', ...systemDirectories.filter(({ linkTo }) => linkTo === null).map(({ path }) => path), ...etc]
  return paths.map((path) => ({ source: path, target: `/trees${path}`, access: 'read-only' }))
}

type Entries = readonly (readonly [key: string, value: string])[]

function configOf(
  spec: SandboxSpec,
  { host, filter }: MachinePlan,
  trees: readonly Mount[],
  shares: readonly Mount[],
): string {
  const { memoryBytes, pidsMax, tmpBytes } = spec.limits
  const maybe = (key: string, value: string | number | null): Entries => (value === null ? [] : [[key, String(value)]])
  const mounts = [
    ...trees.map(({ target, access }) => ({ from: target, to: target.slice('/trees'.length), access })),
    ...shares.map(({ target, access }, index) => ({ from: target, to: spec.mounts[index]?.target ?? '', access })),
  ]
  // One inside another comes after it, or it would be covered.
  const parentsFirst = mounts.toSorted((a, b) => a.to.split('/').length - b.to.split('/').length)
  return encodeConfig([
    ['load', 'network'],
    ['hostname', spec.id],
    ['uid', String(spec.root?.user?.uid ?? insideUid)],
    ['gid', String(spec.root?.user?.gid ?? insideUid)],
    ['cwd', spec.cwd],
    ...(spec.root === undefined ? [['trees', '1'] as const] : [['root', '1'] as const]),
    ...(spec.root?.writable === true ? [['writable', '1'] as const] : []),
    ...(shares.length > 0 ? ([['share', '1']] as const) : []),
    ...maybe('memory', memoryBytes),
    ...maybe('pids', pidsMax),
    ...maybe('tmp', tmpBytes),
    ...maybe('filter', filter),
    ...spec.argv.map((argument) => ['arg', argument] as const),
    ...Object.entries(spec.env).map(([name, value]) => ['env', `${name}=${value}`] as const),
    ...host.systemDirectories.flatMap(({ path, linkTo }) =>
      linkTo === null || spec.root !== undefined ? [] : [['link', `${linkTo}\0${path}`] as const],
    ),
    ...parentsFirst.map(({ from, to, access }) => ['mount', `${from}\0${to}\0${access}`] as const),
    ...[...standardFiles(spec), ...nameServer(spec), ...spec.files].map(
      ({ path, mode, writable = false, content }) =>
        ['file', [mode.toString(8), writable ? '1' : '', path, content].join('\0')] as const,
    ),
    ...(spec.ports ?? []).map((port) => ['port', String(port)] as const),
  ])
}

/** In the host's own network, the names are looked up by the host: QEMU leads this address to its name server. */
function nameServer(spec: SandboxSpec): SandboxSpec['files'] {
  const brings = spec.files.some(({ path }) => path === '/etc/resolv.conf')
  if (spec.network !== null || brings) return []
  return [{ path: '/etc/resolv.conf', content: 'nameserver 10.0.2.3\n', mode: 0o444 }]
}

/** A long text in pieces that fit into inline files, none cut within a character. */
function piecesOf(text: string): readonly string[] {
  const pieces: string[] = []
  for (let at = 0; at < text.length;) {
    let end = Math.min(text.length, at + pieceChars)
    const last = text.charCodeAt(end - 1)
    if (end < text.length && last >= 0xd800 && last < 0xdc00) end -= 1
    pieces.push(text.slice(at, end))
    at = end
  }
  return pieces
}
