/**
 * The images of one machine: fetched or built, by name, with all they need to be used again without where they came from.
 *
 * Invariants: a name stands for an image that is whole; what a name needs is never pruned, nor what is fetched or built
 * meanwhile, by this process or another.
 */
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SteadError, type Clock } from '../base/index.ts'
import { Blobs } from './blobs.ts'
import { billBeside, buildImage, type BuildOptions, type BuiltImage } from './build.ts'
import { hexOf, isDigest, verified, type Digest } from './digest.ts'
import { mediaTypes, needPlatform, platformOf, type Platform } from './documents.ts'
import type { LayerStore } from './layers.ts'
import { Names, type KeptImage } from './names.ts'
import { makePrivate } from './private.ts'
import { parseReference, showReference, type ImageReference } from './reference.ts'
import { archiveSource } from './sources/archive.ts'
import { layoutSource } from './sources/layout.ts'
import { registrySource, type RegistryOptions } from './sources/registry.ts'
import { fetchImage, storedImage, type FetchedImage, type ImageSource } from './source.ts'

export interface ImageStoreOptions {
  /** Of the store's own; made when it is first needed. */
  readonly directory: string
  readonly clock: Clock
  readonly registry: Omit<RegistryOptions, 'clock'>
  /** Defaults to this machine's. */
  readonly platform?: Platform
}

export interface NeedOptions {
  /** What relative paths are relative to. */
  readonly directory: string
  readonly onProgress: (line: string) => void
}

/** Times of files are told less finely than those of the clock. */
const coarsenessMs = 1000
const scratchPrefix = 'scratch-'
/** What is being fetched or built for longer than this belongs to nobody any more. */
const litterAgeMs = 24 * 3_600_000

export class ImageStore {
  readonly #options: ImageStoreOptions
  readonly #platform: Platform
  readonly #blobs: Blobs
  readonly #names: Names

  constructor(options: ImageStoreOptions) {
    this.#options = options
    this.#platform = options.platform ?? platformOf(process.arch)
    this.#blobs = new Blobs(join(options.directory, 'blobs'), options.clock)
    this.#names = new Names(join(options.directory, 'names'))
  }

  /**
   * The image that a reference stands for now: a tag is asked for once and answered with a digest. An image that was asked
   * for by its digest and is here is not asked for again. Throws `image.bad-reference`, `image.not-found`, and what fetching
   * throws; nothing half fetched is left.
   */
  async need(text: string, { directory, onProgress }: NeedOptions): Promise<FetchedImage & { readonly name: string }> {
    const reference = parseReference(text)
    if (reference.kind === 'local') {
      const kept = (await this.list()).find(({ name, digest }) => name === reference.name || digest === reference.name)
      if (kept !== undefined) {
        const image = await storedImage(this.#blobs, kept.digest)
        needPlatform(image.config.platform, this.#platform, kept.name)
        return { ...image, name: kept.name }
      }
      throw new SteadError({
        code: 'image.not-found',
        message: `There is no image called ${reference.name} on this machine.`,
        hint: 'Build it (`stead image build`), or name the host of its registry; `stead image ls` shows what is here.',
      })
    }
    await using scratch = await this.scratch()
    if (reference.kind === 'path') return await this.#fromPath(reference, directory, scratch.path, onProgress)
    const pinned = reference.digest === null ? null : await this.#byDigest(reference.digest)
    const source = registrySource(reference, { ...this.#options.registry, clock: this.#options.clock })
    const image =
      pinned ??
      (await fetchImage(source, this.#blobs, { platform: this.#platform, digest: reference.digest, onProgress }))
    const name = showReference({ ...reference, digest: reference.digest ?? image.digest })
    await this.#name(showReference(reference), image.digest)
    return { ...image, name }
  }

  /** Builds an image from a directory, under a name. Throws what `buildImage` throws, and what finding its base throws. */
  async build(
    directory: string,
    name: string,
    options: Omit<BuildOptions, 'platform' | 'base'> & { readonly base: string | null },
    need: NeedOptions,
  ): Promise<BuiltImage> {
    const reference = parseReference(name)
    if (reference.kind !== 'local') {
      throw new SteadError({
        code: 'image.bad-reference',
        message: `${JSON.stringify(name)} is no name for an image of this machine.`,
        hint: "As in 'web' or 'web:1.4'.",
      })
    }
    await using _underWay = await this.scratch()
    const base = options.base === null ? null : (await this.need(options.base, need)).digest
    const built = await buildImage(directory, this.#blobs, {
      ...options,
      base,
      platform: this.#platform,
    })
    await this.#name(reference.name, built.digest)
    return built
  }

  /** By name. Throws `image.names-unreadable`. */
  list(): Promise<readonly KeptImage[]> {
    return this.#names.list()
  }

  /** Writes an image as an OCI layout into an empty directory: copies, but in a directory of the store's own. */
  async layOut(image: FetchedImage, directory: string): Promise<void> {
    const blobs = join(directory, 'blobs', 'sha256')
    await mkdir(blobs, { recursive: true })
    const { manifest, digest } = image
    const isOwn = directory.startsWith(`${this.#options.directory}/`)
    for (const content of new Set([digest, manifest.config.digest, ...manifest.layers.map((layer) => layer.digest)])) {
      await this.#blobs.giveTo(content, join(blobs, hexOf(content)), isOwn)
    }
    const { os, architecture, variant } = image.config.platform
    const platform = variant === undefined ? { os, architecture } : { os, architecture, variant }
    const entry = { mediaType: mediaTypes.manifest, digest, size: image.manifestBytes, platform }
    await writeFile(
      join(directory, 'index.json'),
      JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [entry] }),
    )
    await writeFile(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
  }

  /** Its layers, unpacked, the lowest first. Throws what unpacking throws. */
  async unpack({ manifest, config }: FetchedImage, layers: LayerStore): Promise<readonly string[]> {
    const unpacked: string[] = []
    for (const [index, layer] of manifest.layers.entries()) {
      const what = `The layer ${layer.digest}`
      const diffId = config.diffIds[index] ?? layer.digest
      const bytes = (): AsyncIterable<Uint8Array> => verified(this.#blobs.stream(layer.digest), layer, what)
      unpacked.push(await layers.need({ diffId, compression: layer.compression, bytes }, what))
    }
    return unpacked
  }

  /** A directory of its own for a while, on the file system of the store. While it is there, nothing new is pruned. */
  async scratch(): Promise<AsyncDisposable & { readonly path: string }> {
    await makePrivate(this.#options.directory)
    const path = await mkdtemp(join(this.#options.directory, scratchPrefix))
    return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
  }

  /** The bill of materials that was kept beside an image that was built here; null for others. */
  async bill(digest: Digest): Promise<string | null> {
    const kept = await billBeside(this.#blobs, digest)
    if (kept === null || !isDigest(kept) || !(await this.#blobs.has(kept))) return null
    return Buffer.from(await this.#blobs.read(kept)).toString('utf8')
  }

  /** Forgets names that are not wanted, and removes what no name needs; answers the bytes that became free. */
  async prune(
    isWanted: (image: KeptImage) => boolean,
  ): Promise<{ readonly names: readonly string[]; readonly bytes: number }> {
    const gone = (await this.list()).filter((image) => !isWanted(image))
    for (const { name } of gone) await this.#names.remove(name)
    // Looked at before the names are: who has finished by then has a name.
    const sinceMs = await this.#underWaySinceMs()
    const used = new Set<Digest>()
    for (const { digest } of await this.list()) {
      const { manifest } = await storedImage(this.#blobs, digest)
      const bill = await billBeside(this.#blobs, digest)
      for (const content of [digest, manifest.config.digest, ...manifest.layers.map((layer) => layer.digest)])
        used.add(content)
      if (bill !== null && isDigest(bill)) used.add(bill)
    }
    const bytes = await this.#blobs.prune(used, { litterMs: this.#options.clock.nowMs() - litterAgeMs, sinceMs })
    return { names: gone.map(({ name }) => name), bytes }
  }

  async #byDigest(digest: Digest): Promise<FetchedImage | null> {
    if (!(await this.#blobs.keep(digest))) return null
    const image = await storedImage(this.#blobs, digest).catch(() => null)
    if (image === null) return null
    const { config, layers } = image.manifest
    const there = await Promise.all([config, ...layers].map((content) => this.#blobs.keep(content.digest)))
    return there.every(Boolean) ? image : null
  }

  /** Since when somebody fetches or builds here; infinite where nobody does. What was left by the dead is removed. */
  async #underWaySinceMs(): Promise<number> {
    const { directory, clock } = this.#options
    let sinceMs = Number.POSITIVE_INFINITY
    for (const name of await readdir(directory).catch(() => [])) {
      if (!name.startsWith(scratchPrefix)) continue
      const found = await stat(join(directory, name)).catch(() => null)
      if (found === null) continue
      if (found.mtimeMs < clock.nowMs() - litterAgeMs) await rm(join(directory, name), { recursive: true, force: true })
      else sinceMs = Math.min(sinceMs, found.birthtimeMs - coarsenessMs)
    }
    return sinceMs
  }

  async #fromPath(
    reference: Extract<ImageReference, { kind: 'path' }>,
    from: string,
    scratch: string,
    onProgress: (line: string) => void,
  ): Promise<FetchedImage & { readonly name: string }> {
    const path = join(reference.path.startsWith('/') ? '/' : from, reference.path)
    const name = reference.path
    const found = await stat(path).catch(() => null)
    if (found === null) {
      throw new SteadError({
        code: 'image.not-found',
        message: `There is no image at ${path}.`,
        hint: 'A directory, an OCI layout, or an archive as `docker save` writes it.',
      })
    }
    const fetch = { platform: this.#platform, digest: null, onProgress }
    if (found.isDirectory()) {
      const isLayout = (await stat(join(path, 'oci-layout')).catch(() => null)) !== null
      const image = isLayout
        ? await fetchImage(layoutSource(path, name), this.#blobs, fetch)
        : await this.#fromTree(path)
      await this.#name(path, image.digest)
      return { ...image, name }
    }
    const source: ImageSource = await archiveSource(path, scratch, name)
    const image = await fetchImage(source, this.#blobs, fetch)
    await this.#name(path, image.digest)
    return { ...image, name }
  }

  async #fromTree(path: string): Promise<FetchedImage> {
    const plain = {
      at: '/',
      without: [],
      entrypoint: null,
      cmd: null,
      env: {},
      workdir: null,
      user: null,
      ports: [],
      volumes: [],
      labels: {},
    }
    return await buildImage(path, this.#blobs, { ...plain, base: null, platform: this.#platform })
  }

  async #name(name: string, digest: Digest): Promise<void> {
    await this.#names.set({ name, digest, takenMs: this.#options.clock.nowMs() })
  }
}
