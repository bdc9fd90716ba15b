/**
 * A bundle as a stream of bytes, to move it between machines:
 *
 *     stead-bundle 1 <digest> <length of the manifest>\n
 *     <manifest, canonical JSON>
 *     <contents: each different content once, in the order in which the manifest first names it; lengths are in the manifest>
 *
 * Invariant of reading: nothing is believed. The manifest must have the digest, every content its own; nothing may be
 * missing or left over; until the last byte was right, nothing exists but a staging directory that is removed on failure.
 */
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { SteadError } from '../base/index.ts'
import type { Bundle, BundleFile, BundleLimits, BundleManifest, Digest } from './bundle.ts'
import { decodeManifest, digestOf, encodeManifest, isDigest, manifestBytesMax } from './manifest.ts'
import type { Staging } from './pool.ts'

const magic = 'stead-bundle 1'
const headerBytesMax = 128
const chunkBytes = 256 * 1024
const newline = 10

/** The bundle as a stream. Files are read while the stream is. */
export async function* writeBundle(bundle: Bundle): AsyncGenerator<Uint8Array> {
  const manifest = encodeManifest(bundle.manifest)
  yield Buffer.from(`${magic} ${bundle.digest} ${manifest.length}\n`)
  yield manifest
  for (const file of contentsOf(bundle.manifest.files)) {
    yield* readContent(file, join(bundle.path, file.path))
  }
}

/** The bytes of one file. Throws `artifact.import-refused` when it is shorter than was said. */
export async function* readContent(file: ContentFile, path: string): AsyncGenerator<Uint8Array> {
  await using handle = await open(path, 'r')
  for (let left = file.sizeBytes; left > 0;) {
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(Math.min(left, chunkBytes)))
    if (bytesRead === 0) throw refused(`the file ${file.path} is shorter than its manifest says`)
    yield buffer.subarray(0, bytesRead)
    left -= bytesRead
  }
}

/**
 * Reads a stream into `staging` and returns what it is. `expected`: refuse any other bundle before its contents are read.
 * Throws `artifact.import-refused`, `artifact.content-refused`, and what `decodeManifest` throws.
 */
export async function readBundle(
  stream: AsyncIterable<Uint8Array>,
  staging: Staging,
  limits: BundleLimits,
  expected?: Digest,
): Promise<{ digest: Digest; manifest: BundleManifest }> {
  await using reader = new ByteReader(stream)
  const [name, version, digest = '', length = ''] = (await reader.line()).split(' ')
  if (`${name} ${version}` !== magic) throw refused(`it does not start with "${magic}"`)
  if (!isDigest(digest)) throw refused('its header has no digest')
  if (expected !== undefined && digest !== expected) throw refused(`it is ${digest}, and ${expected} was asked for`)
  const manifestBytes = /^\d{1,9}$/.test(length) ? Number(length) : 0
  if (String(manifestBytes) !== length || manifestBytes > manifestBytesMax)
    throw refused(`its manifest has no possible length`)
  const encoded = Buffer.concat(await Array.fromAsync(reader.take(manifestBytes)))
  if (digestOf(encoded) !== digest) throw refused('its manifest does not have the digest of its header')
  const manifest = decodeManifest(encoded, limits)
  for (const file of contentsOf(manifest.files)) await receive(file, reader, staging)
  if (!(await reader.atEnd())) throw refused('it goes on after its last file')
  return { digest, manifest }
}

export type ContentFile = Extract<BundleFile, { kind: 'file' }>

/** One file for each different content. Whether it may be executed counts, because the pool keeps these apart. */
export function contentsOf(files: readonly BundleFile[]): ContentFile[] {
  const contents = new Map<string, ContentFile>()
  for (const file of files) {
    if (file.kind !== 'file') continue
    const key = `${file.sha256} ${file.executable}`
    if (!contents.has(key)) contents.set(key, file)
  }
  return [...contents.values()]
}

export function receive(file: ContentFile, reader: ByteReader, staging: Staging): Promise<void> {
  return staging.receive(file, async (handle) => {
    const hash = createHash('sha256')
    for await (const chunk of reader.take(file.sizeBytes)) {
      hash.update(chunk)
      await handle.writeFile(chunk)
    }
    return hash.digest('hex')
  })
}

/** Cuts a stream of chunks into pieces of known length. Disposing tells the stream that no more is wanted. */
export class ByteReader implements AsyncDisposable {
  readonly #chunks: AsyncIterator<Uint8Array>
  #rest: Uint8Array = new Uint8Array()

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#chunks = stream[Symbol.asyncIterator]()
  }

  /** Text up to a newline, which is taken too. */
  async line(): Promise<string> {
    const bytes: number[] = []
    while (bytes.length < headerBytesMax) {
      for await (const [byte] of this.take(1)) {
        if (byte === newline) return Buffer.from(bytes).toString('latin1')
        if (byte !== undefined) bytes.push(byte)
      }
    }
    throw refused('its first line is too long')
  }

  /** The next `count` bytes in pieces. */
  async *take(count: number): AsyncGenerator<Uint8Array> {
    for (let left = count; left > 0;) {
      if (await this.atEnd()) throw refused('it ends too early')
      const piece = this.#rest.subarray(0, left)
      this.#rest = this.#rest.subarray(piece.length)
      left -= piece.length
      yield piece
    }
  }

  async atEnd(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next()
      if (next.done === true) return true
      this.#rest = next.value
    }
    return false
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return?.()
  }
}

export function refused(why: string): SteadError {
  return new SteadError({
    code: 'artifact.import-refused',
    message: `the stream is not a bundle that can be used: ${why}`,
    hint: 'It was damaged or cut off on its way; fetch it again.',
    retry: 'now',
  })
}
