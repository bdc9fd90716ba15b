/**
 * Unpacked layers, each once for all images that have it, named by the digest of its archive without compression.
 *
 * Invariants: a directory under its name is whole: it was unpacked apart, checked to its last byte and renamed. Two who want
 * the same share the work, or the second finds the first's. A layer that may not have reached the disk before the machine
 * stopped is unpacked again.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isSteadError, systemCodeOf } from '../base/index.ts'
import { digestOf, hexOf, verified, type Digest } from './digest.ts'
import type { Compression } from './documents.ts'
import { makePrivate } from './private.ts'
import { decompressed, unpackLayer, withoutSpace, type Owners, type Unpacked } from './unpack.ts'

export interface LayerSource {
  /** Of the archive without compression. */
  readonly diffId: Digest
  readonly compression: Compression
  /** Kept apart, for a file has one owner. Absent: root. */
  readonly owners?: Owners
  /** The archive as it is stored, checked by whoever gives it. */
  bytes(): AsyncIterable<Uint8Array>
}

interface LayerNote extends Unpacked {
  /** Which run of the machine's kernel unpacked it. */
  readonly boot: string
}

const litterPrefix = '.new-'
const ownedEnding = '.owned'
/** What is unpacked apart for longer than this belongs to nobody any more. */
const litterAgeMs = 24 * 3_600_000

export class LayerStore {
  readonly #directory: string
  readonly #boot: string = bootId()
  /** By the name of the directory. */
  readonly #underWay = new Map<string, Promise<string>>()

  /** The directory is made when it is first needed; nobody but root may pass it. */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** The directory of a layer, unpacked now if need be. Throws what unpacking throws, `image.wrong-digest`. */
  async need(source: LayerSource, what: string): Promise<string> {
    const name = nameOf(source)
    const running = this.#underWay.get(name)
    if (running !== undefined) return await running
    const work = this.#need(source, name, what).finally(() => this.#underWay.delete(name))
    this.#underWay.set(name, work)
    return await work
  }

  /** Removes every layer that is not named, and what was left half unpacked; answers how many there were. */
  async prune(used: ReadonlySet<Digest>, nowMs: number): Promise<number> {
    const kept = new Set([...used].map(hexOf))
    let removed = 0
    for (const name of await readdir(this.#directory).catch(() => [])) {
      const path = join(this.#directory, name)
      if (name.startsWith(litterPrefix)) {
        const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: nowMs }))
        if (nowMs - mtimeMs < litterAgeMs) continue
      } else if (kept.has(name.replace(ownedEnding, '')) || this.#underWay.has(name)) continue
      else removed++
      await this.#discard(path)
    }
    return removed
  }

  async #need(source: LayerSource, name: string, what: string): Promise<string> {
    const place = join(this.#directory, name)
    if (await this.#isWhole(place)) return join(place, 'root')
    await makePrivate(this.#directory)
    const made = await mkdtemp(join(this.#directory, litterPrefix))
    try {
      const root = join(made, 'root')
      await mkdir(root, { mode: 0o755 })
      const archive = decompressed(source.bytes(), source.compression, what)
      const checked = verified(archive, { digest: source.diffId, size: null }, what)
      const unpacked = await unpackLayer(checked, root, what, source.owners)
      const note: LayerNote = { ...unpacked, boot: this.#boot }
      await writeFile(join(made, 'layer.json'), JSON.stringify(note))
      await this.#publish(made, place)
    } catch (error) {
      await rm(made, { recursive: true, force: true })
      throw isSteadError(error) ? error : withoutSpace(error, what)
    }
    // Whoever starts from it need not wait for the disk: should the machine stop first, it is unpacked again.
    execFile('/bin/sync', ['-f', place], (error) => {
      if (error === null) void writeFile(join(place, 'synced'), '').catch(() => undefined)
    })
    return join(place, 'root')
  }

  async #publish(made: string, place: string): Promise<void> {
    try {
      await rename(made, place)
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST'].includes(systemCodeOf(error) ?? '')) throw error
      // Another process was faster; or what stands there did not reach the disk whole before the machine stopped.
      if (!(await this.#isWhole(place))) {
        await this.#discard(place)
        return await this.#publish(made, place)
      }
      await rm(made, { recursive: true, force: true })
    }
  }

  /** Out of sight at once, whatever comes between. */
  async #discard(path: string): Promise<void> {
    const apart = await mkdtemp(join(this.#directory, litterPrefix))
    await rename(path, join(apart, 'gone')).catch(() => undefined)
    await rm(apart, { recursive: true, force: true })
  }

  async #isWhole(place: string): Promise<boolean> {
    try {
      const note = JSON.parse(await readFile(join(place, 'layer.json'), 'utf8')) as LayerNote
      if (note.boot === this.#boot) return true
      await stat(join(place, 'synced'))
      return true
    } catch {
      return false
    }
  }
}

function nameOf({ diffId, owners = 'root' }: LayerSource): string {
  return `${hexOf(diffId)}${owners === 'own' ? ownedEnding : ''}`
}

/** Tells one run of the kernel from the next; where it cannot be told, one run of this program. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return digestOf(`${process.pid} ${process.hrtime.bigint()}`)
  }
}
