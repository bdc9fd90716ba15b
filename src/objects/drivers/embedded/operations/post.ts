/** An object sent by the form of a browser. */
import { checksumAlgorithm, checksumHeader, checksumHeaders } from '../../../s3/checksums.ts'
import { presignedCaller } from '../../../s3/authenticate.ts'
import type { Credential } from '../../../s3/authenticate.ts'
import { S3Failure } from '../../../s3/failure.ts'
import { readForm } from '../../../s3/form.ts'
import type { Form } from '../../../s3/form.ts'
import { checkPostPolicy } from '../../../s3/post-policy.ts'
import type { PostLimits } from '../../../s3/post-policy.ts'
import { keyBytesMax } from '../../../s3/request.ts'
import { objectTagsMax, readTags } from '../../../s3/tags.ts'
import { readXml, writePlainXml } from '../../../s3/xml.ts'
import { putBytesMax } from '../body.ts'
import { authorize, ownershipOf, quoted, tagValues, versionHeader, xmlAnswer } from '../call.ts'
import type { Answer, BucketCall } from '../call.ts'
import { describe } from './described.ts'

/** What a form may take beside its file. */
const formBytesMax = 1024 * 1024

/** Takes the form of a call in, with what finds the key that signed it. */
export async function postObject(
  call: BucketCall,
  find: (accessKeyId: string) => Credential | undefined,
): Promise<Answer> {
  const { request, bucket, engine, body } = call
  const form = await readForm(request.headers['content-type'] ?? '', body.stream(putBytesMax + formBytesMax))
  const signed = checkPostPolicy(withFileName(form), bucket.name, find, engine.nowMs())
  const { fields } = form
  const key = (fields.get('key') ?? '').replaceAll('${filename}', form.fileName)
  if (key === '') throw new S3Failure('InvalidArgument', 'The form has no field "key".')
  if (Buffer.byteLength(key) > keyBytesMax) throw new S3Failure('KeyTooLongError')
  const caller = signed === undefined ? call.caller : presignedCaller(signed.credential)
  const tagging = fields.get('tagging')
  const tags = tagging === undefined ? [] : readTags(readXml(tagging, 'Tagging'), objectTagsMax)
  const sender = { ...call, caller, values: new Map([...call.values, ...tagValues('request', tags)]) }
  authorize(sender, 's3:PutObject', bucket, { key, version: undefined })
  const headers = headersOf(form)
  const described = describe(headers, bucket, engine.nowMs())
  const { owner, acl } = ownershipOf(sender, bucket, headers)
  const sum = checksumHeaders.find(([name]) => headers[name] !== undefined)
  const algorithm = sum?.[1] ?? checksumAlgorithm(headers['x-amz-checksum-algorithm'] ?? '')
  using received = await engine.receive(limited(form.file, signed?.limits), algorithm === undefined ? [] : [algorithm])
  const value = algorithm && received.checksums.get(algorithm)
  if (algorithm !== undefined && sum !== undefined && headers[checksumHeader(algorithm)] !== value)
    throw new S3Failure('BadDigest')
  const checksum =
    algorithm !== undefined && value !== undefined ? ({ algorithm, type: 'FULL_OBJECT', value } as const) : undefined
  const info = { headers: described.headers, metadata: described.metadata, ...(checksum && { checksum }) }
  const object = { bucket: bucket.name, key, etag: received.md5, owner, acl, tags, lock: described.lock, info }
  const version = await engine.putObject(received, object, { match: undefined, noneMatch: undefined })
  return answerOf(call, form, key, quoted(version.etag), versionHeader(bucket, version))
}

/** A policy compares the key as it will be. */
function withFileName({ fields, fileName }: Form): ReadonlyMap<string, string> {
  const key = fields.get('key')
  return key === undefined ? fields : new Map([...fields, ['key', key.replaceAll('${filename}', fileName)]])
}

/** Fields as the headers that say the same. */
function headersOf({ fields, fileType }: Form): Record<string, string> {
  const named = [...fields].map(([name, value]) => [name === 'acl' ? 'x-amz-acl' : name, value] as const)
  const known = named.filter(([name]) =>
    /^(?:x-amz-(?!signature|credential|algorithm|date|security)|content-|cache-control$|expires$)/.test(name),
  )
  const type = fields.get('content-type') ?? fileType
  return { ...Object.fromEntries(known), ...(type === undefined ? {} : { 'content-type': type }) }
}

async function* limited(file: AsyncIterable<Uint8Array>, limits: PostLimits | undefined): AsyncGenerator<Uint8Array> {
  const bytesMax = Math.min(limits?.bytesMax ?? putBytesMax, putBytesMax)
  let bytes = 0
  for await (const piece of file) {
    bytes += piece.length
    if (bytes > bytesMax) throw new S3Failure('EntityTooLarge')
    yield piece
  }
  if (bytes < (limits?.bytesMin ?? 0))
    throw new S3Failure('EntityTooSmall', 'The file is smaller than the policy of the form allows.')
}

function answerOf(
  call: BucketCall,
  { fields }: Form,
  key: string,
  etag: string,
  headers: Record<string, string>,
): Answer {
  const { bucket, request } = call
  const location = `http://${request.headers['host'] ?? ''}/${bucket.name}/${encodeURIComponent(key)}`
  const redirect = fields.get('success_action_redirect') ?? fields.get('redirect')
  const all = { ...headers, etag, location }
  if (redirect !== undefined && URL.canParse(redirect)) {
    const target = new URL(redirect)
    if (target.protocol === 'http:' || target.protocol === 'https:') {
      const named = { bucket: bucket.name, key, etag }
      for (const [name, value] of Object.entries(named)) target.searchParams.append(name, value)
      return { status: 303, headers: { ...all, location: target.href } }
    }
  }
  const status = fields.get('success_action_status')
  if (status === '200') return { status: 200, headers: all }
  if (status !== '201') return { status: 204, headers: all }
  const tree = { Location: location, Bucket: bucket.name, Key: key, ETag: etag }
  return { ...xmlAnswer(writePlainXml('PostResponse', tree), all), status: 201 }
}
