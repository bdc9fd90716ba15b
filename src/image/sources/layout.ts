/** Images from a directory in the layout of OCI: `index.json`, and contents below `blobs`. Invariant: only files that are files are opened. */
import { constants } from 'node:fs'
import { lstat, open } from 'node:fs/promises'
import { join } from 'node:path'
import { SteadError } from '../../base/index.ts'
import { hexOf, type Digest } from '../digest.ts'
import { mediaTypes } from '../documents.ts'
import { holdLimit } from '../limits.ts'
import type { ImageSource } from '../source.ts'

const readBytes = 256 * 1024

/** Throws `image.not-found` when something is asked for that is not there. */
export function layoutSource(directory: string, name: string = directory): ImageSource {
  const blobOf = (digest: Digest): string => join(directory, 'blobs', 'sha256', hexOf(digest))
  return {
    name,
    async top() {
      return { bytes: await readWhole(join(directory, 'index.json'), name), mediaType: mediaTypes.index }
    },
    document: ({ digest }) => readWhole(blobOf(digest), name),
    blob: ({ digest }) => readFrom(blobOf(digest), name),
  }
}

/** A document on disk. Throws `image.not-found`, `image.too-large`. */
export async function readWhole(path: string, name: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of readFrom(path, name)) {
    bytes += chunk.length
    holdLimit('documentBytesMax', bytes, `A document of ${name}`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** A content on disk; links are not followed, and pipes and devices not opened. Throws `image.not-found`. */
export async function* readFrom(path: string, name: string): AsyncGenerator<Uint8Array> {
  const found = await lstat(path).catch(() => null)
  if (found?.isFile() !== true) {
    throw new SteadError({
      code: 'image.not-found',
      message: `${name} is not whole: ${path} is ${found === null ? 'not there' : 'no file'}.`,
      hint: 'Write or copy the image again.',
    })
  }
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  yield* file.createReadStream({ highWaterMark: readBytes })
}
