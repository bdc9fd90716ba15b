/** What a client says about an object when it writes one: headers, metadata, tags, lock, and what this server does not do. */
import { S3Failure, notImplemented } from '../../../s3/failure.ts'
import { lockOfHeaders } from '../../../s3/lock.ts'
import type { ObjectLock } from '../../../s3/lock.ts'
import { readTagHeader } from '../../../s3/tags.ts'
import type { Tags } from '../../../s3/tags.ts'
import type { WriteConditions } from '../../../s3/conditions.ts'
import type { BucketRecord } from '../records.ts'

const metadataBytesMax = 2048
const kept = [
  'content-type',
  'content-language',
  'content-disposition',
  'cache-control',
  'expires',
  'x-amz-website-redirect-location',
]

/** What describes an object, without its bytes. */
export interface Described {
  readonly headers: Readonly<Record<string, string>>
  readonly metadata: Readonly<Record<string, string>>
  readonly tags: Tags
  readonly lock: ObjectLock
}

/** Takes the description out of headers. Throws MetadataTooLarge, InvalidTag, NotImplemented and what locks throw. */
export function describe(headers: Readonly<Record<string, string>>, bucket: BucketRecord, nowMs: number): Described {
  refuseMissing(headers)
  return {
    headers: keptHeaders(headers),
    metadata: metadataOf(headers),
    tags: readTagHeader(headers['x-amz-tagging']),
    lock: lockOfHeaders(headers, { locked: bucket.locked, rule: bucket.settings.lockRule }, nowMs),
  }
}

/** Throws where headers ask for what is not done here: taking them for nothing would be a wrong success. */
export function refuseMissing(headers: Readonly<Record<string, string>>): void {
  const encryption = Object.keys(headers).find((name) => name.includes('server-side-encryption'))
  if (encryption !== undefined) notImplemented(`encryption at rest (${encryption})`)
  const storageClass = headers['x-amz-storage-class'] ?? 'STANDARD'
  if (storageClass !== 'STANDARD') throw new S3Failure('InvalidStorageClass')
  if (headers['x-amz-write-offset-bytes'] !== undefined) notImplemented('appending to objects')
}

function keptHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const found = kept.flatMap((name) => {
    const value = headers[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  const encoding = (headers['content-encoding'] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && name !== 'aws-chunked')
  return { ...Object.fromEntries(found), ...(encoding.length > 0 ? { 'content-encoding': encoding.join(', ') } : {}) }
}

/** Metadata of the user, byte for byte as it came. */
function metadataOf(headers: Readonly<Record<string, string>>): Record<string, string> {
  const prefix = 'x-amz-meta-'
  const found = Object.entries(headers).filter(([name]) => name.startsWith(prefix))
  const bytes = found.reduce((sum, [name, value]) => sum + name.length - prefix.length + value.length, 0)
  if (bytes > metadataBytesMax) throw new S3Failure('MetadataTooLarge')
  return Object.fromEntries(found.map(([name, value]) => [name.slice(prefix.length), value]))
}

/** The conditions of a write. */
export function writeConditions(headers: Readonly<Record<string, string>>): WriteConditions {
  return { match: headers['if-match'], noneMatch: headers['if-none-match'] }
}
