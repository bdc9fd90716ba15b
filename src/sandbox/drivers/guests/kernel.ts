/**
 * The parts of a guest that are this machine's own: QEMU, a kernel with its modules, and how a kernel is got out of the file
 * that boot loaders read. Looks once; what lacks is told in one sentence, with what brings it.
 *
 * Invariant: a kernel is taken only with all modules that a guest of ours needs.
 */
import { execFile, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { SteadError } from '../../../base/index.ts'
import { findProgram } from '../programs.ts'

/** What a guest is made of on this machine. */
export interface GuestParts {
  /** The emulator, absolute. */
  readonly qemu: string
  /** What makes disks, absolute; null where there is none. */
  readonly image: string | null
  /** Directories of its libraries and of its firmware, where these are not the system's own. */
  readonly libraries: readonly string[]
  readonly firmware: readonly string[]
  /** Directory that holds all of the above, when that is not the system. */
  readonly root: string | null
  readonly kernel: Kernel
}

export interface Kernel {
  /** The file that boot loaders read. */
  readonly image: string
  readonly version: string
  /** Modules to load, in their order, by what needs them; absolute paths. */
  readonly modules: Readonly<Record<ModuleGroup, readonly string[]>>
}

/** When modules are loaded: always, or when the guest has such a thing. */
export type ModuleGroup = 'always' | 'network' | 'disks'

/** Of a kernel that has all it needs in it. */
export const noModules: Kernel['modules'] = { always: [], network: [], disks: [] }

const wanted: Readonly<Record<ModuleGroup, readonly string[]>> = {
  always: ['virtio_mmio', 'virtio_console', '9pnet_virtio', '9p'],
  network: ['virtio_net'],
  disks: ['virtio_blk', 'ext4'],
}
const unpackedBytesMax = 512 * 2 ** 20
const unpackTimeoutMs = 60_000
const install = 'Install qemu-system-x86 and linux-image-amd64 (apt-get install --no-install-recommends).'

/** A machine that cannot have guests, with the reason. */
export function unavailable(message: string, hint: string = install): SteadError {
  return new SteadError({ code: 'sandbox.unavailable', message, hint })
}

/**
 * Looks for QEMU and a kernel: the system's, or those of packages that were unpacked below `root`. Throws
 * `sandbox.unavailable`, saying what is missing.
 */
export function findGuestParts(root: string | null = null): GuestParts {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw unavailable(
      `The vm sandbox driver runs guests of x86_64 on Linux of x86_64; this is ${process.platform} on ${process.arch}.`,
      'Use another sandbox driver on this machine.',
    )
  }
  const own = `${root}/usr/bin/qemu-system-x86_64`
  const qemu = root === null ? findProgram('qemu-system-x86_64') : existsSync(own) ? own : null
  if (qemu === null) throw unavailable('There is no QEMU on this machine: the program qemu-system-x86_64 is missing.')
  const below = (paths: readonly string[]): readonly string[] =>
    root === null ? [] : paths.map((path) => `${root}${path}`).filter((path) => existsSync(path))
  return {
    qemu,
    image: root === null ? findProgram('qemu-img') : (below(['/usr/bin/qemu-img'])[0] ?? null),
    libraries: below(['/usr/lib/x86_64-linux-gnu', '/lib/x86_64-linux-gnu']),
    firmware: below(['/usr/share/qemu', '/usr/share/seabios']),
    root,
    kernel: findKernel(root ?? ''),
  }
}

function findKernel(root: string): Kernel {
  const boot = `${root}/boot`
  const names = existsSync(boot) ? readdirSync(boot).filter((name) => name.startsWith('vmlinuz-')) : []
  if (names.length === 0) throw unavailable(`There is no kernel for guests on this machine: ${boot} holds none.`)
  const newestFirst = names.sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
  const lacking: string[] = []
  for (const name of newestFirst) {
    const version = name.slice('vmlinuz-'.length)
    const found = modulesOf(`${root}/lib/modules/${version}`)
    if ('missing' in found) lacking.push(`${name} lacks ${found.missing}`)
    else return { image: `${boot}/${name}`, version, modules: found.modules }
  }
  throw unavailable(`No kernel in ${boot} can be that of a guest: ${lacking.slice(0, 3).join('; ')}.`)
}

type Modules = { readonly modules: Kernel['modules'] } | { readonly missing: string }

function modulesOf(directory: string): Modules {
  if (!existsSync(directory)) return { missing: 'its modules' }
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  const paths = new Map(
    files.filter((file) => /\.ko(?:\.\w+)?$/.test(file)).map((file) => [nameOf(file), `${directory}/${file}`]),
  )
  const builtIn = new Set(
    existsSync(`${directory}/modules.builtin`)
      ? readFileSync(`${directory}/modules.builtin`, 'utf8').split('\n').filter(Boolean).map(nameOf)
      : [],
  )
  const loaded = new Set<string>()
  const inOrder = (names: readonly string[]): readonly string[] =>
    names.flatMap((name) => {
      const path = paths.get(name)
      if (path === undefined || loaded.has(name)) return []
      loaded.add(name)
      return [...inOrder(neededBy(readModule(path))), path]
    })
  const missing = Object.values(wanted)
    .flat()
    .find((name) => !paths.has(name) && !builtIn.has(name))
  if (missing !== undefined) return { missing: `the module ${missing}` }
  return {
    modules: {
      always: inOrder(wanted.always),
      network: inOrder(wanted.network),
      disks: inOrder(wanted.disks),
    },
  }
}

/** The name by which modules refer to one another, from a path. */
function nameOf(path: string): string {
  return path
    .slice(path.lastIndexOf('/') + 1)
    .replace(/\.ko(?:\.\w+)?$/, '')
    .replaceAll('-', '_')
}

/** A module as the kernel takes it. */
export function readModule(path: string): Buffer {
  const content = readFileSync(path)
  if (path.endsWith('.zst')) return zstdDecompressSync(content)
  if (path.endsWith('.gz')) return gunzipSync(content)
  return path.endsWith('.xz') ? unpackBy('xz', content) : content
}

/** What a module says of itself. */
function neededBy(module: Buffer): readonly string[] {
  const at = module.indexOf('depends=')
  if (at < 0) return []
  const text = module.toString('latin1', at + 'depends='.length, module.indexOf(0, at))
  return text
    .split(',')
    .filter(Boolean)
    .map((name) => name.replaceAll('-', '_'))
}

function unpackBy(program: string, content: Uint8Array): Buffer {
  const path = findProgram(program)
  if (path === null) return Buffer.alloc(0)
  return spawnSync(path, ['-dc'], {
    input: content,
    maxBuffer: unpackedBytesMax,
    timeout: unpackTimeoutMs,
    env: {},
  }).stdout
}

const packings: readonly { readonly mark: string; readonly program: string }[] = [
  { mark: '02214c18', program: 'lz4' },
  { mark: 'fd377a585a00', program: 'xz' },
  { mark: '28b52ffd', program: 'zstd' },
  { mark: '1f8b08', program: 'gzip' },
]
const placesMax = 20

/**
 * The kernel itself, out of the file that boot loaders read: started directly it is there a second earlier under emulation,
 * because nothing unpacks it, and its addresses are those of its symbols. Null where it is packed in a way not known here.
 */
export async function unpackKernel(image: Buffer): Promise<Buffer | null> {
  for (const { mark, program } of packings) {
    const bytes = Buffer.from(mark, 'hex')
    const path = findProgram(program)
    for (
      let at = image.indexOf(bytes), seen = 0;
      path !== null && at >= 0 && seen < placesMax;
      at = image.indexOf(bytes, at + 1), seen++
    ) {
      const kernel = await unpacked(path, image.subarray(at))
      if (kernel.subarray(0, 4).equals(Buffer.from('\x7fELF'))) return kernel
    }
  }
  return null
}

/** What a program makes of it, up to where it stops: what follows a packed kernel is none. */
function unpacked(program: string, content: Uint8Array): Promise<Buffer> {
  return new Promise((resolve) => {
    const options = { encoding: 'buffer', maxBuffer: unpackedBytesMax, timeout: unpackTimeoutMs, env: {} } as const
    const child = execFile(program, ['-dc'], options, (_error, stdout) => resolve(stdout))
    child.stdin?.on('error', () => undefined).end(content)
  })
}
