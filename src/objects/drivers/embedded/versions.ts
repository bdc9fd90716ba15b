/**
 * Versions of objects in the index: what is written, replaced, hidden behind a delete marker and removed. Of each key at most
 * one version is the latest, and at most one has the name `null`. Changes run inside a transaction, so a condition that is
 * looked at there has one winner.
 */
import { checkWrite, matches } from '../../s3/conditions.ts'
import type { WriteConditions } from '../../s3/conditions.ts'
import { S3Failure } from '../../s3/failure.ts'
import { checkDeletable } from '../../s3/lock.ts'
import type { ObjectLock } from '../../s3/lock.ts'
import type { Tags } from '../../s3/tags.ts'
import type { Grant } from '../../s3/acl.ts'
import type { Blobs } from './blobs.ts'
import type { Index } from './commits.ts'
import { versionColumns, versionOf } from './records.ts'
import type { NewVersion, VersionRecord, Versioning } from './records.ts'

export const nullVersion = 'null'

/** How a deletion went. */
export interface Deleted {
  /** The version that was removed, or the marker that was made. */
  readonly version: string | undefined
  readonly isMarker: boolean
}

/** What a deletion is told beside the key. */
export interface Deletion {
  readonly version: string | undefined
  readonly conditions: WriteConditions
  readonly bypassGovernance: boolean
  readonly owner: string
}

export class Versions {
  readonly #index: Index
  readonly #blobs: Blobs
  readonly #newId: () => string
  readonly #nowMs: () => number

  constructor(index: Index, blobs: Blobs, newId: () => string, nowMs: () => number) {
    this.#index = index
    this.#blobs = blobs
    this.#newId = newId
    this.#nowMs = nowMs
  }

  /** The latest version of a key, a marker among them; or the version of a name. */
  find(bucket: string, key: string, version?: string): VersionRecord | undefined {
    const row =
      version === undefined
        ? this.#index.get(
            `SELECT ${versionColumns} FROM versions WHERE bucket = ? AND key = ? AND latest = 1`,
            bucket,
            key,
          )
        : this.#index.get(
            `SELECT ${versionColumns} FROM versions WHERE bucket = ? AND key = ? AND version = ?`,
            bucket,
            key,
            version,
          )
    return row === undefined ? undefined : versionOf(row)
  }

  /** An object that can be read. Throws NoSuchKey, NoSuchVersion or MethodNotAllowed, telling of a marker. */
  get(bucket: string, key: string, version?: string): VersionRecord {
    const found = this.find(bucket, key, version)
    if (found === undefined) throw new S3Failure(version === undefined ? 'NoSuchKey' : 'NoSuchVersion')
    if (!found.isMarker) return found
    const headers = { 'x-amz-delete-marker': 'true', 'x-amz-version-id': found.version }
    if (version === undefined) throw new S3Failure('NoSuchKey', undefined, headers)
    throw new S3Failure('MethodNotAllowed', 'The version is a delete marker.', {
      ...headers,
      allow: 'DELETE',
      'last-modified': new Date(found.modifiedMs).toUTCString(),
    })
  }

  /**
   * Writes a version as the latest. The blobs of its segments must be referred to already. Throws PreconditionFailed or
   * NoSuchKey where a condition does not hold, AccessDenied where a locked version would be overwritten.
   */
  put(versioning: Versioning, next: NewVersion, conditions: WriteConditions): VersionRecord {
    const current = this.find(next.bucket, next.key)
    checkWrite(conditions, current === undefined || current.isMarker ? undefined : current)
    return this.#write(versioning, next, false)
  }

  #write(versioning: Versioning, next: NewVersion, isMarker: boolean): VersionRecord {
    const version = versioning === 'enabled' ? this.#newId() : nullVersion
    if (version === nullVersion) this.#dropNull(next.bucket, next.key)
    this.#index.run('UPDATE versions SET latest = 0 WHERE bucket = ? AND key = ? AND latest = 1', next.bucket, next.key)
    const modifiedMs = this.#nowMs()
    const columns = versionColumns.replace('seq, ', '')
    const row = this.#index.get(
      `INSERT INTO versions (${columns}) VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq`,
      next.bucket,
      next.key,
      version,
      isMarker ? 1 : 0,
      next.bytes,
      next.etag,
      modifiedMs,
      next.owner,
      JSON.stringify(next.info),
      JSON.stringify(next.segments),
      JSON.stringify(next.tags),
      JSON.stringify(next.lock),
      JSON.stringify(next.acl),
    )
    return { ...next, seq: row?.number('seq') ?? 0, version, isLatest: true, isMarker, modifiedMs }
  }

  #dropNull(bucket: string, key: string): void {
    const replaced = this.find(bucket, key, nullVersion)
    if (replaced !== undefined) this.#remove(replaced)
  }

  #remove(record: VersionRecord): void {
    this.#index.run('DELETE FROM versions WHERE seq = ?', record.seq)
    this.#blobs.release(record.segments)
  }

  /** Removes one version, or hides the object behind a marker where versions are kept. What is not there is no error. */
  delete(versioning: Versioning, bucket: string, key: string, deletion: Deletion): Deleted {
    const found = this.find(bucket, key, deletion.version)
    if (found !== undefined) checkDelete(deletion.conditions, found)
    if (deletion.version !== undefined) return this.#deleteVersion(found, deletion)
    // A deletion with a condition that meets nothing leaves nothing, not even a marker.
    if (found === undefined && isConditional(deletion.conditions)) return { version: undefined, isMarker: false }
    if (versioning === 'off') {
      if (found !== undefined) this.#remove(found)
      return { version: undefined, isMarker: false }
    }
    const marker: NewVersion = {
      bucket,
      key,
      bytes: 0,
      etag: '',
      owner: deletion.owner,
      info: { headers: {}, metadata: {} },
      segments: [],
      tags: [],
      lock: {},
      acl: [],
    }
    return { version: this.#write(versioning, marker, true).version, isMarker: true }
  }

  #deleteVersion(found: VersionRecord | undefined, deletion: Deletion): Deleted {
    if (found === undefined) return { version: deletion.version, isMarker: false }
    checkDeletable(found.lock, this.#nowMs(), deletion.bypassGovernance)
    this.#remove(found)
    if (found.isLatest) {
      const sql = `UPDATE versions SET latest = 1 WHERE seq =
        (SELECT seq FROM versions WHERE bucket = ? AND key = ? ORDER BY seq DESC LIMIT 1)`
      this.#index.run(sql, found.bucket, found.key)
    }
    return { version: found.version, isMarker: found.isMarker }
  }

  setTags(record: VersionRecord, tags: Tags): void {
    this.#index.run('UPDATE versions SET tags = ? WHERE seq = ?', JSON.stringify(tags), record.seq)
  }

  setLock(record: VersionRecord, lock: ObjectLock): void {
    this.#index.run('UPDATE versions SET lock = ? WHERE seq = ?', JSON.stringify(lock), record.seq)
  }

  setAcl(record: VersionRecord, acl: readonly Grant[]): void {
    this.#index.run('UPDATE versions SET acl = ? WHERE seq = ?', JSON.stringify(acl), record.seq)
  }
}

function isConditional({ match, modified, size }: WriteConditions): boolean {
  return (match ?? modified ?? size) !== undefined
}

/** Throws PreconditionFailed where a deletion names a state that is not the one it finds. */
function checkDelete(conditions: WriteConditions, found: VersionRecord): void {
  const { match, modified, size } = conditions
  const other =
    (match !== undefined && !matches(match, found.etag)) ||
    (modified !== undefined && Math.floor(Date.parse(modified) / 1000) !== Math.floor(found.modifiedMs / 1000)) ||
    (size !== undefined && size !== found.bytes)
  if (other) throw new S3Failure('PreconditionFailed')
}
