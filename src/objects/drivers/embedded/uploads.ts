/**
 * Uploads in parts, in the index. A part that is sent again replaces the one before. Completing makes one version out of the
 * parts' own bytes, without copying, and forgets the upload; giving up releases what was sent. Changes run inside a
 * transaction.
 */
import { createHash } from 'node:crypto'
import { combineChecksums } from '../../s3/checksums.ts'
import type { Checksum, ChecksumAlgorithm } from '../../s3/checksums.ts'
import { S3Failure } from '../../s3/failure.ts'
import type { Blobs, Segment } from './blobs.ts'
import type { Index } from './commits.ts'
import { partOf, uploadOf } from './records.ts'
import type { PartInfo, PartRecord, UploadRecord } from './records.ts'

export const partsMax = 10_000
export const uploadsMax = 10_000
export const partBytesMin: number = 5 * 1024 * 1024

/** A part as the client lists it when it completes. */
export interface NamedPart {
  readonly number: number
  readonly etag: string
  readonly checksum: { readonly algorithm: ChecksumAlgorithm; readonly value: string } | undefined
}

/** What the parts of an upload make. */
export interface Assembled {
  readonly bytes: number
  readonly etag: string
  readonly segments: readonly Segment[]
  readonly parts: readonly PartInfo[]
  readonly checksum: Checksum | undefined
}

export class Uploads {
  readonly #index: Index
  readonly #blobs: Blobs

  constructor(index: Index, blobs: Blobs) {
    this.#index = index
    this.#blobs = blobs
  }

  /** Throws NoSuchUpload, also where the upload belongs to another key. */
  get(bucket: string, key: string, id: string): UploadRecord {
    const row = this.#index.get('SELECT * FROM uploads WHERE id = ? AND bucket = ? AND key = ?', id, bucket, key)
    if (row === undefined) throw new S3Failure('NoSuchUpload')
    return uploadOf(row)
  }

  create(upload: UploadRecord): void {
    const held = this.#index.get('SELECT count(*) AS held FROM uploads WHERE bucket = ?', upload.bucket)?.number('held')
    if ((held ?? 0) >= uploadsMax) throw new S3Failure('SlowDown', 'The bucket has too many unfinished uploads.')
    const sql =
      'INSERT INTO uploads (id, bucket, key, created_ms, owner, info, tags, lock, acl) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)'
    const { id, bucket, key, createdMs, owner, info, tags, lock, acl } = upload
    const texts = [info, tags, lock, acl].map((value) => JSON.stringify(value))
    this.#index.run(sql, id, bucket, key, createdMs, owner, ...texts)
  }

  putPart(upload: UploadRecord, part: PartRecord): void {
    this.get(upload.bucket, upload.key, upload.id)
    const replaced = this.#index.get('SELECT * FROM parts WHERE upload = ? AND number = ?', upload.id, part.number)
    if (replaced !== undefined) this.#blobs.release(partOf(replaced).segments)
    const sql =
      'INSERT OR REPLACE INTO parts (upload, number, bytes, etag, modified_ms, checksum, segments) VALUES (?, ?, ?, ?, ?, ?, ?)'
    const { number, bytes, etag, modifiedMs, checksum, segments } = part
    const sum = checksum === undefined ? null : JSON.stringify(checksum)
    this.#index.run(sql, upload.id, number, bytes, etag, modifiedMs, sum, JSON.stringify(segments))
  }

  /** Parts after a number, in order. */
  parts(id: string, after: number, limit: number): readonly PartRecord[] {
    const sql = 'SELECT * FROM parts WHERE upload = ? AND number > ? ORDER BY number LIMIT ?'
    return this.#index.all(sql, id, after, limit).map(partOf)
  }

  /** What the parts make. Throws InvalidPart, InvalidPartOrder, EntityTooSmall or MalformedXML. */
  assemble(upload: UploadRecord, named: readonly NamedPart[]): Assembled {
    if (named.length === 0) throw new S3Failure('MalformedXML', 'The list of parts is empty.')
    if (named.some((part, index) => index > 0 && part.number <= (named[index - 1]?.number ?? 0))) {
      throw new S3Failure('InvalidPartOrder')
    }
    const held = new Map(this.parts(upload.id, 0, partsMax).map((part) => [part.number, part]))
    const parts = named.map((name) => {
      const part = held.get(name.number)
      const differs = part === undefined || part.etag !== name.etag.replaceAll('"', '')
      if (differs || (name.checksum !== undefined && name.checksum.value !== part.checksum?.value)) {
        throw new S3Failure('InvalidPart', `Part ${name.number} was not found, or differs from what was uploaded.`)
      }
      return part
    })
    if (parts.slice(0, -1).some((part) => part.bytes < partBytesMin)) throw new S3Failure('EntityTooSmall')
    const digest = createHash('md5')
    for (const part of parts) digest.update(part.etag, 'hex')
    return {
      bytes: parts.reduce((sum, part) => sum + part.bytes, 0),
      etag: `${digest.digest('hex')}-${parts.length}`,
      segments: parts.flatMap((part) => part.segments),
      parts: parts.map(({ number, bytes, checksum }) => ({
        number,
        bytes,
        ...(checksum && { checksum: checksum.value }),
      })),
      checksum: checksumOf(upload, parts),
    }
  }

  /** Forgets the upload; the segments of `kept` go on being referred to by the version that was made of them. */
  forget(upload: UploadRecord, kept: readonly Segment[]): void {
    this.#blobs.referAgain(kept)
    for (const part of this.parts(upload.id, 0, partsMax)) this.#blobs.release(part.segments)
    this.#index.run('DELETE FROM parts WHERE upload = ?', upload.id)
    this.#index.run('DELETE FROM uploads WHERE id = ?', upload.id)
  }

  /** All uploads of a bucket, in the order of keys, then ids. */
  all(bucket: string): readonly UploadRecord[] {
    return this.#index.all('SELECT * FROM uploads WHERE bucket = ? ORDER BY key, id', bucket).map(uploadOf)
  }
}

function checksumOf(upload: UploadRecord, parts: readonly PartRecord[]): Checksum | undefined {
  const wanted = upload.info.checksum
  if (wanted === undefined) return undefined
  const sums = parts.flatMap(({ checksum, bytes }) =>
    checksum?.algorithm === wanted.algorithm ? [{ value: checksum.value, bytes }] : [],
  )
  if (sums.length < parts.length) {
    if (wanted.asked) throw new S3Failure('InvalidPart', `A part was uploaded without its ${wanted.algorithm}.`)
    return undefined
  }
  return combineChecksums(wanted.algorithm, wanted.type, sums)
}
