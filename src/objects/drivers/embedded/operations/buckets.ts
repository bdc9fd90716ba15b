/** Operations on buckets as wholes. */
import { aclOfHeaders, isPublicAcl, ownerTree } from '../../../s3/acl.ts'
import { S3Failure } from '../../../s3/failure.ts'
import { isBucketName, numberParameter } from '../../../s3/request.ts'
import { readXml, requiredText, textOf, writeXml } from '../../../s3/xml.ts'
import { documentBytesMax, documentOf, ownerOf, refuseLists, xmlAnswer } from '../call.ts'
import type { Answer, BucketCall, Call } from '../call.ts'
import type { BucketRecord, Ownership } from '../records.ts'

export function listBuckets(call: Call): Answer {
  if (call.caller.account === '') throw new S3Failure('AccessDenied')
  const { request, caller, accounts } = call
  const limit = numberParameter(request, 'max-buckets', [1, 10_000], 10_000)
  const prefix = request.query.get('prefix') ?? ''
  const after = request.query.get('continuation-token') ?? ''
  const rights = caller.rights
  const visible = call.engine.buckets
    .list(rights === undefined ? caller.account : undefined)
    .filter(({ name }) => name.startsWith(prefix) && name > after)
    .filter(({ name }) => rights === undefined || (rights[name]?.length ?? 0) > 0)
  const page = visible.slice(0, limit)
  return xmlAnswer(
    writeXml('ListAllMyBucketsResult', {
      Owner: ownerTree(caller.account, accounts),
      Buckets: {
        Bucket: page.map(({ name, createdMs }) => ({ Name: name, CreationDate: new Date(createdMs).toISOString() })),
      },
      Prefix: prefix === '' ? undefined : prefix,
      ContinuationToken: visible.length > page.length ? page.at(-1)?.name : undefined,
    }),
  )
}

export async function createBucket(call: Call): Promise<Answer> {
  const { request, caller, engine } = call
  const name = request.bucket ?? ''
  // A program that makes its bucket before it uses it is told that it has it.
  if (Object.hasOwn(caller.rights ?? {}, name) && engine.buckets.find(name) !== undefined)
    return { status: 200, headers: { location: `/${name}` } }
  if (caller.account === '' || caller.rights !== undefined) throw new S3Failure('AccessDenied')
  if (!isBucketName(name)) throw new S3Failure('InvalidBucketName')
  const source = await call.body.text(documentBytesMax)
  const configuration = source === '' ? undefined : readXml(source, 'CreateBucketConfiguration')
  const location = textOf(configuration, 'LocationConstraint') ?? ''
  if (location !== '' && location !== call.region) throw new S3Failure('IllegalLocationConstraintException')
  const { headers } = request
  const owner = ownerOf(caller)
  const asked = headers['x-amz-object-ownership']
  const ownership = ownershipNamed(asked ?? call.defaultOwnership)
  if (ownership === 'BucketOwnerEnforced') refuseLists(headers, true)
  const acl = aclOfHeaders(headers, owner, owner, call.accounts)
  const locked = headers['x-amz-bucket-object-lock-enabled']?.toLowerCase() === 'true'
  const bucket: BucketRecord = {
    name,
    owner,
    createdMs: engine.nowMs(),
    versioning: locked ? 'enabled' : 'off',
    locked,
    settings: {
      acl: acl ?? [{ grantee: owner, permission: 'FULL_CONTROL' }],
      ...(asked === undefined && ownership === 'ObjectWriter' ? {} : { ownership }),
    },
  }
  const answer = { status: 200, headers: { location: `/${name}` } }
  return engine.commit(() => {
    const found = engine.buckets.find(name)
    // Making one's own bucket again changes nothing, and clients rely on that.
    if (found?.owner === owner && acl === undefined) return answer
    engine.buckets.create(bucket)
    return answer
  })
}

/** Throws InvalidArgument. */
export function ownershipNamed(name: string): Ownership {
  if (name === 'BucketOwnerEnforced' || name === 'BucketOwnerPreferred' || name === 'ObjectWriter') return name
  throw new S3Failure('InvalidArgument', `There is no ownership named ${name}.`)
}

export async function deleteBucket({ engine, bucket }: BucketCall): Promise<Answer> {
  await engine.deleteBucket(bucket.name)
  return { status: 204 }
}

export function headBucket({ region }: BucketCall): Answer {
  return { status: 200, headers: { 'x-amz-bucket-region': region } }
}

export function getBucketLocation({ region }: BucketCall): Answer {
  const shown = region === 'us-east-1' ? '' : region
  const xmlns = 'http://s3.amazonaws.com/doc/2006-03-01/'
  return xmlAnswer(
    `<?xml version="1.0" encoding="UTF-8"?>\n<LocationConstraint xmlns="${xmlns}">${shown}</LocationConstraint>`,
  )
}

export function getBucketRequestPayment(): Answer {
  return xmlAnswer(writeXml('RequestPaymentConfiguration', { Payer: 'BucketOwner' }))
}

export function getBucketVersioning({ bucket }: BucketCall): Answer {
  const status = { off: undefined, enabled: 'Enabled', suspended: 'Suspended' }[bucket.versioning]
  return xmlAnswer(writeXml('VersioningConfiguration', { Status: status }))
}

export async function putBucketVersioning(call: BucketCall): Promise<Answer> {
  const root = await documentOf(call, 'VersioningConfiguration')
  const status = requiredText(root, 'Status')
  if (status !== 'Enabled' && status !== 'Suspended')
    throw new S3Failure('MalformedXML', 'The status must be Enabled or Suspended.')
  if (textOf(root, 'MfaDelete') === 'Enabled') throw new S3Failure('NotImplemented', 'This server does not do MFA.')
  const { engine, bucket } = call
  await engine.commit(() => {
    if (engine.buckets.get(bucket.name).locked && status === 'Suspended') {
      throw new S3Failure('InvalidBucketState', 'The versions of a bucket with object lock cannot be suspended.')
    }
    engine.buckets.setVersioning(bucket.name, status === 'Enabled' ? 'enabled' : 'suspended')
  })
  return { status: 200 }
}

/** Throws AccessDenied where a bucket blocks public lists and this is one. */
export function refusePublicAcl(bucket: BucketRecord, acl: Parameters<typeof isPublicAcl>[0]): void {
  if (bucket.settings.block?.blockAcls === true && isPublicAcl(acl)) {
    throw new S3Failure('AccessDenied', 'The bucket blocks public lists.')
  }
}
