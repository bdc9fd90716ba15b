/**
 * Contents on the disk by their digest: manifests, configurations and layers as they came.
 *
 * Invariant: what stands under a digest has it, to its last byte: it was written apart, checked while it was written, and
 * renamed.
 */
import { createHash } from 'node:crypto'
import { constants, createReadStream } from 'node:fs'
import { chmod, copyFile, link, mkdtemp, open, readFile, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { SteadError, isSteadError } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import { digestOf, hexOf, verified, type Digest } from './digest.ts'
import { holdLimit } from './limits.ts'
import { makePrivate } from './private.ts'
import { withoutSpace } from './unpack.ts'

const readBytes = 256 * 1024
const litterPrefix = '.new-'

export class Blobs {
  readonly #directory: string
  readonly #clock: Clock
  /** What is being taken in: two who want the same share it. */
  readonly #underWay = new Map<Digest, Promise<void>>()

  /** The directory is made when it is first needed. */
  constructor(directory: string, clock: Clock) {
    this.#directory = directory
    this.#clock = clock
  }

  pathOf(digest: Digest): string {
    return join(this.#directory, hexOf(digest))
  }

  async has(digest: Digest): Promise<boolean> {
    return (await stat(this.pathOf(digest)).catch(() => null)) !== null
  }

  /** Whether a content is here; if so, pruning takes it for new. */
  async keep(digest: Digest): Promise<boolean> {
    const nowSeconds = this.#clock.nowMs() / 1000
    return await utimes(this.pathOf(digest), nowSeconds, nowSeconds).then(
      () => true,
      () => false,
    )
  }

  /** Takes in what must have this digest and size. Throws what checking throws, `image.no-space`; nothing is left then. */
  async put(bytes: AsyncIterable<Uint8Array>, wanted: { digest: Digest; size: number }, what: string): Promise<void> {
    if (await this.keep(wanted.digest)) return
    const running = this.#underWay.get(wanted.digest)
    if (running !== undefined) return await running
    const work = this.#write(verified(bytes, wanted, what), what, () => wanted.digest)
    const told = work.then(() => undefined).finally(() => this.#underWay.delete(wanted.digest))
    this.#underWay.set(wanted.digest, told)
    await told
  }

  /** Takes in what has the digest that it has. */
  async add(bytes: AsyncIterable<Uint8Array> | Uint8Array, what: string): Promise<{ digest: Digest; size: number }> {
    const hash = createHash('sha256')
    let size = 0
    const counted = (async function* () {
      for await (const chunk of bytes instanceof Uint8Array ? [bytes] : bytes) {
        size += chunk.length
        holdLimit('layerBytesMax', size, what)
        hash.update(chunk)
        yield chunk
      }
    })()
    const digest = await this.#write(counted, what, () => `sha256:${hash.digest('hex')}`)
    return { digest, size }
  }

  /** A document. Throws `image.not-here`, `image.too-large`. */
  async read(digest: Digest): Promise<Uint8Array> {
    const found = await stat(this.pathOf(digest)).catch(() => null)
    if (found === null) throw notHere(digest)
    holdLimit('documentBytesMax', found.size, `The document ${digest}`)
    return await readFile(this.pathOf(digest))
  }

  stream(digest: Digest): AsyncIterable<Uint8Array> {
    return createReadStream(this.pathOf(digest), { highWaterMark: readBytes })
  }

  /** A second name for a content, for who only reads; else a copy. */
  async giveTo(digest: Digest, path: string, onlyRead: boolean): Promise<void> {
    if (onlyRead) return await link(this.pathOf(digest), path)
    await copyFile(this.pathOf(digest), path, constants.COPYFILE_FICLONE)
    await chmod(path, 0o644)
  }

  /**
   * Removes all but the named, and what came or was kept since somebody is under way; what is being written apart only when
   * it is older than `litterMs`. Answers the bytes that became free.
   */
  async prune(
    used: ReadonlySet<Digest>,
    { litterMs, sinceMs }: { readonly litterMs: number; readonly sinceMs: number },
  ): Promise<number> {
    const kept = new Set([...used].map(hexOf))
    let freed = 0
    for (const name of await readdir(this.#directory).catch(() => [])) {
      if (kept.has(name)) continue
      const path = join(this.#directory, name)
      const newestMs = name.startsWith(litterPrefix) ? litterMs : sinceMs
      const bytesOfOld = async (at: string): Promise<number | null> => {
        const found = await stat(at).catch(() => null)
        return found !== null && found.mtimeMs < newestMs ? found.size : null
      }
      if ((await bytesOfOld(path)) === null) continue
      // Out of sight first: who keeps it now finds it gone, and who kept it just before is seen here.
      const apart = await mkdtemp(join(this.#directory, litterPrefix))
      await rename(path, join(apart, 'gone')).catch(() => undefined)
      const bytes = await bytesOfOld(join(apart, 'gone'))
      if (bytes === null) await rename(join(apart, 'gone'), path).catch(() => undefined)
      else freed += bytes
      await rm(apart, { recursive: true, force: true })
    }
    return freed
  }

  async #write(bytes: AsyncIterable<Uint8Array>, what: string, name: () => Digest): Promise<Digest> {
    await makePrivate(this.#directory)
    const made = await mkdtemp(join(this.#directory, litterPrefix))
    try {
      const file = await open(join(made, 'blob'), 'wx', 0o600)
      try {
        for await (const chunk of bytes) await file.writeFile(chunk)
        await file.datasync()
      } finally {
        await file.close()
      }
      const digest = name()
      await rename(join(made, 'blob'), this.pathOf(digest))
      return digest
    } catch (error) {
      throw isSteadError(error) ? error : withoutSpace(error, what)
    } finally {
      await rm(made, { recursive: true, force: true })
    }
  }
}

function notHere(digest: Digest): SteadError {
  return new SteadError({
    code: 'image.not-here',
    message: `The content ${digest} is not among the images of this machine.`,
    hint: 'It was pruned, or its image was never fetched: fetch or build the image again.',
  })
}

/** Checks a small content that was read at once. Throws `image.wrong-digest`. */
export function needDigest(bytes: Uint8Array, digest: Digest, what: string): void {
  const found = digestOf(bytes)
  if (found !== digest) throw wrongDigest(what, digest, found)
}

export function wrongDigest(what: string, wanted: string, found: string): SteadError {
  return new SteadError({
    code: 'image.wrong-digest',
    message: `${what} is not what its digest says: wanted ${wanted}, found ${found}.`,
    hint: 'Somebody on the way has changed it, or the registry is damaged. Nothing of it was kept.',
  })
}
