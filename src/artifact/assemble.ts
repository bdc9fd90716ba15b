/**
 * From a scanned directory to a finished tree: digests (remembered or read), staging, manifest, build. The one place where
 * the pool changes: building and sweeping take turns.
 */
import type { Clock } from '../base/index.ts'
import type { BundleFile, BundleLimits, BundleManifest, Digest, Runtime } from './bundle.ts'
import { Mutex, mapLimited } from './concurrency.ts'
import type { DigestCache } from './digests.ts'
import { makeManifest } from './manifest.ts'
import type { FilePool, Staging } from './pool.ts'
import type { SourceEntry, SourceFile } from './scan.ts'
import type { TreeDirectory } from './trees.ts'

const concurrency = 16

export interface AssembleRequest {
  /** Under which the digests of this source are remembered; null: it is read once only. */
  readonly source: string | null
  readonly entries: readonly SourceEntry[]
  /** Files that are in the pool already, from a layer. */
  readonly layers?: readonly BundleFile[]
  readonly runtime: Runtime | null
  /** Those of the store where absent. */
  readonly limits?: BundleLimits
  readonly into: TreeDirectory
  /** The name of the tree, found when its manifest is known. */
  readonly nameOf: (manifest: BundleManifest) => Digest
}

export interface Assembled {
  readonly name: Digest
  readonly manifest: BundleManifest
}

export class Assembler {
  readonly pool: FilePool
  readonly #cache: DigestCache
  readonly #limits: BundleLimits
  readonly #clock: Clock
  readonly #turns = new Mutex()

  constructor(pool: FilePool, cache: DigestCache, limits: BundleLimits, clock: Clock) {
    this.pool = pool
    this.#cache = cache
    this.#limits = limits
    this.#clock = clock
  }

  /** Makes the tree, unless there is one of its name. Throws what `makeManifest` and `Staging.add` throw. */
  async assemble(request: AssembleRequest): Promise<Assembled> {
    const startMs = this.#clock.nowMs()
    await using staging = await this.pool.stage()
    const { source } = request
    const remembered = source === null ? () => undefined : await this.#cache.load(source)
    const files = await mapLimited(request.entries, concurrency, async (entry) =>
      entry.kind === 'link' ? entry : { ...entry, sha256: await this.#digest(entry, remembered(entry), staging) },
    )
    const { layers = [], runtime, limits = this.#limits } = request
    const manifest = makeManifest([...files.map(bare), ...layers], runtime, limits)
    const name = request.nameOf(manifest)
    await this.build(name, manifest, staging, request.into)
    const read = files.filter((file) => file.kind === 'file')
    if (source !== null && read.some((file) => remembered(file) === undefined)) {
      await this.#cache.save(source, read, startMs)
    }
    return { name, manifest }
  }

  /** Publishes what was staged and builds the tree from it. */
  async build(name: Digest, manifest: BundleManifest, staging: Staging, into: TreeDirectory): Promise<void> {
    await this.#turns.run(async () => {
      await staging.publish()
      await into.build(name, manifest, this.pool)
    })
  }

  /** Runs `remove`, then drops the files that no tree holds any more, while nothing is built. */
  async sweep(remove: () => Promise<void>): Promise<void> {
    await this.#turns.run(async () => {
      await remove()
      await this.pool.sweep()
    })
  }

  async #digest(file: SourceFile, known: Digest | undefined, staging: Staging): Promise<Digest> {
    if (known !== undefined && (await this.pool.has({ sha256: known, executable: file.executable }))) return known
    return staging.add(file)
  }
}

/** What of a source file goes into the manifest. */
function bare(file: (SourceFile & { readonly sha256: Digest }) | Extract<SourceEntry, { kind: 'link' }>): BundleFile {
  if (file.kind === 'link') return { kind: 'link', path: file.path, to: file.to }
  const { path, executable, sizeBytes, sha256 } = file
  return { kind: 'file', path, executable, sizeBytes, sha256 }
}
