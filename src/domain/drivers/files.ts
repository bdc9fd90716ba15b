/**
 * The files of a domain's root, which lie outside its trees, and how its catalog is stored.
 *
 *     root/domain.json    the catalog; replaced by rename, never changed in place
 *     root/lock           held by whoever has the domain open
 *     root/ballast        a little space kept for the catalog, see CatalogFile
 *     root/image          the disk image of the btrfs driver, where it needs one
 *     root/trees/N/data   the trees, numbered; `trees` is where the image is mounted
 */
import { open, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SteadError, messageOf, systemCodeOf } from '../../base/index.ts'
import { type Catalog, decodeCatalog, encodeCatalog } from '../catalog.ts'
import type { DomainUsage } from '../driver.ts'

const ballastBytes = 256 * 1024

/** Where things are in a domain's root. */
export function layout(root: string): {
  readonly catalog: string
  readonly lock: string
  readonly ballast: string
  readonly image: string
  readonly trees: string
} {
  const at = (name: string): string => join(root, name)
  return {
    catalog: at('domain.json'),
    lock: at('lock'),
    ballast: at('ballast'),
    image: at('image'),
    trees: at('trees'),
  }
}

/**
 * The stored catalog. On a full disk even deleting a copy needs room for the new catalog; so some is kept as ballast,
 * which is given up for that and taken back when there is room again.
 */
export class CatalogFile {
  readonly path: string
  readonly #root: string
  readonly #ballast: string

  constructor(root: string) {
    this.#root = root
    this.path = layout(root).catalog
    this.#ballast = layout(root).ballast
  }

  /** The stored catalog, or null when there is none. Throws `domain.corrupt`, `domain.newer-version`. */
  async read(): Promise<Catalog | null> {
    try {
      return decodeCatalog(await readFile(this.path, 'utf8'), this.path)
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return null
      throw error
    }
  }

  /** Replaces the catalog: when this returns every reader sees the new one. Throws `domain.disk-full` and leaves the old. */
  async replace(catalog: Catalog): Promise<void> {
    const text = encodeCatalog(catalog)
    try {
      await this.#write(text).catch(async (error: unknown) => {
        if (systemCodeOf(error) !== 'ENOSPC') throw error
        await rm(this.#ballast, { force: true })
        await this.#write(text)
      })
    } catch (cause) {
      await rm(`${this.path}.new`, { force: true })
      if (systemCodeOf(cause) !== 'ENOSPC') throw cause
      throw new SteadError({
        code: 'domain.disk-full',
        message: `The disk has no room for the domain's record ${this.path}.`,
        hint: 'Make room on the disk; nothing was changed.',
        retry: 'later',
        cause,
      })
    }
  }

  /** Makes the last replacement survive a loss of power, and takes ballast in again. */
  async settle(): Promise<void> {
    await syncDirectory(this.#root)
    const kept = await stat(this.#ballast).catch(() => null)
    if (kept !== null && kept.size === ballastBytes) return
    // Random-looking bytes are not needed: what matters is that blocks are written, so it must not be a hole.
    await writeFile(this.#ballast, Buffer.alloc(ballastBytes, 'ballast ')).catch((error: unknown) => {
      if (systemCodeOf(error) !== 'ENOSPC') throw error
    })
  }

  async #write(text: string): Promise<void> {
    await using file = await open(`${this.path}.new`, 'w', 0o600)
    await file.writeFile(text)
    await file.sync()
    await rename(`${this.path}.new`, this.path)
  }
}

/** Makes renames and new names in a directory survive a loss of power. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r')
  await directory.sync()
}

/** Size and free space of the file system that holds `path`. */
export async function usageOf(path: string): Promise<DomainUsage> {
  const { bsize, blocks, bavail } = await statfs(path)
  return { totalBytes: bsize * blocks, freeBytes: bsize * bavail }
}

/** What a host's disk of that size must keep free: the larger of 5 % and 1 GB. */
export function defaultReserveBytes(totalBytes: number): number {
  return Math.max(totalBytes * 0.05, 1e9)
}

/** Throws `domain.disk-full` when `neededBytes` more under `path` would leave less than the reserve. */
export async function ensureRoom(
  what: string,
  path: string,
  neededBytes: number,
  reserveBytes: (totalBytes: number) => number,
): Promise<void> {
  const { totalBytes, freeBytes } = await usageOf(path)
  const keptBytes = reserveBytes(totalBytes)
  if (freeBytes - neededBytes >= keptBytes) return
  throw new SteadError({
    code: 'domain.disk-full',
    message:
      `Could not ${what}: the disk under ${path} has ${gigabytes(freeBytes)} of ${gigabytes(totalBytes)} free, ` +
      `${gigabytes(neededBytes)} are needed, and ${gigabytes(keptBytes)} must stay free.`,
    hint: 'Make room on the disk, delete old copies, or ask for a smaller domain.',
    retry: 'later',
  })
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`
}

/** The error for what the system refused, or failed at, under a domain. */
export function unexpected(what: string, cause: unknown): SteadError {
  return new SteadError({ code: 'domain.tool-failed', message: `Could not ${what}: ${messageOf(cause)}.`, cause })
}
