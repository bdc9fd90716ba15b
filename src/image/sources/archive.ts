/**
 * Images from an archive: what `docker save` writes, in its old form and in that of OCI, and an OCI layout as a tar, compressed
 * or not. It is laid out in a directory first.
 *
 * Invariant: nothing of the archive is made but files of plain names in that directory; a link of the old form is only
 * followed to another of these names.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, stat } from 'node:fs/promises'
import { dirname, join, posix } from 'node:path'
import { z } from 'zod'
import { SteadError } from '../../base/index.ts'
import { digestOf, type Digest } from '../digest.ts'
import { mediaTypes, readJson, shaped, type Compression, type Descriptor } from '../documents.ts'
import { holdLimit } from '../limits.ts'
import type { ImageSource } from '../source.ts'
import { badArchive, readTar } from '../tar.ts'
import { decompressed } from '../unpack.ts'
import { layoutSource, readFrom, readWhole } from './layout.ts'

const entriesMax = 10_000
const layerTypes: Readonly<Record<Compression, string>> = {
  none: mediaTypes.layerTar,
  gzip: mediaTypes.layerGzip,
  zstd: mediaTypes.layerZstd,
}

/** Lays an archive out in a directory and gives its image. Throws `image.bad-archive`, `image.truncated`, `image.too-large`. */
export async function archiveSource(path: string, directory: string, name: string = path): Promise<ImageSource> {
  const stream = createReadStream(path, { highWaterMark: 256 * 1024 })
  const files = await layOut(decompressed(stream, await compressionOf(path), name), directory, name)
  if (files.has('index.json') && files.has('oci-layout')) return layoutSource(directory, name)
  if (!files.has('manifest.json')) throw badArchive(name, 'it holds neither index.json nor manifest.json')
  return await savedSource(directory, files, name)
}

/** Told by the first bytes. */
async function compressionOf(path: string): Promise<Compression> {
  const file = await open(path)
  try {
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0)
    if (buffer[0] === 0x1f && buffer[1] === 0x8b) return 'gzip'
    return buffer.readUInt32LE(0) === 0xfd2fb528 ? 'zstd' : 'none'
  } finally {
    await file.close()
  }
}

/** The names in the archive, and which file in the directory each stands for. */
async function layOut(
  tar: AsyncIterable<Uint8Array>,
  directory: string,
  name: string,
): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>()
  const links = new Map<string, string>()
  let bytes = 0
  for await (const { path, kind, target, size, body } of readTar(tar, name)) {
    if (kind === 'directory') continue
    const clean = posix.normalize(path).replace(/^\.\//, '')
    if (!/^[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*$/.test(clean) || clean.split('/').includes('..'))
      throw badArchive(name, `it holds ${JSON.stringify(path.slice(0, 200))}`)
    if (files.size + links.size >= entriesMax) throw badArchive(name, `it holds more than ${entriesMax} files`)
    if (kind === 'symlink') links.set(clean, posix.join(posix.dirname(clean), target))
    if (kind !== 'file') continue
    bytes += size
    holdLimit('unpackedBytesMax', bytes, `The size of ${name}`)
    const to = join(directory, clean)
    await mkdir(dirname(to), { recursive: true })
    const file = await open(to, 'w', 0o600)
    try {
      for await (const chunk of body) await file.writeFile(chunk)
    } finally {
      await file.close()
    }
    files.set(clean, to)
  }
  for (const [link, target] of links) {
    const to = files.get(target)
    if (to !== undefined) files.set(link, to)
  }
  return files
}

const savedShape = z.array(z.object({ Config: z.string(), Layers: z.array(z.string()) })).min(1)

/** The old form names files; a manifest is made of them. */
async function savedSource(directory: string, files: ReadonlyMap<string, string>, name: string): Promise<ImageSource> {
  const place = (path: string): string => {
    const found = files.get(path)
    if (found !== undefined) return found
    throw badArchive(name, `it lacks ${JSON.stringify(path.slice(0, 200))}, which its manifest.json names`)
  }
  const [image, ...others] = shaped(
    savedShape,
    readJson(await readWhole(join(directory, 'manifest.json'), name), name),
    name,
  )
  if (image === undefined || others.length > 0) {
    throw new SteadError({
      code: 'image.bad-archive',
      message: `${name} holds ${others.length + 1} images, and one is wanted.`,
      hint: 'Save the image alone.',
    })
  }
  holdLimit('layersMax', image.Layers.length, name)
  const paths = new Map<Digest, string>()
  const describe = async (file: string, mediaType: string): Promise<Descriptor> => {
    const path = place(file)
    const hash = createHash('sha256')
    for await (const chunk of readFrom(path, name)) hash.update(chunk)
    const digest: Digest = `sha256:${hash.digest('hex')}`
    paths.set(digest, path)
    return { mediaType, digest, size: (await stat(path)).size }
  }
  const layers: Descriptor[] = []
  for (const layer of image.Layers) {
    layers.push(await describe(layer, layerTypes[await compressionOf(place(layer))]))
  }
  const config = await describe(image.Config, mediaTypes.config)
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers }))
  return {
    name,
    top: async () => ({ bytes, mediaType: mediaTypes.manifest }),
    document: async () => bytes,
    blob: ({ digest }) => readFrom(paths.get(digest) ?? join(directory, digestOf(digest)), name),
  }
}
