/** Operations that write, copy and delete objects. */
import { checkRead, readConditions } from '../../../s3/conditions.ts'
import { checksumAlgorithm, checksumHeader, startChecksum } from '../../../s3/checksums.ts'
import type { Checksum, ChecksumAlgorithm } from '../../../s3/checksums.ts'
import { S3Failure } from '../../../s3/failure.ts'
import { readCopySource } from '../../../s3/request.ts'
import { childrenNamed, requiredText, textOf, writeXml } from '../../../s3/xml.ts'
import type { XmlElement, XmlTree } from '../../../s3/xml.ts'
import { putBytesMax } from '../body.ts'
import {
  authorize,
  documentOf,
  ownerOf,
  ownershipOf,
  newVersionHeader,
  quoted,
  versionHeader,
  xmlAnswer,
} from '../call.ts'
import type { Answer, BucketCall, Call, ObjectCall } from '../call.ts'
import type { Engine } from '../engine.ts'
import type { BucketRecord, VersionRecord } from '../records.ts'
import type { Deleted } from '../versions.ts'
import { describe, writeConditions } from './described.ts'

/** Keys in one request that deletes many. */
export const deleteKeysMax = 1000
const deleteBytesMax = 4 * 1024 * 1024

export async function putObject(call: ObjectCall): Promise<Answer> {
  const { request, bucket, key, body, engine } = call
  const described = describe(request.headers, bucket, engine.nowMs())
  const { owner, acl } = ownershipOf(call, bucket, request.headers)
  const algorithms = body.algorithm === undefined ? [] : [body.algorithm]
  using received = await engine.receive(body.stream(putBytesMax), algorithms)
  body.check(received)
  const checksum = checksumOf(body.algorithm, received.checksums)
  const { headers, metadata, tags, lock } = described
  const info = { headers, metadata, ...(checksum && { checksum }) }
  const version = await engine.putObject(
    received,
    { bucket: bucket.name, key, etag: received.md5, owner, acl, tags, lock, info },
    writeConditions(request.headers),
  )
  const shown = { etag: quoted(version.etag), ...newVersionHeader(bucket, version), ...checksumHeaders(checksum) }
  return { status: 200, headers: shown }
}

function checksumOf(
  algorithm: ChecksumAlgorithm | undefined,
  sums: ReadonlyMap<ChecksumAlgorithm, string>,
): Checksum | undefined {
  const value = algorithm && sums.get(algorithm)
  return algorithm === undefined || value === undefined ? undefined : { algorithm, type: 'FULL_OBJECT', value }
}

/** A checksum as headers. */
export function checksumHeaders(checksum: Checksum | undefined): Record<string, string> {
  if (checksum === undefined) return {}
  return { [checksumHeader(checksum.algorithm)]: checksum.value, 'x-amz-checksum-type': checksum.type }
}

/** What a copy reads: it must exist, the caller must be allowed to read it, and its conditions must hold. */
export interface CopySource {
  readonly bucket: BucketRecord
  readonly version: VersionRecord
}

/** Finds the source of a copy. Throws NoSuchBucket, NoSuchKey, AccessDenied, PreconditionFailed. */
export function copySource(call: Call): CopySource {
  const { headers } = call.request
  const named = readCopySource(headers['x-amz-copy-source'] ?? '')
  const bucket = call.engine.buckets.get(named.bucket)
  const found = call.engine.versions.find(bucket.name, named.key, named.version)
  const action = named.version === undefined ? 's3:GetObject' : 's3:GetObjectVersion'
  authorize(call, action, bucket, { key: named.key, version: found, mustExist: true })
  if (named.version !== undefined && found?.isMarker === true) {
    throw new S3Failure('InvalidRequest', 'The source of a copy cannot be a delete marker.')
  }
  const version = call.engine.versions.get(bucket.name, named.key, named.version)
  checkRead(readConditions(headers, 'x-amz-copy-source-if-'), version, true)
  return { bucket, version }
}

export async function copyObject(call: ObjectCall): Promise<Answer> {
  const { request, bucket, key, engine } = call
  const { headers } = request
  const source = copySource(call)
  const replaces = directive(headers['x-amz-metadata-directive'])
  const replacesTags = directive(headers['x-amz-tagging-directive'])
  const same = source.bucket.name === bucket.name && source.version.key === key
  const named = /[?&]versionId=/.test(headers['x-amz-copy-source'] ?? '')
  const website = headers['x-amz-website-redirect-location'] !== undefined
  if (same && !named && !replaces && !website) {
    throw new S3Failure('InvalidRequest', 'A copy onto itself must change something.')
  }
  const described = describe(headers, bucket, engine.nowMs())
  const { owner, acl } = ownershipOf(call, bucket, headers)
  const checksum = await copiedChecksum(engine, source.version, headers['x-amz-checksum-algorithm'])
  const { info, segments, bytes, etag } = source.version
  const kept = replaces ? described : info
  const version = await engine.linkObject(
    {
      bucket: bucket.name,
      key,
      bytes,
      etag,
      segments,
      owner,
      acl,
      lock: described.lock,
      tags: replacesTags ? described.tags : source.version.tags,
      info: {
        headers: kept.headers,
        metadata: kept.metadata,
        ...(checksum && { checksum }),
        ...(info.parts && { parts: info.parts }),
      },
    },
    writeConditions(headers),
  )
  const result: XmlTree = {
    LastModified: new Date(version.modifiedMs).toISOString(),
    ETag: quoted(version.etag),
    ...(checksum && { [`Checksum${checksum.algorithm}`]: checksum.value, ChecksumType: checksum.type }),
  }
  return xmlAnswer(writeXml('CopyObjectResult', result), {
    ...versionHeader(bucket, version),
    ...(source.bucket.versioning === 'off' ? {} : { 'x-amz-copy-source-version-id': source.version.version }),
  })
}

function directive(value: string | undefined): boolean {
  if (value === undefined || value === 'COPY') return false
  if (value === 'REPLACE') return true
  throw new S3Failure('InvalidArgument', 'A directive must be COPY or REPLACE.')
}

/** The checksum of a copy: that of the source, or one that is asked for, over the bytes as they lie on the disk. */
async function copiedChecksum(
  engine: Engine,
  source: VersionRecord,
  asked: string | undefined,
): Promise<Checksum | undefined> {
  const held = source.info.checksum
  if (asked === undefined || (held?.algorithm === checksumAlgorithm(asked) && held?.type === 'FULL_OBJECT')) return held
  const algorithm = checksumAlgorithm(asked)
  if (algorithm === undefined) throw new S3Failure('InvalidRequest', `The checksum algorithm ${asked} is not known.`)
  const sum = startChecksum(algorithm)
  for await (const piece of engine.read(source, 0, source.bytes)) sum.update(piece)
  return { algorithm, type: 'FULL_OBJECT', value: sum.digest() }
}

export async function deleteObject(call: ObjectCall): Promise<Answer> {
  const { request, bucket, key, engine } = call
  const version = request.query.get('versionId')
  const { headers } = request
  const deleted = await engine.deleteObject(bucket.name, key, {
    version,
    conditions: {
      match: headers['if-match'],
      noneMatch: undefined,
      modified: headers['x-amz-if-match-last-modified-time'],
      size: sizeOf(headers['x-amz-if-match-size']),
    },
    bypassGovernance: mayBypass(call, key, call.version),
    owner: ownerOf(call.caller),
  })
  return { status: 204, headers: deletedHeaders(bucket, deleted) }
}

function deletedHeaders(bucket: BucketRecord, deleted: Deleted): Record<string, string> {
  if (bucket.versioning === 'off' || deleted.version === undefined) return {}
  return { 'x-amz-version-id': deleted.version, ...(deleted.isMarker ? { 'x-amz-delete-marker': 'true' } : {}) }
}

function sizeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,15}$/.test(text)) throw new S3Failure('InvalidArgument', 'A size must be a whole number.')
  return Number(text)
}

/** Whether the caller asks to pass by a retention in the mode GOVERNANCE, and may. Throws AccessDenied where it may not. */
export function mayBypass(call: BucketCall, key: string, version: VersionRecord | undefined): boolean {
  if (call.request.headers['x-amz-bypass-governance-retention']?.toLowerCase() !== 'true') return false
  authorize(call, 's3:BypassGovernanceRetention', call.bucket, { key, version })
  return true
}

export async function deleteObjects(call: BucketCall): Promise<Answer> {
  const root = await documentOf(call, 'Delete', deleteBytesMax)
  const named = childrenNamed(root, 'Object')
  if (named.length === 0 || named.length > deleteKeysMax) {
    throw new S3Failure('MalformedXML', 'Name from 1 to 1,000 objects.')
  }
  const quiet = textOf(root, 'Quiet') === 'true'
  // All are handed over in one turn, so that they share commits.
  const results = await Promise.all(named.map((element) => deleteNamed(call, element)))
  return xmlAnswer(
    writeXml('DeleteResult', {
      Deleted: quiet ? [] : results.map(({ deleted }) => deleted).filter((tree) => tree !== undefined),
      Error: results.map(({ error }) => error).filter((tree) => tree !== undefined),
    }),
  )
}

async function deleteNamed(call: BucketCall, element: XmlElement): Promise<{ deleted?: XmlTree; error?: XmlTree }> {
  const key = element.children.find(({ name }) => name === 'Key')?.text ?? requiredText(element, 'Key')
  const version = textOf(element, 'VersionId')
  try {
    const { engine, bucket } = call
    const found = engine.versions.find(bucket.name, key, version)
    authorize(call, version === undefined ? 's3:DeleteObject' : 's3:DeleteObjectVersion', bucket, {
      key,
      version: found,
    })
    const conditions = {
      match: textOf(element, 'ETag'),
      noneMatch: undefined,
      modified: textOf(element, 'LastModifiedTime'),
      size: sizeOf(textOf(element, 'Size')),
    }
    const bypassGovernance = mayBypass(call, key, found)
    const deleted = await engine.deleteObject(bucket.name, key, {
      version,
      conditions,
      bypassGovernance,
      owner: ownerOf(call.caller),
    })
    const marker = deleted.isMarker && bucket.versioning !== 'off'
    return {
      deleted: {
        Key: key,
        VersionId: version,
        DeleteMarker: marker ? true : undefined,
        DeleteMarkerVersionId: marker ? deleted.version : undefined,
      },
    }
  } catch (error) {
    if (!(error instanceof S3Failure)) throw error
    return { error: { Key: key, VersionId: version, Code: error.code, Message: error.message } }
  }
}
