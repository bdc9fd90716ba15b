/** Operations of uploads in parts. */
import { createHash } from 'node:crypto'
import { ownerTree } from '../../../s3/acl.ts'
import { readCopyRange } from '../../../s3/conditions.ts'
import {
  allowsType,
  checksumAlgorithm,
  checksumElement,
  checksumHeader,
  checksumHeaders as checksumHeaderNames,
  defaultChecksumType,
  startChecksum,
} from '../../../s3/checksums.ts'
import type { ChecksumAlgorithm } from '../../../s3/checksums.ts'
import { S3Failure } from '../../../s3/failure.ts'
import { numberParameter } from '../../../s3/request.ts'
import { childrenNamed, requiredText, textOf, writeXml } from '../../../s3/xml.ts'
import type { XmlTree } from '../../../s3/xml.ts'
import type { Segment } from '../blobs.ts'
import { putBytesMax } from '../body.ts'
import { documentOf, newVersionHeader, ownershipOf, quoted, xmlAnswer } from '../call.ts'
import type { Answer, ObjectCall } from '../call.ts'
import type { NewVersion, UploadInfo, UploadRecord, VersionRecord } from '../records.ts'
import { partsMax } from '../uploads.ts'
import type { NamedPart } from '../uploads.ts'
import { describe, refuseMissing, writeConditions } from './described.ts'
import { checksumHeaders, copySource } from './write.ts'

const completeBytesMax = 8 * 1024 * 1024

export async function createMultipartUpload(call: ObjectCall): Promise<Answer> {
  const { request, bucket, key, engine } = call
  const { headers } = request
  const { tags, lock, ...described } = describe(headers, bucket, engine.nowMs())
  const { owner, acl } = ownershipOf(call, bucket, headers)
  const checksum = wantedChecksum(headers['x-amz-checksum-algorithm'], headers['x-amz-checksum-type'])
  const info = { headers: described.headers, metadata: described.metadata, ...(checksum && { checksum }) }
  const upload = {
    id: engine.newId(),
    bucket: bucket.name,
    key,
    createdMs: engine.nowMs(),
    owner,
    info,
    tags,
    lock,
    acl,
  }
  await engine.commit(() => {
    engine.buckets.get(bucket.name)
    engine.uploads.create(upload)
  })
  const tree = { Bucket: bucket.name, Key: key, UploadId: upload.id }
  return xmlAnswer(
    writeXml('InitiateMultipartUploadResult', tree),
    checksum && { 'x-amz-checksum-algorithm': checksum.algorithm, 'x-amz-checksum-type': checksum.type },
  )
}

function wantedChecksum(name: string | undefined, type: string | undefined): UploadInfo['checksum'] {
  if (name === undefined && type === undefined) return undefined
  const algorithm = checksumAlgorithm(name ?? '')
  if (algorithm === undefined)
    throw new S3Failure('InvalidRequest', `The checksum algorithm ${name ?? ''} is not known.`)
  const wanted = type ?? defaultChecksumType(algorithm)
  if ((wanted !== 'COMPOSITE' && wanted !== 'FULL_OBJECT') || !allowsType(algorithm, wanted)) {
    throw new S3Failure('InvalidRequest', `${algorithm} cannot be of the type ${wanted}.`)
  }
  return { algorithm, type: wanted, asked: true }
}

function uploadOf({ request, bucket, key, engine }: ObjectCall): UploadRecord {
  return engine.uploads.get(bucket.name, key, request.query.get('uploadId') ?? '')
}

function partNumber({ request }: ObjectCall): number {
  const number = numberParameter(request, 'partNumber', [1, partsMax], 0)
  if (number === 0) throw new S3Failure('InvalidArgument', 'partNumber is missing.')
  return number
}

/** The checksum of a part that only this request knows of is stored too, unless the upload wants another. */
function algorithmOf(upload: UploadRecord, sent: ChecksumAlgorithm | undefined): ChecksumAlgorithm | undefined {
  const wanted = upload.info.checksum
  if (sent !== undefined && wanted !== undefined && wanted.algorithm !== sent) {
    throw new S3Failure(
      'InvalidRequest',
      `The upload was begun with ${wanted.algorithm}, and the part comes with ${sent}.`,
    )
  }
  return sent ?? wanted?.algorithm
}

export async function uploadPart(call: ObjectCall): Promise<Answer> {
  const { body, engine, request } = call
  const upload = uploadOf(call)
  const number = partNumber(call)
  refuseMissing(request.headers)
  const algorithm = algorithmOf(upload, body.algorithm)
  using received = await engine.receive(body.stream(putBytesMax), algorithm === undefined ? [] : [algorithm])
  body.check(received)
  const value = algorithm && received.checksums.get(algorithm)
  const checksum = algorithm !== undefined && value !== undefined ? { algorithm, value } : undefined
  await engine.putPart(upload, { number, etag: received.md5, checksum }, received)
  const shown = checksum === undefined ? {} : { [checksumHeader(checksum.algorithm)]: checksum.value }
  return { status: 200, headers: { etag: quoted(received.md5), ...shown } }
}

export async function uploadPartCopy(call: ObjectCall): Promise<Answer> {
  const { engine, request } = call
  const upload = uploadOf(call)
  const number = partNumber(call)
  refuseMissing(request.headers)
  const source = copySource(call)
  const { start, end } = readCopyRange(request.headers['x-amz-copy-source-range'], source.version.bytes)
  if (end - start > putBytesMax) throw new S3Failure('EntityTooLarge')
  const algorithm = upload.info.checksum?.algorithm
  const md5 = createHash('md5')
  const sum = algorithm && startChecksum(algorithm)
  for await (const piece of engine.read(source.version, start, end)) {
    md5.update(piece)
    sum?.update(piece)
  }
  const checksum = algorithm !== undefined && sum !== undefined ? { algorithm, value: sum.digest() } : undefined
  const etag = md5.digest('hex')
  const segments = sliceSegments(source.version.segments, start, end)
  const part = await engine.linkPart(upload, { number, etag, checksum, bytes: end - start, segments })
  const tree: XmlTree = {
    LastModified: new Date(part.modifiedMs).toISOString(),
    ETag: quoted(etag),
    ...(checksum && { [checksumElement(checksum.algorithm)]: checksum.value }),
  }
  const version = source.bucket.versioning === 'off' ? undefined : source.version.version
  return xmlAnswer(
    writeXml('CopyPartResult', tree),
    version === undefined ? {} : { 'x-amz-copy-source-version-id': version },
  )
}

/** The segments that hold the bytes from `start` to before `end`. */
export function sliceSegments(segments: readonly Segment[], start: number, end: number): readonly Segment[] {
  let at = 0
  return segments.flatMap(([hash, offset, bytes]): readonly Segment[] => {
    const [from, to] = [Math.max(start - at, 0), Math.min(end - at, bytes)]
    at += bytes
    return from < to ? [[hash, offset + from, to - from]] : []
  })
}

export async function completeMultipartUpload(call: ObjectCall): Promise<Answer> {
  const { request, engine } = call
  const root = await documentOf(call, 'CompleteMultipartUpload', completeBytesMax, false)
  const done = call.version?.info.upload === request.query.get('uploadId') ? call.version : undefined
  if (done !== undefined) return completedAnswer(call, done)
  const upload = uploadOf(call)
  const named = childrenNamed(root, 'Part').map((part): NamedPart => {
    const number = Number(requiredText(part, 'PartNumber'))
    if (!(number >= 1 && number <= partsMax))
      throw new S3Failure('InvalidArgument', 'A part has a number from 1 to 10,000.')
    const sum = checksumHeaderNames.flatMap(([, algorithm]) => {
      const value = textOf(part, checksumElement(algorithm))
      return value === undefined ? [] : [{ algorithm, value }]
    })[0]
    return { number, etag: requiredText(part, 'ETag'), checksum: sum }
  })
  const conditions = writeConditions(request.headers)
  const version = await engine.completeUpload(upload, named, conditions, (next) => checkWhole(call, next))
  return completedAnswer(call, version)
}

function completedAnswer({ request, bucket, key }: ObjectCall, version: VersionRecord): Answer {
  const { checksum } = version.info
  const tree: XmlTree = {
    Location: `http://${request.headers['host'] ?? ''}/${bucket.name}/${key}`,
    Bucket: bucket.name,
    Key: key,
    ETag: quoted(version.etag),
    ...(checksum && { [checksumElement(checksum.algorithm)]: checksum.value, ChecksumType: checksum.type }),
  }
  const headers = { ...newVersionHeader(bucket, version), ...checksumHeaders(checksum) }
  return xmlAnswer(writeXml('CompleteMultipartUploadResult', tree), headers)
}

/** Throws BadDigest or InvalidRequest where the client knows a checksum or size of the whole that is not what the parts make. */
function checkWhole({ request }: ObjectCall, next: NewVersion): void {
  const size = request.headers['x-amz-mp-object-size']
  if (size !== undefined && size !== String(next.bytes)) {
    throw new S3Failure('InvalidRequest', 'The parts do not make an object of the size given.')
  }
  const { checksum } = next.info
  for (const [header, algorithm] of checksumHeaderNames) {
    const sent = request.headers[header]
    if (sent === undefined || checksum?.algorithm !== algorithm) continue
    if (sent.replace(/-\d+$/, '') !== checksum.value.replace(/-\d+$/, '')) {
      throw new S3Failure('BadDigest', `The ${algorithm} given is not that of the object.`)
    }
  }
}

export async function abortMultipartUpload(call: ObjectCall): Promise<Answer> {
  await call.engine.abortUpload(uploadOf(call))
  return { status: 204 }
}

export function listParts(call: ObjectCall): Answer {
  const { request, bucket, key, engine, accounts } = call
  const upload = uploadOf(call)
  const limit = Math.min(numberParameter(request, 'max-parts', [0, 2 ** 31 - 1], 1000), 1000)
  const marker = numberParameter(request, 'part-number-marker', [0, 2 ** 31 - 1], 0)
  const found = engine.uploads.parts(upload.id, marker, limit + 1)
  const page = found.slice(0, limit)
  const { checksum } = upload.info
  return xmlAnswer(
    writeXml('ListPartsResult', {
      Bucket: bucket.name,
      Key: key,
      UploadId: upload.id,
      PartNumberMarker: marker,
      NextPartNumberMarker: page.at(-1)?.number ?? 0,
      MaxParts: limit,
      IsTruncated: found.length > page.length,
      Part: page.map((part) => ({
        PartNumber: part.number,
        LastModified: new Date(part.modifiedMs).toISOString(),
        ETag: quoted(part.etag),
        Size: part.bytes,
        ...(part.checksum && { [checksumElement(part.checksum.algorithm)]: part.checksum.value }),
      })),
      Initiator: ownerTree(upload.owner, accounts),
      Owner: ownerTree(upload.owner, accounts),
      StorageClass: 'STANDARD',
      ChecksumAlgorithm: checksum?.algorithm,
      ChecksumType: checksum?.type,
    }),
  )
}
