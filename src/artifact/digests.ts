/**
 * Remembers the digests of files by what `stat` says, so that bundling a tree again reads only what changed.
 *
 * Invariants: a digest is used only for the same inode with the same size and times; a file that changed within two
 * seconds of being read is not remembered, because a second write may leave the same times. One file of records for each
 * source directory, replaced whole, so it never holds more than the tree; at most `recordsMax` of them. Losing it costs time only.
 */
import { readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDigest, digestOf } from './manifest.ts'
import type { Digest } from './bundle.ts'
import type { SourceFile } from './scan.ts'

const recordsMax = 64
/** Coarsest step of file times that we expect (FAT, some network file systems). */
const settledMs = 2000

type Row = readonly [path: string, stamp: string, digest: Digest]

export class DigestCache {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  /** What is known about the tree under `name`: a function from a file to its digest. */
  async load(name: string): Promise<(file: SourceFile) => Digest | undefined> {
    const rows = rowsFrom(await readFile(this.#pathOf(name), 'utf8').catch(() => '[]'))
    const known = new Map(rows.map(([path, stamp, digest]) => [`${path}\0${stamp}`, digest]))
    return (file) => known.get(`${file.path}\0${file.stamp}`)
  }

  /**
   * Replaces what is known about the tree under `name`. `readAtMs`: wall clock before the first file was read. A failure
   * (a full disk) is no reason for a bundle to fail that is complete, so it only costs time next time.
   */
  async save(
    name: string,
    files: readonly (SourceFile & { readonly sha256: Digest })[],
    readAtMs: number,
  ): Promise<void> {
    const rows = files
      .filter((file) => file.changedMs < readAtMs - settledMs)
      .map((file): Row => [file.path, file.stamp, file.sha256])
    await this.#replace(this.#pathOf(name), JSON.stringify(rows)).catch(() => undefined)
  }

  async #replace(path: string, text: string): Promise<void> {
    const fresh = `${path}.${process.pid}`
    await writeFile(fresh, text, { mode: 0o600 })
    await rename(fresh, path)
    await this.#dropOldest()
  }

  #pathOf(name: string): string {
    return join(this.#directory, digestOf(name))
  }

  async #dropOldest(): Promise<void> {
    const names = await readdir(this.#directory)
    if (names.length <= recordsMax) return
    const aged = await Promise.all(
      names.map(async (name) => {
        const path = join(this.#directory, name)
        return { path, atMs: (await stat(path).catch(() => null))?.mtimeMs ?? 0 }
      }),
    )
    const oldest = aged.sort((a, b) => a.atMs - b.atMs).slice(0, names.length - recordsMax)
    for (const { path } of oldest) await rm(path, { force: true })
  }
}

function rowsFrom(text: string): Row[] {
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) ? value.filter(isRow) : []
  } catch {
    // Cut short by a crash: what it knew is read again from the files themselves.
    return []
  }
}

function isRow(value: unknown): value is Row {
  if (!Array.isArray(value) || value.length !== 3) return false
  const [path, stamp, digest] = value as readonly unknown[]
  return typeof path === 'string' && typeof stamp === 'string' && typeof digest === 'string' && isDigest(digest)
}
