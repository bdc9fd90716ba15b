/** What the index holds, as values: buckets, versions, uploads and parts, and how rows become them. */
import type { SQLOutputValue } from 'node:sqlite'
import type { Grant } from '../../s3/acl.ts'
import type { PublicAccessBlock } from '../../s3/access.ts'
import type { Checksum, ChecksumAlgorithm, ChecksumType } from '../../s3/checksums.ts'
import type { CorsRule } from '../../s3/cors.ts'
import type { LifecycleRule } from '../../s3/lifecycle.ts'
import type { DefaultRetention, ObjectLock } from '../../s3/lock.ts'
import type { Tags } from '../../s3/tags.ts'
import type { Segment } from './blobs.ts'
import type { Row } from './commits.ts'

/** Who owns the objects of a bucket: its owner all of them, its owner those handed over, or who has written them. */
export type Ownership = 'BucketOwnerEnforced' | 'BucketOwnerPreferred' | 'ObjectWriter'

/** What clients have set on a bucket. */
export interface BucketSettings {
  readonly acl: readonly Grant[]
  readonly ownership?: Ownership
  readonly lockRule?: DefaultRetention
  readonly tags?: Tags
  readonly cors?: readonly CorsRule[]
  readonly lifecycle?: readonly LifecycleRule[]
  /** As it came. */
  readonly policy?: string
  readonly block?: PublicAccessBlock
}

export type Versioning = 'off' | 'enabled' | 'suspended'

export interface BucketRecord {
  readonly name: string
  readonly owner: string
  readonly createdMs: number
  readonly versioning: Versioning
  /** Made with object lock. */
  readonly locked: boolean
  readonly settings: BucketSettings
}

/** One part of an object, as it can be asked for again. */
export interface PartInfo {
  readonly number: number
  readonly bytes: number
  readonly checksum?: string
}

/** What an object carries beside its bytes. */
export interface ObjectInfo {
  /** Headers that come back as they were given: type, encoding, caching. */
  readonly headers: Readonly<Record<string, string>>
  readonly metadata: Readonly<Record<string, string>>
  readonly checksum?: Checksum
  readonly parts?: readonly PartInfo[]
  /** The upload that made it: whoever completes it again, because an answer was lost, is answered the same. */
  readonly upload?: string
}

/** What is written as one version. */
export interface NewVersion {
  readonly bucket: string
  readonly key: string
  readonly bytes: number
  readonly etag: string
  readonly owner: string
  readonly info: ObjectInfo
  readonly segments: readonly Segment[]
  readonly tags: Tags
  readonly lock: ObjectLock
  readonly acl: readonly Grant[]
}

export interface VersionRecord extends NewVersion {
  /** Grows with every version that is written anywhere. */
  readonly seq: number
  /** `null` for the one version of a key that was written without versioning. */
  readonly version: string
  readonly isLatest: boolean
  readonly isMarker: boolean
  readonly modifiedMs: number
}

/** What a listing shows of a version: it is read of a thousand at once, and so without the rest. */
export interface ListedVersion extends Pick<
  VersionRecord,
  'key' | 'seq' | 'version' | 'bytes' | 'etag' | 'modifiedMs' | 'owner'
> {
  readonly checksum: Checksum | undefined
}

export const listedColumns = "key, seq, version, bytes, etag, modified_ms, owner, info -> '$.checksum'"

export function listedOf(row: readonly SQLOutputValue[]): ListedVersion {
  const [key, seq, version, bytes, etag, modifiedMs, owner, text] = row
  const checksum: Checksum | undefined = typeof text === 'string' ? JSON.parse(text) : undefined
  return {
    key: String(key),
    seq: Number(seq),
    version: String(version),
    bytes: Number(bytes),
    etag: String(etag),
    modifiedMs: Number(modifiedMs),
    owner: String(owner),
    checksum,
  }
}

export const versionColumns =
  'seq, bucket, key, version, latest, marker, bytes, etag, modified_ms, owner, info, segments, tags, lock, acl'

/** What we have written as JSON ourselves is read back as what it was. */
export function versionOf(row: Row): VersionRecord {
  const info: ObjectInfo = JSON.parse(row.text('info'))
  const segments: readonly Segment[] = JSON.parse(row.text('segments'))
  const tags: Tags = JSON.parse(row.text('tags'))
  const lock: ObjectLock = JSON.parse(row.text('lock'))
  const acl: readonly Grant[] = JSON.parse(row.text('acl'))
  return {
    seq: row.number('seq'),
    bucket: row.text('bucket'),
    key: row.text('key'),
    version: row.text('version'),
    isLatest: row.number('latest') === 1,
    isMarker: row.number('marker') === 1,
    bytes: row.number('bytes'),
    etag: row.text('etag'),
    modifiedMs: row.number('modified_ms'),
    owner: row.text('owner'),
    info,
    segments,
    tags,
    lock,
    acl,
  }
}

export function bucketOf(row: Row): BucketRecord {
  const settings: BucketSettings = JSON.parse(row.text('settings'))
  return {
    name: row.text('name'),
    owner: row.text('owner'),
    createdMs: row.number('created_ms'),
    versioning: versioningOf(row.text('versioning')),
    locked: row.number('locked') === 1,
    settings,
  }
}

function versioningOf(text: string): Versioning {
  return text === 'enabled' || text === 'suspended' ? text : 'off'
}

/** An upload that has not been completed. */
export interface UploadRecord {
  readonly id: string
  readonly bucket: string
  readonly key: string
  readonly createdMs: number
  readonly owner: string
  readonly info: UploadInfo
  readonly tags: Tags
  readonly lock: ObjectLock
  readonly acl: readonly Grant[]
}

/** What the object will carry, and which checksum its parts are to have. */
export interface UploadInfo {
  readonly headers: Readonly<Record<string, string>>
  readonly metadata: Readonly<Record<string, string>>
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly type: ChecksumType; readonly asked: boolean }
}

export function uploadOf(row: Row): UploadRecord {
  const info: UploadInfo = JSON.parse(row.text('info'))
  const tags: Tags = JSON.parse(row.text('tags'))
  const lock: ObjectLock = JSON.parse(row.text('lock'))
  const acl: readonly Grant[] = JSON.parse(row.text('acl'))
  return {
    id: row.text('id'),
    bucket: row.text('bucket'),
    key: row.text('key'),
    createdMs: row.number('created_ms'),
    owner: row.text('owner'),
    info,
    tags,
    lock,
    acl,
  }
}

export interface PartRecord {
  readonly number: number
  readonly bytes: number
  readonly etag: string
  readonly modifiedMs: number
  readonly checksum: { readonly algorithm: ChecksumAlgorithm; readonly value: string } | undefined
  readonly segments: readonly Segment[]
}

export function partOf(row: Row): PartRecord {
  const segments: readonly Segment[] = JSON.parse(row.text('segments'))
  const text = row.optionalText('checksum')
  const checksum: PartRecord['checksum'] = text === undefined ? undefined : JSON.parse(text)
  return {
    number: row.number('number'),
    bytes: row.number('bytes'),
    etag: row.text('etag'),
    modifiedMs: row.number('modified_ms'),
    checksum,
    segments,
  }
}
