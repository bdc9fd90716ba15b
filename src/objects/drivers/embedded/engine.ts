/**
 * The embedded store without its protocol: bytes in and out, versions, uploads, listing, expiry, all below one directory. What
 * it has answered as written is on the disk. At any moment of a crash a key holds the old object or the new one, and what
 * nobody refers to is swept away at the next start.
 */
import { createHash } from 'node:crypto'
import { randomId, systemClock, systemRandom } from '../../../base/index.ts'
import type { Clock, Random } from '../../../base/index.ts'
import { startChecksum } from '../../s3/checksums.ts'
import type { ChecksumAlgorithm } from '../../s3/checksums.ts'
import type { WriteConditions } from '../../s3/conditions.ts'
import { hasExpired, isOfVersions, uploadHasExpired } from '../../s3/lifecycle.ts'
import { checkDeletable } from '../../s3/lock.ts'
import { Blobs } from './blobs.ts'
import type { Segment } from './blobs.ts'
import { Buckets } from './buckets.ts'
import { Index } from './commits.ts'
import { listVersions } from './listing.ts'
import type { Place as ListPlace } from './listing.ts'
import { openPlace, placeFailure } from './place.ts'
import type { Place } from './place.ts'
import type { BucketRecord, NewVersion, PartRecord, UploadRecord, VersionRecord } from './records.ts'
import { Uploads } from './uploads.ts'
import { Usage } from './usage.ts'
import type { NamedPart } from './uploads.ts'
import { Versions } from './versions.ts'
import type { Deleted, Deletion } from './versions.ts'

export interface EngineOptions {
  /** All state lies below it; made when it is not there. */
  readonly dir: string
  /**
   * The generation of the domain the directory lies in; 1 without one. It is part of every id and cursor that is handed out,
   * so none of an abandoned time can mean something now.
   */
  readonly generation?: number
  /** The most bytes that a bucket may hold, all versions together; null: as many as there is room for. By default none has a limit. */
  readonly quotaBytes?: (bucket: string) => number | null
  readonly clock?: Clock
  readonly random?: Random
}

/** Bytes that have been taken in and are durable but belong to nothing yet. */
export interface Received extends Disposable {
  readonly segment: Segment
  readonly data: Uint8Array | undefined
  readonly bytes: number
  /** Hexadecimal. */
  readonly md5: string
  /** Hexadecimal. */
  readonly sha256: string
  readonly checksums: ReadonlyMap<ChecksumAlgorithm, string>
}

const expiredPerPassMax = 1000

/** Opens the engine. Throws what `openPlace` does. */
export function openEngine(options: EngineOptions): Engine {
  return new Engine(openPlace(options.dir), options)
}

export class Engine implements AsyncDisposable {
  readonly index: Index
  readonly buckets: Buckets
  readonly versions: Versions
  readonly uploads: Uploads
  readonly blobs: Blobs
  readonly usage: Usage
  readonly nowMs: () => number
  readonly #dir: string
  readonly #random: Random
  #generation: number
  readonly #closing = new AbortController()
  readonly #sweeping: Promise<unknown>

  constructor(place: Place, options: EngineOptions) {
    const clock = options.clock ?? systemClock
    this.#dir = place.dir
    this.#random = options.random ?? systemRandom
    this.#generation = options.generation ?? 1
    this.nowMs = () => clock.nowMs()
    this.index = new Index(place.db, () => clock.monotonicMs())
    this.blobs = new Blobs(place, this.index, this.#random)
    this.buckets = new Buckets(this.index)
    this.versions = new Versions(this.index, this.blobs, () => this.newId(), this.nowMs)
    this.uploads = new Uploads(this.index, this.blobs)
    this.usage = new Usage(place.db, this.index, options.quotaBytes ?? (() => null))
    // A sweep that fails has removed less; the next one goes on.
    this.#sweeping = this.blobs.sweep(this.#closing.signal).catch(() => 0)
  }

  get generation(): number {
    return this.#generation
  }

  /** From now on ids and cursors are of a later generation: the directory has gone back to an earlier state. */
  advance(generation: number): void {
    this.#generation = Math.max(this.#generation, generation)
  }

  /** A new id of a version or upload: the generation, then chance. */
  newId(): string {
    return `${this.#generation.toString(36)}.${randomId(this.#random, 26)}`
  }

  /** Takes bytes in and makes them durable; they go again when nothing refers to them at the end of the scope. */
  async receive(source: AsyncIterable<Uint8Array>, algorithms: readonly ChecksumAlgorithm[]): Promise<Received> {
    const md5 = createHash('md5')
    const sums = algorithms.map((name) => [name, startChecksum(name)] as const)
    const counted = async function* (): AsyncGenerator<Uint8Array> {
      for await (const piece of source) {
        md5.update(piece)
        for (const [, sum] of sums) sum.update(piece)
        yield piece
      }
    }
    const stored = await this.#foreseen(() => this.blobs.store(counted()))
    return {
      segment: [stored.hash, 0, stored.bytes],
      data: stored.data,
      bytes: stored.bytes,
      md5: md5.digest('hex'),
      sha256: stored.hash,
      checksums: new Map(sums.map(([name, sum]) => [name, sum.digest()])),
      [Symbol.dispose]: () => stored[Symbol.dispose](),
    }
  }

  /** Runs a change of the index; resolves when it is durable. */
  commit<T>(work: () => T): Promise<T> {
    return this.#foreseen(() => this.index.commit(work))
  }

  /** Writes what was received as the latest version. Throws what `Versions.put` does. */
  putObject(
    received: Received,
    next: Omit<NewVersion, 'segments' | 'bytes'>,
    conditions: WriteConditions,
  ): Promise<VersionRecord> {
    return this.commit(() => {
      const bucket = this.buckets.get(next.bucket)
      const [hash, , bytes] = received.segment
      this.blobs.refer(hash, bytes, received.data)
      const version = { ...next, bytes, segments: bytes === 0 ? [] : [received.segment] }
      if (bytes === 0) this.blobs.release([received.segment])
      return this.usage.counting(next.bucket, 'put', () => this.versions.put(bucket.versioning, version, conditions))
    })
  }

  /** Writes a version of bytes that other versions hold already: nothing is copied. */
  linkObject(next: NewVersion, conditions: WriteConditions): Promise<VersionRecord> {
    return this.commit(() => {
      const bucket = this.buckets.get(next.bucket)
      this.blobs.referAgain(next.segments)
      return this.usage.counting(next.bucket, 'put', () => this.versions.put(bucket.versioning, next, conditions))
    })
  }

  /** Removes or hides an object. */
  deleteObject(bucket: string, key: string, deletion: Deletion): Promise<Deleted> {
    return this.commit(() => {
      const { versioning } = this.buckets.get(bucket)
      return this.usage.counting(bucket, 'delete', () => this.versions.delete(versioning, bucket, key, deletion))
    })
  }

  /** Adds a part. The upload must still be there when the part is. */
  putPart(
    upload: UploadRecord,
    part: Omit<PartRecord, 'segments' | 'bytes' | 'modifiedMs'>,
    received: Received,
  ): Promise<PartRecord> {
    return this.commit(() => {
      const [hash, , bytes] = received.segment
      this.blobs.refer(hash, bytes, received.data)
      const record = { ...part, bytes, modifiedMs: this.nowMs(), segments: [received.segment] }
      this.uploads.putPart(upload, record)
      return record
    })
  }

  /** Adds a part out of bytes that an object holds. */
  linkPart(upload: UploadRecord, part: Omit<PartRecord, 'modifiedMs'>): Promise<PartRecord> {
    return this.commit(() => {
      this.blobs.referAgain(part.segments)
      const record = { ...part, modifiedMs: this.nowMs() }
      this.uploads.putPart(upload, record)
      return record
    })
  }

  /** Makes an object of the parts. `check` sees what it will be, and may throw. */
  completeUpload(
    upload: UploadRecord,
    named: readonly NamedPart[],
    conditions: WriteConditions,
    check: (version: NewVersion) => void,
  ): Promise<VersionRecord> {
    return this.commit(() => {
      const current = this.uploads.get(upload.bucket, upload.key, upload.id)
      const { checksum, parts, ...made } = this.uploads.assemble(current, named)
      const { headers, metadata } = current.info
      const info = { headers, metadata, parts, upload: current.id, ...(checksum && { checksum }) }
      const { bucket, key, owner, tags, lock, acl } = current
      const next: NewVersion = { ...made, bucket, key, owner, tags, lock, acl, info }
      check(next)
      this.uploads.forget(current, next.segments)
      const { versioning } = this.buckets.get(bucket)
      return this.usage.counting(bucket, 'put', () => this.versions.put(versioning, next, conditions))
    })
  }

  abortUpload(upload: UploadRecord): Promise<void> {
    return this.commit(() => this.uploads.forget(this.uploads.get(upload.bucket, upload.key, upload.id), []))
  }

  /** Removes a bucket that holds no versions, and gives up its uploads. */
  deleteBucket(name: string): Promise<void> {
    return this.commit(() => {
      this.buckets.remove(this.buckets.get(name).name)
      for (const upload of this.uploads.all(name)) this.uploads.forget(upload, [])
    })
  }

  /** The bytes of an object from `start` to before `end`; to be read to their end or given up with `return`. `reuse`: each piece is good until the next is asked for. */
  read(
    version: Pick<VersionRecord, 'segments'>,
    start: number,
    end: number,
    reuse = false,
  ): AsyncIterableIterator<Uint8Array> {
    return this.blobs.read(version.segments, start, end, reuse)
  }

  /** One pass of expiry over all buckets; says how many versions and uploads went. At most 1,000 of each bucket a pass. */
  async expire(): Promise<number> {
    let gone = 0
    for (const bucket of this.buckets.list(undefined)) {
      const rules = bucket.settings.lifecycle ?? []
      // Looking at every version takes its time: not where no rule is about them.
      if (rules.some(isOfVersions)) gone += await this.#expireVersions(bucket)
      gone += await this.#expireUploads(bucket)
    }
    return gone
  }

  async #expireVersions(bucket: BucketRecord): Promise<number> {
    const rules = bucket.settings.lifecycle ?? []
    let [gone, newerNoncurrent] = [0, 0]
    let newer: VersionRecord | undefined
    let from: ListPlace | undefined = { key: '', seq: 0 }
    while (from !== undefined && gone < expiredPerPassMax) {
      const page = listVersions(this.index, { bucket: bucket.name, prefix: '', delimiter: '', limit: 500 }, from)
      for (const [at, version] of page.items.entries()) {
        const replacedBy = newer?.key === version.key ? newer : undefined
        newerNoncurrent = replacedBy === undefined || replacedBy.isLatest ? 0 : newerNoncurrent + 1
        const next = page.items[at + 1]
        const aging = {
          ...version,
          sizeBytes: version.bytes,
          replacedMs: replacedBy?.modifiedMs,
          newerNoncurrent,
          alone: replacedBy === undefined && (next === undefined ? page.next === undefined : next.key !== version.key),
        }
        if (hasExpired(rules, aging, this.nowMs()) && (await this.#expireOne(bucket, version))) gone += 1
        newer = version
      }
      from = page.next
      await new Promise(setImmediate)
    }
    return gone
  }

  /** A current version is hidden where versions are kept, others are removed. One that is locked stays. */
  #expireOne(bucket: BucketRecord, version: VersionRecord): Promise<boolean> {
    return this.commit(() => {
      const found = this.versions.find(bucket.name, version.key, version.version)
      if (found === undefined || found.seq !== version.seq || found.isLatest !== version.isLatest) return false
      const hide = found.isLatest && !found.isMarker && bucket.versioning === 'enabled'
      if (!hide) {
        try {
          checkDeletable(found.lock, this.nowMs(), false)
        } catch {
          return false
        }
      }
      const deletion = {
        version: hide ? undefined : found.version,
        conditions: { match: undefined, noneMatch: undefined },
      }
      const whole = { ...deletion, bypassGovernance: false, owner: bucket.owner }
      this.usage.counting(bucket.name, 'delete', () =>
        this.versions.delete(bucket.versioning, bucket.name, found.key, whole),
      )
      return true
    })
  }

  async #expireUploads(bucket: BucketRecord): Promise<number> {
    const rules = bucket.settings.lifecycle ?? []
    const due = this.uploads
      .all(bucket.name)
      .filter((upload) => uploadHasExpired(rules, upload.key, upload.createdMs, this.nowMs()))
    for (const upload of due) await this.abortUpload(upload)
    return due.length
  }

  /** Resolves when the sweep that opening began has ended. */
  async swept(): Promise<void> {
    await this.#sweeping
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#sweeping
    await this.index.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #foreseen<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw placeFailure(error, this.#dir)
    }
  }
}
