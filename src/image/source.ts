/**
 * Where images come from, behind one small interface, and how one is fetched from there whole.
 *
 * Invariant: nothing that a source gives is kept or acted on before its digest is checked; the first document alone may have
 * none, where it is asked for by a tag.
 */
import type { Blobs } from './blobs.ts'
import { needDigest } from './blobs.ts'
import { parseConfig, type ImageConfig } from './config.ts'
import { digestOf, type Digest } from './digest.ts'
import {
  badDocument,
  choosePlatform,
  mediaTypes,
  needPlatform,
  parseTop,
  type Descriptor,
  type Manifest,
  type Platform,
} from './documents.ts'

export interface ImageSource {
  /** For messages. */
  readonly name: string
  /** The document that stands for the image, and the type it was said to have. */
  top(): Promise<{ readonly bytes: Uint8Array; readonly mediaType: string | null }>
  /** A manifest by its digest. */
  document(descriptor: Descriptor): Promise<Uint8Array>
  /** A layer or a configuration. */
  blob(descriptor: Descriptor): AsyncIterable<Uint8Array>
}

export interface FetchedImage {
  /** Of the manifest: what names the image for ever. */
  readonly digest: Digest
  readonly manifestBytes: number
  readonly manifest: Manifest
  readonly config: ImageConfig
}

export interface FetchOptions {
  readonly platform: Platform
  /** What the first document must have; null: what it has. */
  readonly digest: Digest | null
  readonly onProgress: (line: string) => void
}

/** An index may name another, and no more. */
const indexesMax = 3
const atOnce = 3

/**
 * Fetches an image into the blobs. Throws `image.wrong-digest`, `image.truncated`, `image.unknown-media-type`,
 * `image.other-architecture`, `image.bad-document`, `image.too-large`, `image.no-space`, and what the source throws.
 */
export async function fetchImage(source: ImageSource, blobs: Blobs, options: FetchOptions): Promise<FetchedImage> {
  const { name } = source
  const first = await source.top()
  if (options.digest !== null) needDigest(first.bytes, options.digest, `The manifest of ${name}`)
  let { bytes } = first
  let top = parseTop(bytes, first.mediaType, name)
  for (let indexes = 1; top.kind === 'index'; indexes++) {
    if (indexes > indexesMax) throw badDocument(name, 'its indexes lead to indexes without end')
    const chosen = choosePlatform(top.index, options.platform, name)
    bytes = await source.document(chosen)
    needDigest(bytes, chosen.digest, `The manifest of ${name}`)
    top = parseTop(bytes, chosen.mediaType, name)
  }
  const { manifest } = top
  await blobs.put(source.blob(manifest.config), manifest.config, `The configuration of ${name}`)
  const config = parseConfig(
    await blobs.read(manifest.config.digest),
    manifest.layers.length,
    `The configuration of ${name}`,
  )
  needPlatform(config.platform, options.platform, name)
  const open = [...manifest.layers]
  const work = async (): Promise<void> => {
    try {
      for (let layer = open.shift(); layer !== undefined; layer = open.shift()) {
        if (await blobs.keep(layer.digest)) continue
        options.onProgress(`layer ${layer.digest.slice(0, 19)}, ${Math.ceil(layer.size / 1e6)} MB`)
        await blobs.put(source.blob(layer), layer, `The layer ${layer.digest} of ${name}`)
      }
    } catch (error) {
      // The others need not begin another.
      open.length = 0
      throw error
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  const digest = digestOf(bytes)
  await blobs.put(one(bytes), { digest, size: bytes.length }, `The manifest of ${name}`)
  return { digest, manifestBytes: bytes.length, manifest, config }
}

/** An image that the blobs hold. Throws `image.not-here`, `image.bad-document`. */
export async function storedImage(blobs: Blobs, digest: Digest): Promise<FetchedImage> {
  const bytes = await blobs.read(digest)
  needDigest(bytes, digest, `The manifest ${digest}`)
  const top = parseTop(bytes, mediaTypes.manifest, digest)
  if (top.kind === 'index') throw badDocument(digest, 'it is an index and no image')
  const { manifest } = top
  const config = parseConfig(await blobs.read(manifest.config.digest), manifest.layers.length, digest)
  return { digest, manifestBytes: bytes.length, manifest, config }
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
