/**
 * What every guest is told, and what it gets of the host, whatever runs it. Pure: what the machine has comes in as facts.
 *
 * Invariants: a guest gets of the host what its spec names, and the host's programs when it brings no root; a directory that
 * the spec gives read-only is read-only to what runs the guest, so that not even the guest's kernel could write it; no secret
 * stands in arguments.
 */
import { insideUid, standardFiles } from '../../bubblewrap-args.ts'
import type { HostFacts } from '../../bubblewrap-args.ts'
import type { InlineFile, Mount, SandboxLimits, SandboxSpec } from '../../driver.ts'
import type { DiskFormat } from '../../disk.ts'
import { encodeConfig } from './channel.ts'

/** Where everything of a machine lies, as what runs it sees it. */
export const place = '/machine'

const mebibyte = 2 ** 20
/** What a guest's kernel and first program need beside the program. */
const guestBytes = 96 * mebibyte
const memoryBytesDefault = 1024 * mebibyte
/** What can be written into a root where no limit of /tmp says it. */
const writtenBytesDefault = 256 * mebibyte
/** Characters of an inline file: each at most four bytes. */
const pieceChars = 15_000

/** What of the host a guest stands on. */
export interface GuestGround {
  readonly host: HostFacts
  /** Where the sandbox around makes a root that the program brings. */
  readonly madeRoot: string
  /** The program's filter, hexadecimal; null for none. */
  readonly filter: string | null
  /** Kinds of modules to load, and address of the name server where the host's network is used. */
  readonly load: readonly string[]
  readonly nameServer: string | null
}

/** Mounts of the sandbox around, and its inline files, which hold what the guest is told. */
export interface GuestShare {
  /** Below `place`: `share` holds the spec's directories, `trees` the host's programs, `root` a root of the program's own. */
  readonly mounts: readonly Mount[]
  readonly files: readonly InlineFile[]
  readonly hasMounts: boolean
  readonly hasRoot: boolean
}

/** Memory that the guest has, in bytes: whole MiB. */
export function guestMemoryBytes({ memoryBytes }: Pick<SandboxLimits, 'memoryBytes'>): number {
  const program = memoryBytes === null ? memoryBytesDefault : memoryBytes + guestBytes
  return Math.ceil(program / mebibyte) * mebibyte
}

/** Memory of a computer that boots from a disk, in bytes: whole MiB, and all of it is the system's. */
export function diskMemoryBytes({ memoryBytes }: Pick<SandboxLimits, 'memoryBytes'>): number {
  return Math.ceil((memoryBytes ?? memoryBytesDefault) / mebibyte) * mebibyte
}

/** A root of the program's own as the sandbox around is given it: its bound is that of the program. */
export function handedOn({ root, limits }: SandboxSpec): Pick<SandboxSpec, 'root'> {
  if (root === undefined) return {}
  return { root: { ...root, writtenBytesMax: limits.tmpBytes ?? writtenBytesDefault } }
}

/** What is shared with the guest of a spec. */
export function shareWith(spec: SandboxSpec, ground: GuestGround): GuestShare {
  const trees = spec.root === undefined ? systemMounts(ground.host) : []
  const own = spec.mounts.map(({ source, access }, index) => ({ source, target: `/share/${index}`, access }))
  const root = { source: ground.madeRoot, target: '/root', access: 'read-write' } as const
  const config = configOf(spec, ground, trees)
  return {
    mounts: [...trees, ...own, ...(spec.root === undefined ? [] : [root])].map(({ source, target, access }) => ({
      source,
      target: `${place}${target}`,
      access,
    })),
    files: piecesOf(config).map((content, index) => ({ path: `${place}/boot/${index}`, content, mode: 0o400 })),
    hasMounts: own.length > 0,
    hasRoot: spec.root !== undefined,
  }
}

/** What of the host's system programs find inside: as in the bubblewrap driver. */
function systemMounts({ systemDirectories, etc }: HostFacts): readonly Mount[] {
  const paths = ['/usr', ...systemDirectories.filter(({ linkTo }) => linkTo === null).map(({ path }) => path), ...etc]
  return paths.map((path) => ({ source: path, target: `/trees${path}`, access: 'read-only' }))
}

function configOf(spec: SandboxSpec, ground: GuestGround, trees: readonly Mount[]): string {
  const { memoryBytes, pidsMax, tmpBytes } = spec.limits
  const { uid, gid } = spec.root?.user ?? { uid: insideUid, gid: insideUid }
  const one = (key: string, value: string | number | null): [key: string, value: string][] =>
    value === null ? [] : [[key, String(value)]]
  const flag = (key: string, on: boolean): [key: string, value: string][] => (on ? [[key, '1']] : [])
  const mounts = [
    ...trees.map(({ target, access }) => ({ from: target, to: target.slice('/trees'.length), access })),
    ...spec.mounts.map(({ target, access }, index) => ({ from: `/share/${index}`, to: target, access })),
  ]
  // One inside another comes after it, or it would be covered.
  const parentsFirst = mounts.toSorted((a, b) => a.to.split('/').length - b.to.split('/').length)
  const links = spec.root === undefined ? ground.host.systemDirectories : []
  return encodeConfig([
    ...ground.load.flatMap((kind) => one('load', kind)),
    ...one('hostname', spec.id),
    ...one('uid', uid),
    ...one('gid', gid),
    ...one('cwd', spec.cwd),
    ...flag('trees', spec.root === undefined),
    ...flag('root', spec.root !== undefined),
    ...flag('writable', spec.root?.writable === true),
    ...(spec.root?.scratch ?? []).flatMap((path) => one('scratch', path)),
    ...flag('share', spec.mounts.length > 0),
    ...one('memory', memoryBytes),
    ...one('pids', pidsMax),
    ...one('tmp', tmpBytes),
    ...one('filter', ground.filter),
    ...spec.argv.flatMap((argument) => one('arg', argument)),
    ...Object.entries(spec.env).flatMap(([name, value]) => one('env', `${name}=${value}`)),
    ...links.flatMap(({ path, linkTo }) => (linkTo === null ? [] : one('link', `${linkTo}\0${path}`))),
    ...parentsFirst.flatMap(({ from, to, access }) => one('mount', [from, to, access].join('\0'))),
    ...[...standardFiles(spec), ...nameServerFile(spec, ground.nameServer), ...spec.files].flatMap(
      ({ path, mode, writable = false, content }) =>
        one('file', [mode.toString(8), writable ? '1' : '', path, content].join('\0')),
    ),
    ...(spec.ports ?? []).flatMap((port) => one('port', port)),
  ])
}

/** In the host's own network, names are looked up where the host looks. */
function nameServerFile(spec: SandboxSpec, nameServer: string | null): readonly InlineFile[] {
  const brings = spec.files.some(({ path }) => path === '/etc/resolv.conf')
  if (spec.network !== null || brings || nameServer === null) return []
  return [{ path: '/etc/resolv.conf', content: `nameserver ${nameServer}\n`, mode: 0o444 }]
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

/** What a guest's kernel says lies here, in memory and with a bound, apart from what its program prints. */
export const consoleLog = '/tmp/console'

/**
 * Looks through the disk and makes the one that takes what a system writes, when that is not there yet, and runs the machine; it
 * ends as QEMU does: with 0 when the system has switched itself off. The file of the exit is the last control that is made.
 */
export function diskRunner(
  image: string,
  { format, over }: { format: DiskFormat; over: string },
  exitFile: string,
): string {
  const disk = `${place}/disk`
  const look = [
    `'${image}' check -q -f qcow2 ${disk} >/dev/null 2>&1`,
    // Space that is lost harms nobody.
    'case $? in 0|3) ;; *) echo "The disk is damaged, so nothing is booted from it."; exit 125;; esac',
  ]
  return [
    `if ! [ -e ${over} ]; then`,
    ...(format === 'qcow2' ? look : []),
    `'${image}' create -q -f qcow2 -F ${format} -b ${disk} ${over} || exit 125`,
    'fi',
    `: >${exitFile}`,
    `"$@" </dev/null && { echo '0 0 0' >${exitFile}; exit 0; }`,
    'exit 125',
  ].join('\n')
}

/**
 * Runs a machine and ends as the guest's program did, which the guest told; with 125 when it told nothing, after what its
 * kernel said.
 */
export function runnerScript(prepare: string, exitFile: string): string {
  return [
    prepare,
    '"$@" </dev/null',
    `[ -s ${exitFile} ] || { cat ${consoleLog}; exit 125; }`,
    `read -r status rest <${exitFile}`,
    'exit "$status"',
  ].join('\n')
}
