/**
 * Single contents as a stream of bytes, to send of a bundle only what the other side lacks:
 *
 *     stead-contents 1\n
 *     <sha256> <x or -> <length>\n <bytes>     for each
 *     end\n
 *
 * Invariant of reading: every content has its digest, and what has arrived whole stays, so that a stream that is cut off
 * is gone on with by asking again what is missing.
 */
import { SteadError } from '../base/index.ts'
import type { BundleLimits, Digest } from './bundle.ts'
import { isDigest } from './manifest.ts'
import type { FilePool } from './pool.ts'
import { ByteReader, type ContentFile, receive, readContent, refused } from './transfer.ts'

/** A content as both sides name it: its digest, and ` x` behind it when it may be executed. */
export type ContentKey = string

const magic = 'stead-contents 1'
/** So much is staged at most before it gets its names: what a cut can cost. */
const batchBytes = 16 * 1024 ** 2
const batchFiles = 256

export function contentKey({
  sha256,
  executable,
}: {
  readonly sha256: Digest
  readonly executable: boolean
}): ContentKey {
  return executable ? `${sha256} x` : sha256
}

/** Throws `artifact.import-refused` for what is no key. */
export function readContentKey(key: string): { readonly sha256: Digest; readonly executable: boolean } {
  const [sha256 = '', mark, ...more] = key.split(' ')
  if (!isDigest(sha256) || (mark !== undefined && mark !== 'x') || more.length > 0)
    throw refused(`${key.slice(0, 80)} names no content`)
  return { sha256, executable: mark === 'x' }
}

/** The contents as a stream; `pathOf` says where each lies. */
export async function* writeContents(
  files: readonly ContentFile[],
  pathOf: (file: ContentFile) => string,
): AsyncGenerator<Uint8Array> {
  yield Buffer.from(`${magic}\n`)
  for (const file of files) {
    yield Buffer.from(`${file.sha256} ${file.executable ? 'x' : '-'} ${file.sizeBytes}\n`)
    yield* readContent(file, pathOf(file))
  }
  yield Buffer.from('end\n')
}

/** Reads a stream into the pool. Answers how many contents there were. Throws `artifact.import-refused`, `artifact.content-refused`, `artifact.too-big`. */
export async function readContents(
  stream: AsyncIterable<Uint8Array>,
  pool: FilePool,
  limits: BundleLimits,
): Promise<number> {
  await using reader = new ByteReader(stream)
  if ((await reader.line()) !== magic) throw refused(`it does not start with "${magic}"`)
  let count = 0
  for (let more = true; more;) {
    await using staging = await pool.stage()
    try {
      let bytes = 0
      for (let files = 0; more && bytes < batchBytes && files < batchFiles; files += 1) {
        const header = await reader.line()
        more = header !== 'end'
        if (!more) break
        const file = fileOf(header, limits)
        await receive(file, reader, staging)
        bytes += file.sizeBytes
        count += 1
      }
    } finally {
      // Also what came before a cut is here to stay.
      await staging.publish()
    }
  }
  return count
}

function fileOf(header: string, limits: BundleLimits): ContentFile {
  const [sha256 = '', mark = '', length = ''] = header.split(' ')
  const sizeBytes = Number(length)
  if (!isDigest(sha256) || !['x', '-'].includes(mark) || !/^\d{1,12}$/.test(length))
    throw refused('a content has no header')
  if (sizeBytes > limits.fileBytesMax) {
    throw new SteadError({
      code: 'artifact.too-big',
      message: `a content has ${sizeBytes} bytes, and at most ${limits.fileBytesMax} are allowed`,
      hint: 'Data belongs in a bucket or a volume, not in a bundle.',
    })
  }
  return { kind: 'file', path: sha256, executable: mark === 'x', sizeBytes, sha256 }
}
