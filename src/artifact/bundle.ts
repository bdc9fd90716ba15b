/**
 * What a bundle is: a part's code and dependencies as an immutable tree, named by the digest of its manifest, which also
 * names the runtime. Instances run from bundles, never from a working directory.
 *
 * Invariants: equal content gives the same digest on every machine (no times, no owners, no absolute paths in it); a
 * bundle that is listed is complete; nothing under its path ever changes.
 */

/** sha256 in lower-case hex. */
export type Digest = string

export type BundleFile =
  | {
      readonly kind: 'file'
      readonly path: string
      readonly executable: boolean
      readonly sizeBytes: number
      readonly sha256: Digest
    }
  | { readonly kind: 'link'; readonly path: string; readonly to: string }

/** The program that runs the bundle: `node`, `python3`, or the part's own. */
export interface Runtime {
  readonly name: string
  readonly version: string
  /** Of the runtime's executable. */
  readonly digest: Digest
}

export interface BundleManifest {
  readonly version: 1
  /** Sorted by path (UTF-16 order, as `<` compares), forward slashes, relative. */
  readonly files: readonly BundleFile[]
  readonly runtime: Runtime | null
}

export interface Bundle {
  /** Of the canonical JSON of the manifest. */
  readonly digest: Digest
  readonly manifest: BundleManifest
  /** Directory that holds the tree on this machine, read-only. */
  readonly path: string
}

/** How large a bundle may be. */
export interface BundleLimits {
  /** Files and links. */
  readonly filesMax: number
  readonly totalBytesMax: number
  /** Of one file. */
  readonly fileBytesMax: number
  /** Of one path inside the tree, and of the text of a link. */
  readonly pathBytesMax: number
}

/** Of every bundle: what a store takes in, keeps and gives. */
export const bundleLimits: BundleLimits = {
  filesMax: 200_000,
  totalBytesMax: 64 * 1024 ** 3,
  fileBytesMax: 16 * 1024 ** 3,
  pathBytesMax: 1024,
}

/** Of what a directory of code may come to: more is most often data that got in by mistake. */
export const codeLimits: BundleLimits = {
  ...bundleLimits,
  totalBytesMax: 2 * 1024 ** 3,
  fileBytesMax: 512 * 1024 ** 2,
}
