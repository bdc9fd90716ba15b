/**
 * Names of images on the disk, one file for each, so that whoever writes one touches no other.
 *
 * Invariant: a file under its name is whole: it was written apart and renamed. Of two processes that give one name, the later
 * counts; nothing that either has said of another name is lost.
 */
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { SteadError, systemCodeOf } from '../base/index.ts'
import { digestOf, hexOf, isDigest, type Digest } from './digest.ts'
import { makePrivate } from './private.ts'
import { withoutSpace } from './unpack.ts'

export interface KeptImage {
  /** As it was asked for or built. */
  readonly name: string
  readonly digest: Digest
  readonly takenMs: number
}

const shape = z.object({ name: z.string(), digest: z.string().refine(isDigest), takenMs: z.number() })
const ending = '.json'

export class Names {
  readonly #directory: string

  /** Made when it is first needed. */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** Sorted. Throws `image.names-unreadable`. */
  async list(): Promise<readonly KeptImage[]> {
    const files = (await readdir(this.#directory).catch(() => [])).filter((file) => file.endsWith(ending))
    const kept = await Promise.all(files.map((file) => this.#read(join(this.#directory, file))))
    return kept.filter((image) => image !== null).sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Throws `image.no-space`; what was there before stays then. */
  async set(image: KeptImage): Promise<void> {
    await makePrivate(this.#directory)
    const made = await mkdtemp(join(this.#directory, '.new-'))
    try {
      await writeFile(join(made, 'name'), JSON.stringify(image), { mode: 0o600, flush: true })
      await rename(join(made, 'name'), this.#pathOf(image.name))
    } catch (error) {
      throw withoutSpace(error, `The name ${image.name}`)
    } finally {
      await rm(made, { recursive: true, force: true })
    }
  }

  async remove(name: string): Promise<void> {
    await rm(this.#pathOf(name), { force: true })
  }

  /** A name may be longer than that of a file. */
  #pathOf(name: string): string {
    return join(this.#directory, `${hexOf(digestOf(name))}${ending}`)
  }

  async #read(path: string): Promise<KeptImage | null> {
    try {
      return shape.parse(JSON.parse(await readFile(path, 'utf8')))
    } catch (error) {
      // Removed since the directory was read.
      if (systemCodeOf(error) === 'ENOENT') return null
      throw new SteadError({
        code: 'image.names-unreadable',
        message: `The name of an image in ${path} cannot be read.`,
        hint: 'It was written by a newer version, or damaged: remove the file, and fetch or build the image again.',
        cause: error,
      })
    }
  }
}
