/**
 * Writes a layer to the disk as `LayerPlan` says: all of it owned by root, or by whom the archive says, what it removes in the
 * form of overlayfs.
 *
 * Invariants: every path is made relative to a directory nobody else can enter, and leads through directories that were
 * made here; whatever fails leaves the directory to be removed as a whole.
 */
import { spawn } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { once } from 'node:events'
import { pipeline } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { Readable } from 'node:stream'
import { SteadError, messageOf, systemCodeOf } from '../base/index.ts'
import type { Compression } from './documents.ts'
import { LayerPlan, type Step } from './place.ts'
import { badArchive, readTar, type TarEntry } from './tar.ts'

/** `root`: everything is root's. `own`: files belong to whom the archive says, of the users that there may be inside. */
export type Owners = 'root' | 'own'

/** Users that there may be in an image, from 0 on. */
export const imageUsersMax = 65_536

/** What a layer came to. */
export interface Unpacked {
  readonly entries: number
  readonly bytes: number
  /** Devices and pipes, which no layer brings along. */
  readonly leftOut: number
}

/** The bytes of an archive. Throws `image.bad-archive` where they are not compressed as said; the source's own errors go through. */
export async function* decompressed(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  what: string,
): AsyncGenerator<Uint8Array> {
  if (compression === 'none') return yield* source
  const chunkSize = 256 * 1024
  const unpacker = compression === 'gzip' ? createGunzip({ chunkSize }) : createZstdDecompress({ chunkSize })
  const failed: { error: unknown } = { error: null }
  const watched = (async function* () {
    try {
      yield* source
    } catch (error) {
      failed.error = error
      throw error
    }
  })()
  try {
    yield* pipeline(
      Readable.from(watched, { objectMode: false, highWaterMark: 4 * chunkSize }),
      unpacker,
      () => undefined,
    )
  } catch (error) {
    if (failed.error !== null) throw failed.error
    throw badArchive(what, `its ${compression} is damaged (${messageOf(error)})`)
  }
}

/**
 * Unpacks an archive into an empty directory. Throws `image.bad-archive`, `image.unsafe-layer`, `image.truncated`,
 * `image.too-large`, `image.no-space`, `image.unknown-owner`, and what the source throws.
 */
export async function unpackLayer(
  tar: AsyncIterable<Uint8Array>,
  directory: string,
  what: string,
  owners: Owners = 'root',
): Promise<Unpacked> {
  const plan = new LayerPlan(what)
  const times = new Map<string, number>()
  let leftOut = 0
  try {
    for await (const entry of readTar(tar, what)) {
      const { step, parents, replaces } = plan.place(entry)
      for (const parent of parents) mkdirSync(`${directory}/${parent}`, { mode: 0o755 })
      if (step.kind === 'left-out') leftOut++
      else if (step.kind !== 'mark') {
        const path = `${directory}/${step.path}`
        if (replaces === 'file') unlinkSync(path)
        else if (replaces === 'directory') rmSync(path, { recursive: true })
        await write(step, path, directory, entry, owners === 'own' ? ownerOf(entry, what) : null)
        if (step.kind === 'directory') times.set(step.path, entry.mtimeSeconds)
      }
    }
    await markRemoved(directory, plan.removals())
    for (const [path, seconds] of times)
      if (plan.isDirectory(path)) utimesSync(`${directory}/${path}`, seconds, seconds)
  } catch (error) {
    throw withoutSpace(error, what)
  }
  return { ...plan.counted, leftOut }
}

async function write(
  step: Exclude<Step, { kind: 'mark' | 'left-out' }>,
  path: string,
  directory: string,
  entry: TarEntry,
  owner: Owner | null,
): Promise<void> {
  if (step.kind === 'file') return await writeFile(path, step.mode, entry, owner)
  if (step.kind === 'hardlink') return linkSync(`${directory}/${step.target}`, path)
  if (step.kind === 'symlink') {
    symlinkSync(step.target, path)
    if (owner !== null) lchownSync(path, owner.uid, owner.gid)
    return lutimesSync(path, entry.mtimeSeconds, entry.mtimeSeconds)
  }
  if (step.path !== '') mkdirSync(path, { recursive: true })
  if (owner !== null) lchownSync(path, owner.uid, owner.gid)
  chmodSync(path, step.mode)
}

interface Owner {
  readonly uid: number
  readonly gid: number
}

/** Null: root, whose it is already. */
function ownerOf({ path, uid, gid }: TarEntry, what: string): Owner | null {
  const known = (id: number | null): id is number => id !== null && id < imageUsersMax
  if (known(uid) && known(gid)) return uid === 0 && gid === 0 ? null : { uid, gid }
  throw new SteadError({
    code: 'image.unknown-owner',
    message: `${what} holds ${JSON.stringify(path.slice(0, 200))}, which belongs to user ${uid} and group ${gid}, and users are from 0 to ${imageUsersMax - 1}.`,
    hint: 'Build the image with owners in that range, or run it as one user, to whom all of it belongs then.',
  })
}

/** A file that must not be there yet, so that no link is followed. */
async function writeFile(
  path: string,
  mode: number,
  { body, mtimeSeconds }: TarEntry,
  owner: Owner | null,
): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
  const file = openSync(path, flags, 0o600)
  try {
    for await (const chunk of body) for (let at = 0; at < chunk.length;) at += writeSync(file, chunk, at)
    if (owner !== null) fchownSync(file, owner.uid, owner.gid)
    fchmodSync(file, mode)
    futimesSync(file, mtimeSeconds, mtimeSeconds)
  } finally {
    closeSync(file)
  }
}

/** A full disk is said to be one. */
export function withoutSpace(error: unknown, what: string): unknown {
  if (!['ENOSPC', 'EDQUOT'].includes(systemCodeOf(error) ?? '')) return error
  return new SteadError({
    code: 'image.no-space',
    message: `${what} does not fit on the disk.`,
    hint: 'Nothing of it was kept. Make room, as with `stead image prune`, and try again.',
    retry: 'later',
    cause: error,
  })
}

/** Numbers of the calls that Node does not have: mknodat and setxattr. */
const calls: Readonly<Record<string, readonly [number, number]>> = { x64: [259, 188], arm64: [33, 5] }

/** Reads `r PATH` and `o PATH`, each ended by NUL: a device 0:0 in the place of what is removed, an attribute on what is opaque. */
const markProgram = `
my ($mknodat, $setxattr) = @ARGV; $/ = "\\0"; my ($name, $yes) = ('trusted.overlay.opaque', 'y');
while (my $line = <STDIN>) { chomp $line; my ($what, $path) = (substr($line, 0, 1), substr($line, 2));
  my $done = $what eq 'r' ? syscall($mknodat + 0, -100, $path, 0020000, 0) : syscall($setxattr + 0, $path, $name, $yes, 1, 0);
  $done == 0 or die "$path: $!\\n" }
`

/** One process for all of a layer; none where nothing is removed. */
async function markRemoved(directory: string, { removed, opaque }: ReturnType<LayerPlan['removals']>): Promise<void> {
  const lines = [
    ...removed.map((path) => `r ${directory}/${path}\0`),
    ...opaque.map((path) => `o ${directory}/${path}\0`),
  ]
  if (lines.length === 0) return
  const numbers = (calls[process.arch] ?? []).map(String)
  const child = spawn('/usr/bin/perl', ['-e', markProgram, ...numbers], { stdio: ['pipe', 'ignore', 'pipe'], env: {} })
  const said: string[] = []
  child.stderr.setEncoding('utf8').on('data', (text: string) => said.length < 10 && said.push(text))
  // That it ended early is told by its exit.
  child.stdin.on('error', () => undefined).end(lines.join(''))
  const [code] = await once(child, 'close')
  if (code === 0) return
  throw new SteadError({
    code: 'image.not-unpacked',
    message: `What a layer removes could not be marked: ${said.join('').trim() || `perl ended with code ${String(code)}`}.`,
    hint: 'Images are unpacked as root, on a file system with extended attributes, with perl installed.',
  })
}
