/**
 * The store of bundles on one machine. Layout under its root:
 *
 *     files/     every content once, by digest                   trees/      bundles, by digest
 *     layers/    dependencies, by what they were made from       runtimes/   programs that run bundles, by digest
 *     cache/     digests of working directories; may be lost
 *
 * Invariants: a bundle that is listed is complete and never changes; a failure or kill -9 at any point leaves nothing that
 * is listed and not whole, and what it does leave is removed at the next opening or sweep. Trees are hard links to
 * files/, read-only, readable by every user; the root of the store must be on one file system.
 */
import { chmod, mkdir, realpath } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { SteadError, isSteadError } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import { Assembler } from './assemble.ts'
import type { Bundle, BundleFile, BundleLimits, BundleManifest, Digest, Runtime } from './bundle.ts'
import { bundleLimits, codeLimits } from './bundle.ts'
import { Mutex, mapLimited } from './concurrency.ts'
import { contentKey, type ContentKey, readContentKey, readContents, writeContents } from './contents.ts'
import { dependenciesOf } from './dependencies.ts'
import type { InstallContext, Recipe } from './dependencies.ts'
import { DigestCache } from './digests.ts'
import { explainDisk, makeWorkDirectory, removeTree } from './disk.ts'
import { decodeManifest, digestOf, encodeManifest, totalBytes } from './manifest.ts'
import { FilePool } from './pool.ts'
import { Runtimes } from './runtimes.ts'
import type { ResolvedRuntime, TreeLink } from './runtimes.ts'
import { checkDirectory, ignoreOf, scan } from './scan.ts'
import { contentsOf, readBundle, refused, writeBundle } from './transfer.ts'
import { TreeDirectory } from './trees.ts'
import { findUnused, type Unused } from './unused.ts'
import { watchDirectory } from './watch.ts'

/** Times a tree is read anew when it changed while it was read. */
const attemptsMax = 3
/** Layers of dependencies kept by a sweep, most recently used first. */
const layersKept = 16

export interface BundleStoreOptions {
  /** Directory of the store; made when missing. */
  readonly root: string
  readonly clock: Clock
  /** In the place of `bundleLimits`, and of `codeLimits` as well. */
  readonly limits?: Partial<BundleLimits>
  /** Environment of which npm and pip get what leads to the registry; defaults to that of the process. */
  readonly env?: NodeJS.ProcessEnv
}

export interface MakeRequest {
  /** Directory of the code. */
  readonly from: string
  /** What runs it, as `resolveRuntime` says. */
  readonly runtime: Runtime | null
  /** What it may come to; `codeLimits` where absent. The store's own hold all the same. */
  readonly limits?: BundleLimits
  /** Called with lines for a person: what is installed, how large the bundle is. */
  readonly onProgress?: (line: string) => void
  /** Aborting ends a running installation. */
  readonly signal?: AbortSignal
}

/** One content of a bundle. */
export interface BundleContent {
  readonly key: ContentKey
  readonly sizeBytes: number
}

/** Opens the store under `root`, makes it when missing, and removes what dead processes left there. */
export async function createBundleStore(options: BundleStoreOptions): Promise<BundleStore> {
  await mkdir(join(options.root, 'cache'), { recursive: true })
  const root = await realpath(options.root)
  await chmod(root, 0o755)
  const pool = new FilePool(join(root, 'files'))
  const directories = {
    trees: new TreeDirectory(join(root, 'trees')),
    layers: new TreeDirectory(join(root, 'layers')),
    runtimes: new TreeDirectory(join(root, 'runtimes')),
  }
  await pool.open()
  for (const directory of Object.values(directories)) await directory.open()
  return new BundleStore(root, options, pool, directories)
}

interface Directories {
  readonly trees: TreeDirectory
  readonly layers: TreeDirectory
  readonly runtimes: TreeDirectory
}

/** Bundles on this machine. Made by `createBundleStore`. */
export class BundleStore {
  readonly #root: string
  readonly #clock: Clock
  readonly #limits: BundleLimits
  readonly #codeLimits: BundleLimits
  readonly #env: NodeJS.ProcessEnv
  readonly #trees: TreeDirectory
  readonly #layers: TreeDirectory
  readonly #assembler: Assembler
  readonly #runtimes: Runtimes
  /** One installation at a time: parts often share a lock file, and npm uses every core anyway. */
  readonly #installing = new Mutex()

  constructor(root: string, options: BundleStoreOptions, pool: FilePool, directories: Directories) {
    this.#root = root
    this.#clock = options.clock
    this.#limits = { ...bundleLimits, ...options.limits }
    this.#codeLimits = { ...codeLimits, ...options.limits }
    this.#env = options.env ?? process.env
    this.#trees = directories.trees
    this.#layers = directories.layers
    this.#assembler = new Assembler(pool, new DigestCache(join(root, 'cache')), this.#limits, options.clock)
    this.#runtimes = new Runtimes(directories.runtimes, this.#assembler, this.#limits, options.clock)
  }

  /**
   * The bundle of a directory as it is now, with its dependencies. Throws the codes of the README; what a directory that
   * changes meanwhile can cause is tried again a few times first.
   */
  async make(request: MakeRequest): Promise<Bundle> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#makeOnce(request)
      } catch (error) {
        const again = isSteadError(error) && error.code === 'artifact.changed-while-reading' && attempt < attemptsMax
        if (!again) throw explainDisk(error, this.#root)
      }
    }
  }

  /** The bundle of this digest, or null. Checks that the manifest is the one the digest names; contents are `verify`'s. */
  async open(digest: Digest): Promise<Bundle | null> {
    const encoded = await this.#trees.manifest(digest)
    if (encoded === null) return null
    if (digestOf(encoded) !== digest) {
      throw new SteadError({
        code: 'artifact.corrupt',
        message: `the manifest of the bundle ${digest} in ${this.#root} is not the one that its digest names`,
        hint: 'Something wrote to it, or the disk fails: sweep it and make or fetch it again.',
      })
    }
    return this.#bundle(digest, decodeManifest(encoded, this.#limits))
  }

  /** Digests of all bundles, sorted. */
  list(): Promise<Digest[]> {
    return this.#trees.list()
  }

  /**
   * Reads every byte of a bundle. Throws `artifact.corrupt` naming what differs, `artifact.not-found`. Damaged contents are
   * not used for other bundles after that; this one is mended by sweeping it and making or fetching it again.
   */
  async verify(digest: Digest): Promise<void> {
    const { manifest } = await this.#mustOpen(digest)
    try {
      await this.#trees.verify(digest, manifest)
    } catch (error) {
      await this.#assembler.pool.dropDamaged(manifest.files.filter((file) => file.kind === 'file'))
      throw error
    }
  }

  /** The bundle as a stream for `import`, in the form that transfer.ts describes. Throws `artifact.not-found` when read. */
  async *export(digest: Digest): AsyncGenerator<Uint8Array> {
    yield* writeBundle(await this.#mustOpen(digest))
  }

  /**
   * Takes in a bundle that another store exported; every byte is checked before anything is listed. Give the digest that
   * is `expected` whenever it is known: it is what makes the source not matter. Throws `artifact.import-refused`,
   * `artifact.content-refused`, `artifact.manifest-refused`, and the rules of trees as `make` does.
   */
  async import(stream: AsyncIterable<Uint8Array>, expected?: Digest): Promise<Bundle> {
    try {
      await using staging = await this.#assembler.pool.stage()
      const { digest, manifest } = await readBundle(stream, staging, this.#limits, expected)
      await this.#assembler.build(digest, manifest, staging, this.#trees)
      return this.#bundle(digest, manifest)
    } catch (error) {
      throw explainDisk(error, this.#root)
    }
  }

  /** The contents of a bundle, each once, as `missing` is asked about them. Throws `artifact.not-found`. */
  async contents(digest: Digest): Promise<readonly BundleContent[]> {
    const { manifest } = await this.#mustOpen(digest)
    return contentsOf(manifest.files).map((file) => ({ key: contentKey(file), sizeBytes: file.sizeBytes }))
  }

  /** Those of the contents that this store does not have. */
  async missing(keys: readonly ContentKey[]): Promise<ContentKey[]> {
    const has = await mapLimited(keys, 32, (key) => this.#assembler.pool.has(readContentKey(key)))
    return keys.filter((_, index) => has[index] !== true)
  }

  /** Single contents of a bundle as a stream for `importContents`. Throws `artifact.not-found` when read. */
  async *exportContents(digest: Digest, keys: ReadonlySet<ContentKey>): AsyncGenerator<Uint8Array> {
    const { manifest, path } = await this.#mustOpen(digest)
    const files = contentsOf(manifest.files).filter((file) => keys.has(contentKey(file)))
    yield* writeContents(files, (file) => join(path, file.path))
  }

  /**
   * Takes in single contents. What has arrived whole when the stream is cut off stays, until a sweep finds that no tree
   * holds it. Throws as `import`.
   */
  async importContents(stream: AsyncIterable<Uint8Array>): Promise<number> {
    try {
      return await readContents(stream, this.#assembler.pool, this.#limits)
    } catch (error) {
      throw explainDisk(error, this.#root)
    }
  }

  /** The manifest of a bundle as bytes, for `assemble` on another machine. Throws `artifact.not-found`. */
  async encodedManifest(digest: Digest): Promise<Uint8Array> {
    return encodeManifest((await this.#mustOpen(digest)).manifest)
  }

  /**
   * Builds a bundle from contents that are here. Throws `artifact.import-refused` when the manifest is not that of
   * `expected` or a content is missing, and what the manifest itself is refused with.
   */
  async assemble(encoded: Uint8Array, expected: Digest): Promise<Bundle> {
    if (digestOf(encoded) !== expected) throw refused('the manifest does not have the digest that was given')
    const manifest = decodeManifest(encoded, this.#limits)
    await this.#needContents(manifest.files)
    try {
      await using staging = await this.#assembler.pool.stage()
      await this.#assembler.build(expected, manifest, staging, this.#trees)
      return this.#bundle(expected, manifest)
    } catch (error) {
      throw explainDisk(error, this.#root)
    }
  }

  /** The executable of a runtime as the one content to send, and a stream of it. Null: it is the system's, and does not travel. */
  async exportRuntime(runtime: Runtime): Promise<{ content: BundleContent; stream: AsyncIterable<Uint8Array> } | null> {
    const tree = await this.#runtimes.treeOf(runtime)
    if (tree === null) return null
    const [file] = contentsOf(tree.manifest.files)
    if (file === undefined) return null
    const content = { key: contentKey(file), sizeBytes: file.sizeBytes }
    return { content, stream: writeContents([file], () => join(tree.path, file.path)) }
  }

  /** Makes a runtime from its executable, which is here as a content. Throws `artifact.import-refused`, `artifact.runtime-missing`. */
  async assembleRuntime(runtime: Runtime, sizeBytes: number): Promise<void> {
    const file = this.#runtimes.fileOf(runtime, sizeBytes)
    await this.#needContents([file])
    await this.#runtimes.build(runtime, file)
  }

  /**
   * Removes every bundle that is not in `keep`, layers that were not used lately, and files that nothing holds. A bundle
   * that was made and is not yet in `keep` is removed too: record it before sweeping. Runtimes stay.
   */
  async sweep(keep: ReadonlySet<Digest>): Promise<void> {
    await this.#assembler.sweep(async () => {
      for (const digest of await this.#trees.list()) if (!keep.has(digest)) await this.#trees.remove(digest)
      await this.#layers.keepRecent(layersKept)
    })
  }

  /**
   * What nothing needs: bundles that are not in `keep` and were not used for `unusedMs`, and copies of Node that no bundle
   * names which stays. Most recently used last.
   */
  async unused(keep: ReadonlySet<Digest>, unusedMs: number): Promise<readonly Unused[]> {
    const beforeMs = this.#clock.nowMs() - unusedMs
    return findUnused({ trees: this.#trees, runtimes: this.#runtimes.trees, limits: this.#limits }, keep, beforeMs)
  }

  /** Bytes of all contents, each counted once. */
  sizeBytes(): Promise<number> {
    return this.#assembler.pool.sizeBytes()
  }

  /** Removes what `unused` has found, and the files that nothing holds then. */
  async prune(unused: readonly Unused[]): Promise<void> {
    await this.#assembler.sweep(async () => {
      for (const { kind, digest } of unused)
        await (kind === 'bundle' ? this.#trees : this.#runtimes.trees).remove(digest)
      await this.#layers.keepRecent(layersKept)
    })
  }

  /** Calls `onChange` soon after the code under `from` has changed, until disposed. See watch.ts for what is watched. */
  watch(from: string, onChange: () => void): Disposable {
    return watchDirectory({ from, onChange, storeRoot: this.#root, clock: this.#clock, limits: this.#codeLimits })
  }

  /**
   * What runs `program`, the first word of a part's command: `node` is the Node that runs the platform, `python3` the
   * system's, everything else the bundle's own. Throws `artifact.runtime-missing`.
   */
  async resolveRuntime(program: string): Promise<ResolvedRuntime> {
    try {
      return await this.#runtimes.resolve(program)
    } catch (error) {
      throw explainDisk(error, this.#root)
    }
  }

  /** The very runtime that a bundle was made for, or null when this machine does not have it. */
  openRuntime(runtime: Runtime): Promise<ResolvedRuntime | null> {
    return this.#runtimes.open(runtime)
  }

  /** An immutable copy of a directory of binaries, with symbolic links added. The same content is copied once. */
  materialiseTree(directory: string, links: readonly TreeLink[] = []): Promise<{ digest: Digest; path: string }> {
    return this.#runtimes.materialise(directory, links)
  }

  async #makeOnce({
    from,
    runtime,
    limits = this.#codeLimits,
    onProgress = () => undefined,
    signal,
  }: MakeRequest): Promise<Bundle> {
    const startMs = this.#clock.monotonicMs()
    const source = await realpath(from).catch(() => resolve(from))
    await checkDirectory(source)
    const context = { clock: this.#clock, onProgress, signal }
    const needed = await dependenciesOf(source, runtime, () => this.#runtimes.python(), this.#env)
    const layers: BundleFile[] = []
    for (const recipe of needed.recipes) layers.push(...(await this.#layer(recipe, context)))
    const ignore = await ignoreOf(source, this.#root)
    const { entries } = await scan(
      source,
      (path, isDirectory) => ignore(path, isDirectory) || needed.replaced(path, isDirectory),
      limits,
    )
    const nameOf = (made: BundleManifest): Digest => digestOf(encodeManifest(made))
    const request = { source, entries, layers, runtime, limits, into: this.#trees, nameOf }
    const { name, manifest } = await this.#assembler.assemble(request)
    await this.#trees.touch(name, this.#clock)
    const megabytes = (totalBytes(manifest.files) / 1024 ** 2).toFixed(1)
    const seconds = ((this.#clock.monotonicMs() - startMs) / 1000).toFixed(1)
    onProgress(`bundle ${name.slice(0, 12)}: ${manifest.files.length} files, ${megabytes} MB, in ${seconds} s`)
    return this.#bundle(name, manifest)
  }

  async #layer(recipe: Recipe, context: InstallContext): Promise<readonly BundleFile[]> {
    return this.#installing.run(async () => {
      const present = await this.#layers.manifest(recipe.key)
      const { files } = present === null ? await this.#install(recipe, context) : decodeManifest(present, this.#limits)
      await this.#layers.touch(recipe.key, this.#clock)
      return files
    })
  }

  async #install(recipe: Recipe, context: InstallContext): Promise<BundleManifest> {
    const startMs = this.#clock.monotonicMs()
    context.onProgress(`installing ${recipe.what}, once for this version of the file ...`)
    const work = await makeWorkDirectory(join(this.#root, 'layers'))
    try {
      await recipe.install(work, context)
      const { entries } = await scan(work, recipe.ignore, this.#codeLimits)
      const request = { source: null, entries, runtime: null, into: this.#layers, nameOf: () => recipe.key }
      const { manifest } = await this.#assembler.assemble(request)
      context.onProgress(`installed ${recipe.what} in ${((this.#clock.monotonicMs() - startMs) / 1000).toFixed(1)} s`)
      return manifest
    } finally {
      await removeTree(work)
    }
  }

  async #needContents(files: readonly BundleFile[]): Promise<void> {
    const missing = await this.missing(contentsOf(files).map(contentKey))
    if (missing.length > 0) throw refused(`${missing.length} of its contents are not here`)
  }

  async #mustOpen(digest: Digest): Promise<Bundle> {
    const bundle = await this.open(digest)
    if (bundle !== null) return bundle
    throw new SteadError({
      code: 'artifact.not-found',
      message: `there is no bundle ${digest} in ${this.#root}`,
      hint: 'Make it, or fetch it from the node that has it.',
    })
  }

  #bundle(digest: Digest, manifest: BundleManifest): Bundle {
    return { digest, manifest, path: this.#trees.pathOf(digest) }
  }
}
