/**
 * The first root of a guest: the archive that the kernel unpacks, with Perl, the libraries it needs, the kernel's modules and
 * `init`; and where it and the kernel are kept on this machine.
 *
 * Invariant: what is kept appears whole, under a name that says what it was made from; what is there is never changed.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, statfsSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { SteadError, messageOf } from '../../../base/index.ts'
import { findProgram } from '../programs.ts'
import { guestInit } from './init.ts'
import { readModule, unavailable, unpackKernel } from './kernel.ts'
import type { GuestParts, Kernel } from './kernel.ts'

/** A file or directory of an archive; its content, or that of a device. */
export interface ArchiveEntry {
  readonly path: string
  /** Type and permission bits, as in `st_mode`. */
  readonly mode: number
  readonly content: Uint8Array
  readonly device?: readonly [major: number, minor: number]
}

const directory = 0o40755
const program = 0o100755
const plain = 0o100644
const characterDevice = 0o20600
const looseBytes = 150 * 2 ** 20
const lookTimeoutMs = 10_000

/** The "newc" archive that kernels unpack. Parents come before what is in them. */
export function packArchive(entries: readonly ArchiveEntry[]): Buffer {
  const parts: Uint8Array[] = []
  const last: ArchiveEntry = { path: 'TRAILER!!!', mode: 0, content: new Uint8Array() }
  for (const [index, { path, mode, content, device = [0, 0] }] of [...entries, last].entries()) {
    const name = Buffer.from(`${path}\0`)
    const fields = [index + 1, mode, 0, 0, 1, 0, content.length, 0, 0, ...device, name.length, 0]
    const head = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`)
    const padding = (length: number): Buffer => Buffer.alloc((4 - (length % 4)) % 4)
    parts.push(head, name, padding(head.length + name.length), content, padding(content.length))
  }
  return Buffer.concat(parts)
}

/** Where the two files of a guest are kept. */
export interface GuestFiles {
  readonly kernel: string
  readonly initramfs: string
}

/**
 * The kernel and the first root for guests of these parts, made in a directory when they are not there yet. Whoever runs
 * a guest can read them. Throws `sandbox.unavailable` and `sandbox.no-space`.
 */
export async function guestFiles({ kernel }: GuestParts, keptIn: string): Promise<GuestFiles> {
  const { size, mtimeMs } = statSync(kernel.image)
  const initramfs = firstRoot(kernel.modules, keptIn)
  const unpacked = `${keptIn}/kernel-${digestOf([kernel.image, size, mtimeMs])}`
  if (!existsSync(unpacked)) {
    const content = readFileSync(kernel.image)
    keep(unpacked, (await unpackKernel(content)) ?? content)
  }
  return { kernel: unpacked, initramfs }
}

/** The first root of a guest with these modules, made when it is not there yet. Throws as `guestFiles` does. */
export function firstRoot(modules: Kernel['modules'], keptIn: string): string {
  const perl = findProgram('perl')
  if (perl === null) throw unavailable('There is no Perl on this machine, which a guest starts with.', 'Install perl.')
  const path = `${keptIn}/initramfs-${digestOf([guestInit, modules, perl, statSync(perl).mtimeMs])}`
  if (existsSync(path)) return path
  mkdirSync(keptIn, { recursive: true, mode: 0o755 })
  const { bavail, bsize } = statfsSync(keptIn)
  if (bavail * bsize < looseBytes) throw noSpace(keptIn, `${Math.floor((bavail * bsize) / 2 ** 20)} MiB are free`)
  keep(path, packArchive(entriesOf(modules, perl)))
  return path
}

function digestOf(of: unknown): string {
  return createHash('sha256').update(JSON.stringify(of)).digest('hex').slice(0, 16)
}

function keep(path: string, content: Uint8Array): void {
  const beside = `${path}.${process.pid}`
  try {
    writeFileSync(beside, content, { mode: 0o644 })
    renameSync(beside, path)
  } catch (error) {
    rmSync(beside, { force: true })
    throw noSpace(path, messageOf(error))
  }
}

function noSpace(path: string, why: string): SteadError {
  return new SteadError({
    code: 'sandbox.no-space',
    message: `The kernel and the first root of guests could not be kept at ${path}: ${why}.`,
    hint: 'They need 150 MiB, once.',
    retry: 'later',
  })
}

function entriesOf(groups: Kernel['modules'], perl: string): readonly ArchiveEntry[] {
  const nothing = new Uint8Array()
  const files = [
    ...[perl, ...librariesOf(perl)].map((path) => ({
      path: path === perl ? '/bin/perl' : path,
      mode: program,
      content: readFileSync(path),
    })),
    ...Object.entries(groups).flatMap(([group, modules]) =>
      modules.map((module, index) => ({
        path: `/modules/${group}/${String(index).padStart(2, '0')}-${basename(module).replace(/\.ko.*$/, '')}`,
        mode: plain,
        content: readModule(module),
      })),
    ),
    { path: '/init', mode: program, content: Buffer.from(guestInit) },
  ]
  const directories = new Set<string>(['/dev'])
  for (const { path } of files) {
    const names = path.split('/').slice(1, -1)
    for (let depth = 1; depth <= names.length; depth++) directories.add(`/${names.slice(0, depth).join('/')}`)
  }
  return [
    ...[...directories].map((path) => ({ path, mode: directory, content: nothing })),
    // Before /dev is mounted, the kernel opens it for the first program.
    { path: '/dev/console', mode: characterDevice, content: nothing, device: [5, 1] as const },
    ...files,
  ].map((entry) => ({ ...entry, path: entry.path.slice(1) }))
}

/** What the loader brings for a program. */
function librariesOf(path: string): readonly string[] {
  const ldd = findProgram('ldd')
  const { stdout } = spawnSync(ldd ?? '', [path], { encoding: 'utf8', timeout: lookTimeoutMs, env: {} })
  const libraries = [...(stdout ?? '').matchAll(/(\/\S+) \(0x/g)].map(([, library = '']) => library)
  if (libraries.length === 0) throw unavailable(`It cannot be told which libraries ${path} needs.`, 'Install libc-bin.')
  return libraries
}
