/** One request on its way through the server: what it asks, who asks, and what it is answered. */
import { isPublicAcl } from '../../s3/acl.ts'
import type { Accounts, Grant } from '../../s3/acl.ts'
import { aclOfHeaders } from '../../s3/acl.ts'
import { mayAccess, mayList } from '../../s3/access.ts'
import type { AccessQuestion, Caller } from '../../s3/access.ts'
import { S3Failure } from '../../s3/failure.ts'
import { readPolicy } from '../../s3/policy.ts'
import type { S3Request } from '../../s3/request.ts'
import type { Tags } from '../../s3/tags.ts'
import { readXml } from '../../s3/xml.ts'
import type { XmlElement } from '../../s3/xml.ts'
import type { RequestBody } from './body.ts'
import type { Engine } from './engine.ts'
import type { BucketRecord, Ownership, VersionRecord } from './records.ts'

/** What does not change between requests. */
export interface ServerContext {
  readonly engine: Engine
  readonly accounts: Accounts
  readonly region: string
  /** Of new buckets whose maker does not say. */
  readonly defaultOwnership: 'BucketOwnerEnforced' | 'ObjectWriter'
}

export interface Call extends ServerContext {
  readonly request: S3Request
  readonly caller: Caller
  readonly body: RequestBody
  /** What policies can ask about the request. */
  readonly values: ReadonlyMap<string, string>
}

/** A call on a bucket that exists. */
export interface BucketCall extends Call {
  readonly bucket: BucketRecord
}

/** A call on a key; `version` is what it names there, if anything, a marker among it. */
export interface ObjectCall extends BucketCall {
  readonly key: string
  readonly version: VersionRecord | undefined
}

export interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | AsyncIterable<Uint8Array>
}

const nobody = 'anonymous'

/** Bytes of a document that is not a list of objects or parts. */
export const documentBytesMax: number = 256 * 1024

/** The owner of what a caller makes. */
export function ownerOf(caller: Caller): string {
  return caller.account === '' ? nobody : caller.account
}

/** An answer of XML. */
export function xmlAnswer(body: string, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status: 200, headers: { 'content-type': 'application/xml', ...headers }, body }
}

/** The document that a request carries. `summed`: whether checksums in headers are of the document. Throws MalformedXML. */
export async function documentOf(
  call: Call,
  rootName: string,
  bytesMax: number = documentBytesMax,
  summed: boolean = true,
): Promise<XmlElement> {
  return readXml(await call.body.text(bytesMax, summed), rootName)
}

/** The question whether the caller may do this with a bucket, or with what is or will be under a key. */
export function questionOf(
  call: Pick<Call, 'caller' | 'values'>,
  action: string,
  bucket: BucketRecord,
  target?: { readonly key: string; readonly version: VersionRecord | undefined },
): AccessQuestion {
  const { settings } = bucket
  const version = target?.version
  return {
    caller: call.caller,
    action,
    bucket: bucket.name,
    ...(target && { key: target.key }),
    bucketOwner: bucket.owner,
    bucketAcl: settings.acl,
    ...(version !== undefined && !version.isMarker && { object: { owner: version.owner, acl: version.acl } }),
    policy: settings.policy === undefined ? undefined : readPolicy(settings.policy, bucket.name),
    block: settings.block,
    aclsCount: ownershipOfBucket(bucket) !== 'BucketOwnerEnforced',
    values: version === undefined ? call.values : new Map([...call.values, ...tagValues('existing', version.tags)]),
  }
}

/** Throws AccessDenied where the caller may not, and also where an object is missing and the caller may not know that. */
export function authorize(
  call: Pick<Call, 'caller' | 'values'>,
  action: string,
  bucket: BucketRecord,
  target?: { readonly key: string; readonly version: VersionRecord | undefined; readonly mustExist?: boolean },
): void {
  const question = questionOf(call, action, bucket, target)
  const missing = target?.mustExist === true && (target.version === undefined || target.version.isMarker)
  // Whether an object exists is told to those who may list what begins like it.
  const listing = { ...question, values: new Map([...question.values, ['s3:prefix', target?.key ?? '']]) }
  if (!(missing ? mayList(listing) : mayAccess(question))) throw new S3Failure('AccessDenied')
}

/** Tags as policies ask about them. */
export function tagValues(kind: 'existing' | 'request', tags: Tags): [string, string][] {
  return tags.map(([name, value]) => [`s3:${kind}objecttag/${name}`.toLowerCase(), value])
}

/** Who owns what is written to a bucket: whoever wrote it, where nothing was set. */
export function ownershipOfBucket({ settings }: BucketRecord): Ownership {
  return settings.ownership ?? 'ObjectWriter'
}

/** Who will own a new object, and its list. Throws where the bucket does not allow what is asked for. */
export function ownershipOf(
  call: Call,
  bucket: BucketRecord,
  headers: Readonly<Record<string, string>>,
): { owner: string; acl: readonly Grant[] } {
  const { block } = bucket.settings
  const ownership = ownershipOfBucket(bucket)
  if (ownership === 'BucketOwnerEnforced' || call.caller.rights !== undefined) {
    refuseLists(headers, call.caller.account === bucket.owner || call.caller.rights !== undefined)
    return { owner: bucket.owner, acl: [] }
  }
  // What nobody in particular has written is the bucket's.
  const writer = call.caller.account === '' ? bucket.owner : call.caller.account
  const handedOver = ownership === 'BucketOwnerPreferred' && headers['x-amz-acl'] === 'bucket-owner-full-control'
  const owner = handedOver ? bucket.owner : writer
  const acl = aclOfHeaders(headers, owner, bucket.owner, call.accounts) ?? [
    { grantee: owner, permission: 'FULL_CONTROL' },
  ]
  if (block?.blockAcls === true && isPublicAcl(acl))
    throw new S3Failure('AccessDenied', 'The bucket blocks public lists.')
  return { owner, acl }
}

/** Throws AccessControlListNotSupported where headers ask for more than what holds anyway. */
export function refuseLists(headers: Readonly<Record<string, string>>, isOwner: boolean): void {
  const canned = headers['x-amz-acl'] ?? 'bucket-owner-full-control'
  const grants = Object.keys(headers).some((name) => name.startsWith('x-amz-grant-'))
  if (grants || !['bucket-owner-full-control', ...(isOwner ? ['private'] : [])].includes(canned)) {
    throw new S3Failure('AccessControlListNotSupported')
  }
}

/** Entity tag as it is sent. */
export function quoted(etag: string): string {
  return `"${etag}"`
}

/** A version as it is named in headers; buckets without versions name none. */
export function versionHeader(bucket: BucketRecord, version: { readonly version: string }): Record<string, string> {
  return bucket.versioning === 'off' ? {} : { 'x-amz-version-id': version.version }
}

/** The version that a write has made, as its answer names it: only one that can be told from others. */
export function newVersionHeader(bucket: BucketRecord, version: { readonly version: string }): Record<string, string> {
  return bucket.versioning === 'enabled' ? { 'x-amz-version-id': version.version } : {}
}
