/**
 * The bytes of objects, under the SHA-256 of what they are. Small ones lie in the index, others in files. A file gets its
 * name only when it is whole and on the disk; one that no object refers to any more is removed after the commit that says so,
 * unless somebody is reading or writing it. What a crash leaves behind is unreferenced, and `sweep` finds it.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, renameSync, rmSync, unlinkSync } from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { randomId, systemCodeOf } from '../../../base/index.ts'
import type { Random } from '../../../base/index.ts'
import { S3Failure } from '../../s3/failure.ts'
import type { Index } from './commits.ts'
import type { Place } from './place.ts'

/** Objects up to this many bytes lie in the index: one fsync instead of three. */
export const inlineBytesMax: number = 16 * 1024
const readBytes = 256 * 1024
const writeBytes = 512 * 1024
const idleMax = 16

/** Bytes of an object: a stretch of one blob. */
export type Segment = readonly [hash: string, start: number, bytes: number]

/** Bytes that are on the disk, or in memory where they are small, and pinned until released. */
export interface Stored extends Disposable {
  readonly hash: string
  readonly bytes: number
  /** What the index is to hold; undefined where a file does. */
  readonly data: Uint8Array | undefined
}

export class Blobs {
  readonly #place: Place
  readonly #index: Index
  readonly #random: Random
  readonly #pins = new Map<string, number>()
  /** Buffers of readings that have come to their end: fresh ones would cost more than what is read into them. */
  readonly #idle: Buffer[] = []

  constructor(place: Place, index: Index, random: Random) {
    this.#place = place
    this.#index = index
    this.#random = random
    for (const name of readdirSync(place.incomingDir)) rmSync(join(place.incomingDir, name), { force: true })
  }

  /** Takes bytes until they end, and makes them durable. What fails leaves nothing behind. */
  async store(source: AsyncIterable<Uint8Array>): Promise<Stored> {
    const hash = createHash('sha256')
    let [bytes, held] = [0, 0]
    let pieces: Uint8Array[] = []
    let file: IncomingFile | undefined
    try {
      for await (const piece of source) {
        hash.update(piece)
        bytes += piece.length
        held += piece.length
        pieces.push(piece)
        if (held < (file === undefined ? inlineBytesMax + 1 : writeBytes)) continue
        file ??= await this.#create()
        await writeAll(file.handle, pieces)
        pieces = []
        held = 0
      }
      const name = hash.digest('hex')
      if (file === undefined) return this.#pinned(name, bytes, Buffer.concat(pieces))
      if (held > 0) await writeAll(file.handle, pieces)
      return await this.#keep(file, name, bytes)
    } catch (error) {
      if (file !== undefined) rmSync(file.path, { force: true })
      throw error
    } finally {
      await file?.handle.close()
    }
  }

  /**
   * Gives a whole file its name, durably. Where nobody has this content yet, it gets the name before it is synced, so that one
   * commit of the file system's journal holds both: what a crash leaves under the name then is referred to by nothing.
   * Otherwise the name may stand for bytes that somebody was promised, and only ones that are on the disk may replace them.
   */
  async #keep(file: IncomingFile, name: string, bytes: number): Promise<Stored> {
    const shard = join(this.#place.blobsDir, name.slice(0, 2))
    if (mkdirSync(shard, { recursive: true, mode: 0o700 }) !== undefined) await syncDirectory(this.#place.blobsDir)
    const isNew = !this.#pins.has(name) && !this.#isReferred(name)
    const pinned = this.#pinned(name, bytes, undefined)
    try {
      if (!isNew) await file.handle.sync()
      renameSync(file.path, this.#pathOf(name))
      if (isNew) await file.handle.sync()
      await syncDirectory(shard)
      return pinned
    } catch (error) {
      pinned[Symbol.dispose]()
      throw error
    }
  }

  #isReferred(hash: string): boolean {
    return this.#index.get('SELECT 1 FROM blobs WHERE hash = ?', hash) !== undefined
  }

  async #create(): Promise<IncomingFile> {
    const path = join(this.#place.incomingDir, randomId(this.#random, 20))
    return { path, handle: await open(path, 'wx', 0o600) }
  }

  #pinned(hash: string, bytes: number, data: Uint8Array | undefined): Stored {
    this.#pin(hash)
    return { hash, bytes, data, [Symbol.dispose]: () => this.#unpin(hash) }
  }

  /** Inside a transaction: one more reference. `data` is what the index holds of a blob it does not know yet. */
  refer(hash: string, bytes: number, data: Uint8Array | undefined): void {
    if (this.#index.run('UPDATE blobs SET refs = refs + 1 WHERE hash = ?', hash) > 0) return
    this.#index.run('INSERT INTO blobs (hash, bytes, refs, data) VALUES (?, ?, 1, ?)', hash, bytes, data ?? null)
  }

  /** Inside a transaction: segments of an object have one more owner. Throws NoSuchKey where the object has gone meanwhile. */
  referAgain(segments: readonly Segment[]): void {
    for (const [hash] of segments) {
      if (this.#index.run('UPDATE blobs SET refs = refs + 1 WHERE hash = ?', hash) === 0)
        throw new S3Failure('NoSuchKey')
    }
  }

  /** Inside a transaction: these segments have one owner less. What has none goes after the commit. */
  release(segments: readonly Segment[]): void {
    for (const [hash] of segments) {
      this.#index.run('UPDATE blobs SET refs = refs - 1 WHERE hash = ?', hash)
      if (this.#index.run('DELETE FROM blobs WHERE hash = ? AND refs <= 0', hash) > 0) {
        this.#index.afterCommit(() => this.#removeUnused(hash))
      }
    }
  }

  /**
   * The bytes of segments from `start` to before `end`. From this call on they cannot be removed, until the reading ends or is
   * given up: whoever asks must do one of both. `reuse`: all pieces come in one buffer, so each is good until the next is asked
   * for; a server that sends gigabytes would otherwise leave as many for the collector.
   */
  read(segments: readonly Segment[], start: number, end: number, reuse = false): AsyncIterableIterator<Uint8Array> {
    for (const [hash] of segments) this.#pin(hash)
    let open = true
    const release = (): void => {
      if (!open) return
      open = false
      for (const [hash] of segments) this.#unpin(hash)
    }
    const lent: Lent | undefined = reuse ? { buffer: undefined } : undefined
    const pieces = this.#readSegments(segments, start, end, lent)
    const giveBack = (): void => {
      if (lent?.buffer !== undefined && this.#idle.length < idleMax) this.#idle.push(lent.buffer)
    }
    const reading: AsyncIterableIterator<Uint8Array> = {
      async next() {
        try {
          const piece = await pieces.next()
          if (piece.done === true) {
            release()
            giveBack()
          }
          return piece
        } catch (error) {
          release()
          throw error
        }
      },
      async return() {
        await pieces.return(undefined)
        release()
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]: () => reading,
    }
    return reading
  }

  async *#readSegments(
    segments: readonly Segment[],
    start: number,
    end: number,
    lent: Lent | undefined,
  ): AsyncGenerator<Uint8Array> {
    let at = 0
    for (const [hash, offset, bytes] of segments) {
      const [from, to] = [Math.max(start - at, 0), Math.min(end - at, bytes)]
      if (from < to) yield* this.#readBlob(hash, offset + from, offset + to, lent)
      at += bytes
    }
  }

  async *#readBlob(hash: string, start: number, end: number, lent: Lent | undefined): AsyncGenerator<Uint8Array> {
    const data = this.#index.get('SELECT data FROM blobs WHERE hash = ?', hash)?.bytes('data')
    if (data !== undefined) {
      yield data.subarray(start, end)
      return
    }
    const handle = await open(this.#pathOf(hash), 'r')
    try {
      for (let at = start; at < end;) {
        const bytes = Math.min(readBytes, end - at)
        const buffer = this.#bufferFor(lent, bytes)
        const { bytesRead } = await handle.read(buffer, 0, bytes, at)
        if (bytesRead === 0) throw new Error(`the file of ${hash} is shorter than the index says`)
        yield buffer.subarray(0, bytesRead)
        at += bytesRead
      }
    } finally {
      await handle.close()
    }
  }

  #bufferFor(lent: Lent | undefined, bytes: number): Buffer {
    if (lent === undefined) return Buffer.allocUnsafe(bytes)
    lent.buffer ??= this.#idle.pop() ?? Buffer.allocUnsafeSlow(readBytes)
    return lent.buffer
  }

  /** Removes files that nothing refers to, one directory at a time; says how many. For after a crash. */
  async sweep(signal?: AbortSignal): Promise<number> {
    let removed = 0
    for (const shard of readdirSync(this.#place.blobsDir)) {
      if (signal?.aborted === true) return removed
      for (const rest of readdirSync(join(this.#place.blobsDir, shard))) {
        if (this.#removeUnused(`${shard}${rest}`)) removed += 1
      }
      await new Promise(setImmediate)
    }
    return removed
  }

  #removeUnused(hash: string): boolean {
    if (this.#pins.has(hash) || this.#index.isClosed) return false
    if (this.#isReferred(hash)) return false
    try {
      unlinkSync(this.#pathOf(hash))
      return true
    } catch (error) {
      // Small ones have no file, and a file that cannot be removed now is found by the next sweep.
      if (systemCodeOf(error) === undefined) throw error
      return false
    }
  }

  #pathOf(hash: string): string {
    return join(this.#place.blobsDir, hash.slice(0, 2), hash.slice(2))
  }

  #pin(hash: string): void {
    this.#pins.set(hash, (this.#pins.get(hash) ?? 0) + 1)
  }

  #unpin(hash: string): void {
    const left = (this.#pins.get(hash) ?? 1) - 1
    if (left > 0) this.#pins.set(hash, left)
    else {
      this.#pins.delete(hash)
      this.#removeUnused(hash)
    }
  }
}

/** The buffer of one reading, once it needs one. */
interface Lent {
  buffer: Buffer | undefined
}

interface IncomingFile {
  readonly path: string
  readonly handle: FileHandle
}

/** Writes all of the pieces; the system may take less at once when the disk is nearly full. */
async function writeAll(handle: FileHandle, pieces: readonly Uint8Array[]): Promise<void> {
  const { bytesWritten } = await handle.writev(pieces)
  if (bytesWritten === pieces.reduce((sum, piece) => sum + piece.length, 0)) return
  await handle.writeFile(Buffer.concat(pieces).subarray(bytesWritten))
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
