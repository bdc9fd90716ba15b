/** Operations that read objects: their bytes, their headers, their attributes. */
import { checkRead, readConditions, readRange } from '../../../s3/conditions.ts'
import type { ByteRange } from '../../../s3/conditions.ts'
import { checksumElement, checksumHeader } from '../../../s3/checksums.ts'
import { S3Failure } from '../../../s3/failure.ts'
import { expiryOf } from '../../../s3/lifecycle.ts'
import { lockHeaders } from '../../../s3/lock.ts'
import { numberParameter } from '../../../s3/request.ts'
import { writeXml } from '../../../s3/xml.ts'
import type { XmlTree } from '../../../s3/xml.ts'
import { quoted, versionHeader, xmlAnswer } from '../call.ts'
import type { Answer, ObjectCall } from '../call.ts'
import type { BucketRecord, VersionRecord } from '../records.ts'
import { partsMax } from '../uploads.ts'

/** The headers of an answer that a URL may replace. */
const overridable = [
  'content-type',
  'content-language',
  'expires',
  'cache-control',
  'content-disposition',
  'content-encoding',
]

/** The version a call reads. Throws NoSuchKey, NoSuchVersion or MethodNotAllowed. */
export function readable({ engine, bucket, key, request, version }: ObjectCall): VersionRecord {
  if (version !== undefined && !version.isMarker) return version
  return engine.versions.get(bucket.name, key, request.query.get('versionId'))
}

export function getObject(call: ObjectCall): Answer {
  const { version, range, answer } = lookedUp(call)
  const { start, end } = range
  return { ...answer, body: call.engine.read(version, start, end, true) }
}

export function headObject(call: ObjectCall): Answer {
  return lookedUp(call).answer
}

/** The answer without its bytes, and which those are. */
function lookedUp(call: ObjectCall): {
  readonly version: VersionRecord
  readonly range: ByteRange
  readonly answer: Answer
} {
  const version = readable(call)
  const { request } = call
  checkRead(readConditions(request.headers, 'if-'), version)
  const part = partRange(call, version)
  const asked = part ?? readRange(request.headers['range'], version.bytes)
  const range = asked ?? { start: 0, end: version.bytes }
  const { start, end } = range
  const headers = {
    ...objectHeaders(call.bucket, version),
    ...(request.headers['x-amz-checksum-mode'] === 'ENABLED' ? shownChecksum(call, version, asked !== undefined) : {}),
    ...(part === undefined || version.info.parts === undefined
      ? {}
      : { 'x-amz-mp-parts-count': String(version.info.parts.length) }),
    ...overrides(call),
    'content-length': String(end - start),
    ...(asked === undefined ? {} : { 'content-range': `bytes ${start}-${end - 1}/${version.bytes}` }),
  }
  return { version, range, answer: { status: asked === undefined ? 200 : 206, headers } }
}

/** The bytes of one part of an object that was sent in parts; an object that was not has one part. */
function partRange({ request }: ObjectCall, version: VersionRecord): ByteRange | undefined {
  if (!request.query.has('partNumber')) return undefined
  if (request.headers['range'] !== undefined) {
    throw new S3Failure('InvalidRequest', 'Ask for a range or for a part, not for both.')
  }
  const number = numberParameter(request, 'partNumber', [1, partsMax], 1)
  const parts = version.info.parts ?? [{ number: 1, bytes: version.bytes }]
  const at = number - 1
  const part = parts[at]
  if (part === undefined) throw new S3Failure('InvalidPart', `The object has ${parts.length} parts.`)
  const start = parts.slice(0, at).reduce((sum, { bytes }) => sum + bytes, 0)
  return { start, end: start + part.bytes }
}

/** The checksum of what is sent: of the whole object, of one part, or of nothing where a range cuts it. */
function shownChecksum({ request }: ObjectCall, { info }: VersionRecord, cut: boolean): Record<string, string> {
  const { checksum, parts } = info
  if (checksum === undefined) return {}
  const part = parts?.[Number(request.query.get('partNumber') ?? 0) - 1]
  const value = cut ? part?.checksum : checksum.value
  return value === undefined
    ? {}
    : { [checksumHeader(checksum.algorithm)]: value, 'x-amz-checksum-type': checksum.type }
}

function overrides({ request, caller }: ObjectCall): Record<string, string> {
  const asked = overridable.flatMap((name) => {
    const value = request.query.get(`response-${name}`)
    return value === undefined ? [] : [[name, value] as const]
  })
  if (asked.length > 0 && caller.account === '') {
    throw new S3Failure('InvalidRequest', 'Only a signed request can replace headers of the answer.')
  }
  return Object.fromEntries(asked)
}

/** All headers that tell of a version. */
export function objectHeaders(bucket: BucketRecord, version: VersionRecord): Record<string, string> {
  const { headers, metadata } = version.info
  const rules = bucket.settings.lifecycle
  const expiry = rules && expiryOf(rules, { ...version, sizeBytes: version.bytes })
  return {
    'content-type': 'binary/octet-stream',
    ...headers,
    ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])),
    etag: quoted(version.etag),
    'last-modified': new Date(version.modifiedMs).toUTCString(),
    'accept-ranges': 'bytes',
    ...versionHeader(bucket, version),
    ...lockHeaders(version.lock),
    ...(version.tags.length > 0 ? { 'x-amz-tagging-count': String(version.tags.length) } : {}),
    ...(expiry === undefined
      ? {}
      : {
          'x-amz-expiration': `expiry-date="${new Date(expiry.atMs).toUTCString()}", rule-id="${encodeURIComponent(expiry.id)}"`,
        }),
  }
}

export function getObjectAttributes(call: ObjectCall): Answer {
  const version = readable(call)
  const { request, bucket } = call
  checkRead(readConditions(request.headers, 'if-'), version)
  const asked = (request.headers['x-amz-object-attributes'] ?? '').split(',').map((name) => name.trim())
  if (asked[0] === '') throw new S3Failure('InvalidArgument', 'x-amz-object-attributes is missing.')
  const unknown = asked.find(
    (name) => !['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize'].includes(name),
  )
  if (unknown !== undefined) throw new S3Failure('InvalidArgument', `There is no attribute ${unknown}.`)
  const { checksum } = version.info
  const tree: XmlTree = {
    ETag: asked.includes('ETag') ? version.etag : undefined,
    Checksum:
      asked.includes('Checksum') && checksum !== undefined
        ? { [checksumElement(checksum.algorithm)]: checksum.value, ChecksumType: checksum.type }
        : undefined,
    ObjectParts: asked.includes('ObjectParts') ? partsTree(call, version) : undefined,
    StorageClass: asked.includes('StorageClass') ? 'STANDARD' : undefined,
    ObjectSize: asked.includes('ObjectSize') ? version.bytes : undefined,
  }
  return xmlAnswer(writeXml('GetObjectAttributesResponse', tree), {
    ...versionHeader(bucket, version),
    'last-modified': new Date(version.modifiedMs).toUTCString(),
  })
}

function partsTree({ request }: ObjectCall, version: VersionRecord): XmlTree | undefined {
  const { parts, checksum } = version.info
  if (parts === undefined) return undefined
  const limit = headerNumber(request.headers['x-amz-max-parts'], 1000)
  const marker = headerNumber(request.headers['x-amz-part-number-marker'], 0)
  const waiting = parts.filter(({ number }) => number > marker)
  const page = waiting.slice(0, limit)
  return {
    PartsCount: parts.length,
    PartNumberMarker: marker,
    NextPartNumberMarker: page.at(-1)?.number ?? 0,
    MaxParts: limit,
    IsTruncated: waiting.length > page.length,
    Part: page.map((part) => ({
      PartNumber: part.number,
      Size: part.bytes,
      ...(part.checksum !== undefined && checksum !== undefined
        ? { [checksumElement(checksum.algorithm)]: part.checksum }
        : {}),
    })),
  }
}

function headerNumber(text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback
  if (!/^\d{1,6}$/.test(text)) throw new S3Failure('InvalidArgument', 'A number of parts must be a whole number.')
  return Number(text)
}
