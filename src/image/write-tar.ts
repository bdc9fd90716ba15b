/**
 * Writes a directory as the archive of a layer. Equal directories give equal bytes: sorted, owned by root or by whom they belong
 * to, at one time, with permission bits alone.
 *
 * Invariant: what cannot be carried (a device, a socket, a name that is not UTF-8) is an error and not left out.
 */
import { createReadStream } from 'node:fs'
import { lstat, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { SteadError } from '../base/index.ts'
import { holdLimit } from './limits.ts'
import type { Owners } from './unpack.ts'

const blockBytes = 512
/** 1980-01-01 UTC: some tools take the beginning of 1970 for no time at all. */
const timeSeconds = 315_532_800
const nameBytesOld = 100
const sizeOldMax = 8 ** 11

export interface TreeOptions {
  /** Relative paths, each with everything below it, that are left out. */
  readonly without: readonly string[]
  /** Where the directory goes in the image, relative to its root; empty: it is the root. */
  readonly at: string
  /** Whether owners go along; else all of it is root's. */
  readonly owners: Owners
}

/** Bits and owner, as they are written. */
interface Whose {
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

const roots: Whose = { mode: 0o755, uid: 0, gid: 0 }
/** In seven octal digits. */
const idMax = 8 ** 7 - 1

/** The archive. Throws `image.not-buildable`, `image.too-large`. */
export async function* writeTree(directory: string, { without, at, owners }: TreeOptions): AsyncGenerator<Uint8Array> {
  const names = at.split('/').filter(Boolean)
  for (const [index] of names.entries()) yield* header(names.slice(0, index + 1).join('/'), '5', roots, 0, '')
  let entries = 0
  const walk = async function* (inside: string): AsyncGenerator<Uint8Array> {
    const found = await readdir(join(directory, inside))
    for (const name of found.sort((a, b) => (a < b ? -1 : 1))) {
      const below = inside === '' ? name : `${inside}/${name}`
      if (without.includes(below)) continue
      holdLimit('entriesMax', ++entries, `The number of entries of ${directory}`)
      yield* entry(below)
    }
  }
  const entry = async function* (below: string): AsyncGenerator<Uint8Array> {
    const from = join(directory, below)
    const path = [...names, below].join('/')
    const stats = await lstat(from)
    const { uid, gid } = owners === 'own' ? stats : roots
    if (Math.max(uid, gid) > idMax) throw notBuildable(from, `it belongs to user ${uid} and group ${gid}`)
    const whose = { mode: stats.mode & 0o1777, uid, gid }
    if (stats.isDirectory()) {
      yield* header(path, '5', whose, 0, '')
      return yield* walk(below)
    }
    if (stats.isSymbolicLink()) return yield* header(path, '2', { ...whose, mode: 0o777 }, 0, await readlink(from))
    if (!stats.isFile()) throw notBuildable(from, 'it is neither a file nor a directory nor a link')
    yield* header(path, '0', whose, stats.size, '')
    let bytes = 0
    if (stats.size > 0) {
      for await (const chunk of createReadStream(from, { highWaterMark: 256 * 1024 }) as AsyncIterable<Uint8Array>) {
        bytes += chunk.length
        yield chunk
      }
    }
    if (bytes !== stats.size) throw notBuildable(from, 'it changed while it was read')
    yield Buffer.alloc((blockBytes - (bytes % blockBytes)) % blockBytes)
  }
  yield* walk('')
  yield Buffer.alloc(2 * blockBytes)
}

/** With an extended header in front where the old fields are too short. */
function* header(
  path: string,
  type: '0' | '2' | '5',
  whose: Whose,
  size: number,
  target: string,
): Generator<Uint8Array> {
  const name = type === '5' ? `${path}/` : path
  if (name.includes('\ufffd')) throw notBuildable(path, 'its name is not UTF-8')
  const extended = [
    ...(Buffer.byteLength(name) > nameBytesOld ? [record('path', name)] : []),
    ...(Buffer.byteLength(target) > nameBytesOld ? [record('linkpath', target)] : []),
    ...(size >= sizeOldMax ? [record('size', String(size))] : []),
  ].join('')
  if (extended !== '') {
    const bytes = Buffer.from(extended)
    yield block('./PaxHeaders/entry', 'x', { ...roots, mode: 0o644 }, bytes.length, '')
    yield bytes
    yield Buffer.alloc((blockBytes - (bytes.length % blockBytes)) % blockBytes)
  }
  yield block(name, type, whose, size >= sizeOldMax ? 0 : size, target)
}

/** `LENGTH KEY=VALUE\n`, where the length counts itself. */
function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  const bytes = Buffer.byteLength(rest)
  let length = bytes + String(bytes).length
  if (bytes + String(length).length !== length) length = bytes + String(length).length
  return `${length}${rest}`
}

function block(name: string, type: string, { mode, uid, gid }: Whose, size: number, target: string): Buffer {
  const bytes = Buffer.alloc(blockBytes)
  const octal = (value: number, at: number, length: number): void => {
    bytes.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1')
  }
  bytes.write(cut(name), 0, 'utf8')
  octal(mode, 100, 8)
  octal(uid, 108, 8)
  octal(gid, 116, 8)
  octal(size, 124, 12)
  octal(timeSeconds, 136, 12)
  bytes.write('        ', 148, 'latin1')
  bytes.write(type, 156, 'latin1')
  bytes.write(cut(target), 157, 'utf8')
  bytes.write('ustar\x0000', 257, 'latin1')
  // A name would come before the number; that of root is the same everywhere.
  if (uid === 0) bytes.write('root\0', 265, 'latin1')
  if (gid === 0) bytes.write('root\0', 297, 'latin1')
  const sum = bytes.reduce((total, byte) => total + byte, 0)
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return bytes
}

/** What does not fit stands in the extended header; what is written here must still be whole characters. */
function cut(text: string): string {
  if (Buffer.byteLength(text) <= nameBytesOld) return text
  return Buffer.from(text)
    .subarray(0, nameBytesOld)
    .toString('utf8')
    .replace(/\ufffd+$/, '')
}

function notBuildable(path: string, why: string): SteadError {
  return new SteadError({
    code: 'image.not-buildable',
    message: `No image can be built with ${path}: ${why}.`,
    hint: 'Remove it, or leave it out.',
  })
}
