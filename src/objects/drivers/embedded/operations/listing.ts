/** Operations that list what is in a bucket. */
import { ownerTree } from '../../../s3/acl.ts'
import { S3Failure } from '../../../s3/failure.ts'
import { numberParameter } from '../../../s3/request.ts'
import { uriEncode } from '../../../s3/signature.ts'
import { writeXml } from '../../../s3/xml.ts'
import type { XmlTree } from '../../../s3/xml.ts'
import { quoted, xmlAnswer } from '../call.ts'
import type { Answer, BucketCall } from '../call.ts'
import { listObjects, listVersions, pageMax } from '../listing.ts'
import type { ListOptions } from '../listing.ts'
import type { ListedVersion, VersionRecord } from '../records.ts'

/** What all listings ask for. Throws InvalidArgument. */
function optionsOf(
  { request, bucket }: BucketCall,
  limitName: string,
): ListOptions & { encode: (text: string) => string; encoding: string | undefined } {
  const encoding = request.query.get('encoding-type')
  if (encoding !== undefined && encoding !== 'url') throw new S3Failure('InvalidArgument', 'encoding-type must be url.')
  return {
    bucket: bucket.name,
    prefix: request.query.get('prefix') ?? '',
    delimiter: request.query.get('delimiter') ?? '',
    limit: Math.min(numberParameter(request, limitName, [0, 2 ** 31 - 1], pageMax), pageMax),
    encode: encoding === 'url' ? (text) => uriEncode(text, true) : (text) => text,
    encoding,
  }
}

function contentsOf(version: ListedVersion, encode: (text: string) => string, owner: XmlTree | undefined): XmlTree {
  const { checksum } = version
  return {
    Key: encode(version.key),
    LastModified: new Date(version.modifiedMs).toISOString(),
    ETag: quoted(version.etag),
    ChecksumAlgorithm: checksum?.algorithm,
    ChecksumType: checksum?.type,
    Size: version.bytes,
    Owner: owner,
    StorageClass: 'STANDARD',
  }
}

export function listObjectsV1(call: BucketCall): Answer {
  const { encode, encoding, ...options } = optionsOf(call, 'max-keys')
  const marker = call.request.query.get('marker') ?? ''
  const page = listObjects(call.engine.index, options, marker)
  return xmlAnswer(
    writeXml('ListBucketResult', {
      Name: options.bucket,
      // The first version of the operation leaves the prefix as it is, and clients count on that.
      Prefix: options.prefix,
      Marker: encode(marker),
      NextMarker: page.next === undefined ? undefined : encode(page.next.key),
      MaxKeys: options.limit,
      Delimiter: options.delimiter === '' ? undefined : encode(options.delimiter),
      IsTruncated: page.next !== undefined,
      EncodingType: encoding,
      Contents: page.items.map((item) => contentsOf(item, encode, ownerTree(item.owner, call.accounts))),
      CommonPrefixes: page.prefixes.map((prefix) => ({ Prefix: encode(prefix) })),
    }),
  )
}

export function listObjectsV2(call: BucketCall): Answer {
  const { encode, encoding, ...options } = optionsOf(call, 'max-keys')
  const { query } = call.request
  const token = query.get('continuation-token')
  const startAfter = query.get('start-after') ?? ''
  const after = token === undefined || token === '' ? startAfter : readToken(token, call.engine.generation)
  const withOwner = query.get('fetch-owner') === 'true'
  const page = listObjects(call.engine.index, options, after)
  return xmlAnswer(
    writeXml('ListBucketResult', {
      Name: options.bucket,
      Prefix: encode(options.prefix),
      StartAfter: startAfter === '' ? undefined : encode(startAfter),
      ContinuationToken: token,
      NextContinuationToken: page.next === undefined ? undefined : writeToken(page.next.key, call.engine.generation),
      KeyCount: page.items.length + page.prefixes.length,
      MaxKeys: options.limit,
      Delimiter: options.delimiter === '' ? undefined : encode(options.delimiter),
      IsTruncated: page.next !== undefined,
      EncodingType: encoding,
      Contents: page.items.map((item) =>
        contentsOf(item, encode, withOwner ? ownerTree(item.owner, call.accounts) : undefined),
      ),
      CommonPrefixes: page.prefixes.map((prefix) => ({ Prefix: encode(prefix) })),
    }),
  )
}

/** A cursor holds the generation: one of an abandoned time is refused. */
function writeToken(key: string, generation: number): string {
  return Buffer.from(`${generation} ${key}`).toString('base64url')
}

function readToken(token: string, generation: number): string {
  const text = Buffer.from(token, 'base64url').toString('utf8')
  const space = text.indexOf(' ')
  if (space === -1 || text.slice(0, space) !== String(generation)) {
    throw new S3Failure(
      'InvalidArgument',
      'The continuation token is not one of this store as it stands; list from the start.',
    )
  }
  return text.slice(space + 1)
}

export function listObjectVersions(call: BucketCall): Answer {
  const { encode, encoding, ...options } = optionsOf(call, 'max-keys')
  const { query } = call.request
  const [keyMarker, versionMarker] = [query.get('key-marker') ?? '', query.get('version-id-marker') ?? '']
  if (versionMarker !== '' && keyMarker === '') {
    throw new S3Failure('InvalidArgument', 'A version-id-marker needs a key-marker.')
  }
  const marked = versionMarker === '' ? undefined : call.engine.versions.find(options.bucket, keyMarker, versionMarker)
  const page = listVersions(call.engine.index, options, { key: keyMarker, seq: marked?.seq ?? 0 })
  const shown = (version: VersionRecord): XmlTree => ({
    ...contentsOf({ ...version, checksum: version.info.checksum }, encode, ownerTree(version.owner, call.accounts)),
    VersionId: version.version,
    IsLatest: version.isLatest,
  })
  return xmlAnswer(
    writeXml('ListVersionsResult', {
      Name: options.bucket,
      Prefix: encode(options.prefix),
      KeyMarker: encode(keyMarker),
      VersionIdMarker: versionMarker,
      NextKeyMarker: page.next === undefined ? undefined : encode(page.next.key),
      NextVersionIdMarker: page.next?.version,
      MaxKeys: options.limit,
      Delimiter: options.delimiter === '' ? undefined : encode(options.delimiter),
      IsTruncated: page.next !== undefined,
      EncodingType: encoding,
      Version: page.items.filter((item) => !item.isMarker).map(shown),
      DeleteMarker: page.items
        .filter((item) => item.isMarker)
        .map((item) => {
          const { ETag: _etag, Size: _size, StorageClass: _class, ...marker } = shown(item)
          return marker
        }),
      CommonPrefixes: page.prefixes.map((prefix) => ({ Prefix: encode(prefix) })),
    }),
  )
}

export function listMultipartUploads(call: BucketCall): Answer {
  const { encode, encoding, ...options } = optionsOf(call, 'max-uploads')
  const { query } = call.request
  const [keyMarker, idMarker] = [query.get('key-marker') ?? '', query.get('upload-id-marker') ?? '']
  const behind = (key: string, id: string): boolean => {
    const order = Buffer.compare(Buffer.from(key), Buffer.from(keyMarker))
    return keyMarker === '' || order > 0 || (order === 0 && idMarker !== '' && id > idMarker)
  }
  const waiting = call.engine.uploads
    .all(options.bucket)
    .filter((upload) => upload.key.startsWith(options.prefix) && behind(upload.key, upload.id))
  const groups = new Set<string>()
  const single = waiting.filter((upload) => {
    const at = options.delimiter === '' ? -1 : upload.key.indexOf(options.delimiter, options.prefix.length)
    if (at !== -1) groups.add(upload.key.slice(0, at + options.delimiter.length))
    return at === -1
  })
  const page = single.slice(0, options.limit)
  const last = single.length > page.length ? page.at(-1) : undefined
  return xmlAnswer(
    writeXml('ListMultipartUploadsResult', {
      Bucket: options.bucket,
      KeyMarker: encode(keyMarker),
      UploadIdMarker: idMarker,
      NextKeyMarker: last === undefined ? undefined : encode(last.key),
      NextUploadIdMarker: last?.id,
      Prefix: encode(options.prefix),
      Delimiter: options.delimiter === '' ? undefined : encode(options.delimiter),
      MaxUploads: options.limit,
      IsTruncated: last !== undefined,
      EncodingType: encoding,
      Upload: page.map((upload) => ({
        Key: encode(upload.key),
        UploadId: upload.id,
        Initiator: ownerTree(upload.owner, call.accounts),
        Owner: ownerTree(upload.owner, call.accounts),
        StorageClass: 'STANDARD',
        Initiated: new Date(upload.createdMs).toISOString(),
        ChecksumAlgorithm: upload.info.checksum?.algorithm,
        ChecksumType: upload.info.checksum?.type,
      })),
      CommonPrefixes: [...groups].map((prefix) => ({ Prefix: encode(prefix) })),
    }),
  )
}
