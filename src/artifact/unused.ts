/** Finds the trees that nothing needs. Invariant: what a bundle that stays names, stays. */
import type { BundleLimits, BundleManifest, Digest } from './bundle.ts'
import { decodeManifest } from './manifest.ts'
import type { TreeDirectory } from './trees.ts'

export interface Unused {
  readonly kind: 'bundle' | 'runtime'
  readonly digest: Digest
  /** That become free with it, as far as nothing that stays holds the same contents. */
  readonly bytes: number
  /** When it was last used, milliseconds since 1970. */
  readonly usedMs: number
}

interface Places {
  readonly trees: TreeDirectory
  readonly runtimes: TreeDirectory
  readonly limits: BundleLimits
}

/** Bundles beside `keep`, and copies of Node beside those that the others name, not used since `beforeMs`; the oldest first. */
export async function findUnused(
  places: Places,
  keep: ReadonlySet<Digest>,
  beforeMs: number,
): Promise<readonly Unused[]> {
  const { trees, runtimes } = places
  const bundles = await manifestsOf(trees, places.limits)
  const stays = new Set<Digest>()
  for (const [digest] of bundles) if (keep.has(digest) || (await trees.usedMs(digest)) >= beforeMs) stays.add(digest)
  const named = new Set([...stays].map((digest) => bundles.get(digest)?.runtime?.digest))
  const programs = await manifestsOf(runtimes, places.limits)
  const goes: { kind: Unused['kind']; digest: Digest; manifest: BundleManifest; usedMs: number }[] = []
  for (const [digest, manifest] of bundles)
    if (!stays.has(digest)) goes.push({ kind: 'bundle', digest, manifest, usedMs: await trees.usedMs(digest) })
  for (const [digest, manifest] of programs) {
    const usedMs = await runtimes.usedMs(digest)
    // Other trees of binaries are those of servers that may run.
    const isNode = manifest.files.length === 1 && manifest.files[0]?.path === 'bin/node'
    if (isNode && !named.has(digest) && usedMs < beforeMs) goes.push({ kind: 'runtime', digest, manifest, usedMs })
  }
  const gone = new Set(goes.map(({ digest }) => digest))
  const held = new Set(
    [...bundles, ...programs].flatMap(([digest, { files }]) => (gone.has(digest) ? [] : contentsOf(files))),
  )
  return goes
    .toSorted((a, b) => a.usedMs - b.usedMs)
    .map(({ kind, digest, manifest, usedMs }) => {
      let bytes = 0
      for (const file of manifest.files) {
        if (file.kind !== 'file' || held.has(file.sha256)) continue
        held.add(file.sha256)
        bytes += file.sizeBytes
      }
      return { kind, digest, bytes, usedMs }
    })
}

function contentsOf(files: BundleManifest['files']): Digest[] {
  return files.flatMap((file) => (file.kind === 'file' ? [file.sha256] : []))
}

async function manifestsOf(directory: TreeDirectory, limits: BundleLimits): Promise<Map<Digest, BundleManifest>> {
  const found = new Map<Digest, BundleManifest>()
  for (const digest of await directory.list()) {
    const encoded = await directory.manifest(digest)
    if (encoded !== null) found.set(digest, decodeManifest(encoded, limits))
  }
  return found
}
