/**
 * Finished trees under their names. `<name>/manifest.json` says what is in `<name>/tree/`; both get their name in one
 * rename, so a tree that has a name is complete. Bundles, dependency layers and runtimes are all kept this way.
 */
import { chmod, lstat, mkdir, readFile, readdir, readlink, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SteadError, systemCodeOf } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { BundleFile, BundleManifest, Digest } from './bundle.ts'
import { mapLimited } from './concurrency.ts'
import { discard, makeWorkDirectory, publish, removeLitter, removeTree, syncPath } from './disk.ts'
import { encodeManifest, isDigest, parentsOf } from './manifest.ts'
import type { FilePool } from './pool.ts'
import { digestOfFile, sealDirectory, sealLink } from './pool.ts'

const concurrency = 32

export class TreeDirectory {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Makes the directory, readable by every user whatever the umask, and removes what dead processes left in it. */
  async open(): Promise<void> {
    await mkdir(this.#directory, { recursive: true })
    await chmod(this.#directory, 0o755)
    await removeLitter(this.#directory)
  }

  /** Where the tree of this name is, or would be. */
  pathOf(name: Digest): string {
    return join(this.#directory, name, 'tree')
  }

  /** Names of all trees, sorted. */
  async list(): Promise<Digest[]> {
    return (await readdir(this.#directory)).filter(isDigest).sort()
  }

  /** The encoded manifest of a tree, or null when there is none of this name. */
  async manifest(name: Digest): Promise<Buffer | null> {
    if (!isDigest(name)) return null
    try {
      return await readFile(join(this.#directory, name, 'manifest.json'))
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return null
      throw error
    }
  }

  /** Builds a tree from files of the pool. Nothing happens when there is one of this name. */
  async build(name: Digest, manifest: BundleManifest, pool: FilePool): Promise<void> {
    if ((await this.manifest(name)) !== null) return
    const work = await makeWorkDirectory(this.#directory)
    try {
      await fill(join(work, 'tree'), manifest.files, pool)
      const manifestPath = join(work, 'manifest.json')
      await writeFile(manifestPath, encodeManifest(manifest), { mode: 0o444 })
      await chmod(manifestPath, 0o444)
      await syncPath(manifestPath)
      await chmod(work, 0o555)
      await syncPath(work)
      await publish(work, join(this.#directory, name))
    } finally {
      await removeTree(work)
    }
  }

  /** Compares every file with the manifest. Throws `artifact.corrupt` naming the first few differences. */
  async verify(name: Digest, manifest: BundleManifest): Promise<void> {
    const tree = this.pathOf(name)
    const faults = await mapLimited(manifest.files, 8, (file) => faultOf(tree, file))
    const expected = new Set(manifest.files.flatMap((file) => [file.path, ...parentsOf(file.path)]))
    const present = await readdir(tree, { recursive: true })
    const strays = present.filter((path) => !expected.has(path)).map((path) => `${path} does not belong there`)
    const found = [...faults.filter((fault) => fault !== null), ...strays]
    if (found.length === 0) return
    throw new SteadError({
      code: 'artifact.corrupt',
      message: `${tree} is not what its manifest says: ${found.slice(0, 5).join('; ')}${found.length > 5 ? `; and ${found.length - 5} more` : ''}`,
      hint: 'Remove it (sweep) and make or fetch it again; something wrote to it, or the disk fails.',
    })
  }

  /** Marks a tree as used now, for `keepRecent`. */
  async touch(name: Digest, clock: Clock): Promise<void> {
    const seconds = clock.nowMs() / 1000
    await utimes(join(this.#directory, name), seconds, seconds)
  }

  /** When a tree was marked as used last, or made; milliseconds since 1970. */
  async usedMs(name: Digest): Promise<number> {
    return (await lstat(join(this.#directory, name))).mtimeMs
  }

  /** Removes all but the most recently used trees. */
  async keepRecent(countMax: number): Promise<void> {
    const aged = await mapLimited(await this.list(), concurrency, async (name) => ({
      name,
      atMs: (await lstat(join(this.#directory, name))).mtimeMs,
    }))
    for (const { name } of aged.sort((a, b) => b.atMs - a.atMs).slice(countMax)) await this.remove(name)
  }

  /** Removes a tree: out of sight first, so that it is never seen half removed. */
  async remove(name: Digest): Promise<void> {
    await discard(join(this.#directory, name))
  }
}

async function fill(tree: string, files: readonly BundleFile[], pool: FilePool): Promise<void> {
  const directories = [...new Set(files.flatMap((file) => parentsOf(file.path)))].sort()
  await mkdir(tree)
  for (const directory of directories) await mkdir(join(tree, directory))
  await mapLimited(files, concurrency, async (file) => {
    const target = join(tree, file.path)
    if (file.kind === 'file') return pool.place(file, target)
    await symlink(file.to, target)
    await sealLink(target)
  })
  for (const directory of directories.reverse()) await sealDirectory(join(tree, directory))
  await sealDirectory(tree)
}

async function faultOf(tree: string, file: BundleFile): Promise<string | null> {
  const path = join(tree, file.path)
  const info = await lstat(path).catch(() => null)
  if (info === null) return `${file.path} is missing`
  if (file.kind === 'link') {
    return info.isSymbolicLink() && (await readlink(path)) === file.to
      ? null
      : `${file.path} is not the link to ${file.to}`
  }
  if (!info.isFile()) return `${file.path} is not a file`
  if ((info.mode & 0o777) !== (file.executable ? 0o555 : 0o444)) return `${file.path} has other permissions`
  return (await digestOfFile(path)) === file.sha256 ? null : `${file.path} has other content`
}
