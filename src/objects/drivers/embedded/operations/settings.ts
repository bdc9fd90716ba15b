/** Operations on what clients set on a bucket: rules, policy, tags, lists, ownership, lock. */
import { aclOfHeaders, aclTree, isPublicAcl, readAcl } from '../../../s3/acl.ts'
import { corsTree, readCors } from '../../../s3/cors.ts'
import { S3Failure, notImplemented } from '../../../s3/failure.ts'
import type { S3Code } from '../../../s3/failure.ts'
import { lifecycleTree, readLifecycle } from '../../../s3/lifecycle.ts'
import { lockRuleTree, readLockRule } from '../../../s3/lock.ts'
import { isPublicPolicy, policyBytesMax, readPolicy } from '../../../s3/policy.ts'
import { bucketTagsMax, readTags, tagsTree } from '../../../s3/tags.ts'
import { childOf, readXml, textOf, writeXml } from '../../../s3/xml.ts'
import type { XmlTree } from '../../../s3/xml.ts'
import { documentBytesMax, documentOf, ownershipOfBucket, xmlAnswer } from '../call.ts'
import type { Answer, BucketCall } from '../call.ts'
import type { BucketSettings } from '../records.ts'
import { ownershipNamed, refusePublicAcl } from './buckets.ts'

/** Changes settings and answers. */
async function change(
  { engine, bucket }: BucketCall,
  status: number,
  next: (settings: BucketSettings) => BucketSettings,
): Promise<Answer> {
  await engine.commit(() => engine.buckets.change(bucket.name, next))
  return { status }
}

/** Forgets one setting. */
function without(
  name: 'cors' | 'lifecycle' | 'ownership' | 'policy' | 'tags' | 'block',
): (call: BucketCall) => Promise<Answer> {
  return (call) =>
    change(call, 204, (settings) => {
      const { [name]: _gone, ...rest } = settings
      return rest
    })
}

function shown(root: string, tree: XmlTree | undefined, absent: S3Code): Answer {
  if (tree === undefined) throw new S3Failure(absent)
  return xmlAnswer(writeXml(root, tree))
}

export const deleteBucketCors: (call: BucketCall) => Promise<Answer> = without('cors')
export const deleteBucketLifecycle: (call: BucketCall) => Promise<Answer> = without('lifecycle')
export const deleteBucketOwnershipControls: (call: BucketCall) => Promise<Answer> = without('ownership')
export const deleteBucketPolicy: (call: BucketCall) => Promise<Answer> = without('policy')
export const deleteBucketTagging: (call: BucketCall) => Promise<Answer> = without('tags')
export const deletePublicAccessBlock: (call: BucketCall) => Promise<Answer> = without('block')

export function getBucketCors({ bucket: { settings } }: BucketCall): Answer {
  return shown('CORSConfiguration', settings.cors && corsTree(settings.cors), 'NoSuchCORSConfiguration')
}

export async function putBucketCors(call: BucketCall): Promise<Answer> {
  const cors = readCors(await documentOf(call, 'CORSConfiguration'))
  return change(call, 200, (settings) => ({ ...settings, cors }))
}

export function getBucketLifecycle({ bucket: { settings } }: BucketCall): Answer {
  const tree = settings.lifecycle && lifecycleTree(settings.lifecycle)
  return shown('LifecycleConfiguration', tree, 'NoSuchLifecycleConfiguration')
}

export async function putBucketLifecycle(call: BucketCall): Promise<Answer> {
  const lifecycle = readLifecycle(await documentOf(call, 'LifecycleConfiguration'), () => call.engine.newId())
  return change(call, 200, (settings) => ({ ...settings, lifecycle }))
}

export function getBucketTagging({ bucket: { settings } }: BucketCall): Answer {
  return shown('Tagging', settings.tags && tagsTree(settings.tags), 'NoSuchTagSet')
}

export async function putBucketTagging(call: BucketCall): Promise<Answer> {
  const tags = readTags(await documentOf(call, 'Tagging'), bucketTagsMax)
  return change(call, 204, (settings) => ({ ...settings, tags }))
}

export function getBucketPolicy({ bucket: { settings } }: BucketCall): Answer {
  if (settings.policy === undefined) throw new S3Failure('NoSuchBucketPolicy')
  return { status: 200, headers: { 'content-type': 'application/json' }, body: settings.policy }
}

export async function putBucketPolicy(call: BucketCall): Promise<Answer> {
  const text = await call.body.text(policyBytesMax)
  const policy = readPolicy(text, call.bucket.name)
  if (call.bucket.settings.block?.blockPolicy === true && isPublicPolicy(policy)) {
    throw new S3Failure('AccessDenied', 'The bucket blocks public policies.')
  }
  return change(call, 204, (settings) => ({ ...settings, policy: text }))
}

export function getBucketPolicyStatus({ bucket }: BucketCall): Answer {
  const { name, settings } = bucket
  const policy = settings.policy === undefined ? undefined : readPolicy(settings.policy, name)
  const isPublic =
    isPublicPolicy(policy) || (ownershipOfBucket(bucket) !== 'BucketOwnerEnforced' && isPublicAcl(settings.acl))
  return xmlAnswer(writeXml('PolicyStatus', { IsPublic: isPublic }))
}

export function getPublicAccessBlock({ bucket: { settings } }: BucketCall): Answer {
  const { block } = settings
  const tree = block && {
    BlockPublicAcls: block.blockAcls,
    IgnorePublicAcls: block.ignoreAcls,
    BlockPublicPolicy: block.blockPolicy,
    RestrictPublicBuckets: block.restrict,
  }
  return shown('PublicAccessBlockConfiguration', tree, 'NoSuchPublicAccessBlockConfiguration')
}

export async function putPublicAccessBlock(call: BucketCall): Promise<Answer> {
  const root = await documentOf(call, 'PublicAccessBlockConfiguration')
  const truth = (name: string): boolean => textOf(root, name)?.toLowerCase() === 'true'
  const block = {
    blockAcls: truth('BlockPublicAcls'),
    ignoreAcls: truth('IgnorePublicAcls'),
    blockPolicy: truth('BlockPublicPolicy'),
    restrict: truth('RestrictPublicBuckets'),
  }
  return change(call, 200, (settings) => ({ ...settings, block }))
}

export function getBucketAcl({ bucket, accounts }: BucketCall): Answer {
  return xmlAnswer(writeXml('AccessControlPolicy', aclTree(bucket.owner, bucket.settings.acl, accounts)))
}

export async function putBucketAcl(call: BucketCall): Promise<Answer> {
  const { bucket, accounts, request } = call
  if (ownershipOfBucket(bucket) === 'BucketOwnerEnforced') throw new S3Failure('AccessControlListNotSupported')
  const asked = aclOfHeaders(request.headers, bucket.owner, bucket.owner, accounts)
  const text = await call.body.text(documentBytesMax)
  const acl = asked ?? readAcl(readXml(text, 'AccessControlPolicy'), bucket.owner, accounts)
  refusePublicAcl(bucket, acl)
  return change(call, 200, (settings) => ({ ...settings, acl }))
}

export function getBucketOwnershipControls({ bucket: { settings } }: BucketCall): Answer {
  const tree = settings.ownership && { Rule: { ObjectOwnership: settings.ownership } }
  return shown('OwnershipControls', tree, 'OwnershipControlsNotFoundError')
}

export async function putBucketOwnershipControls(call: BucketCall): Promise<Answer> {
  const rule = childOf(await documentOf(call, 'OwnershipControls'), 'Rule')
  const ownership = ownershipNamed(textOf(rule, 'ObjectOwnership') ?? '')
  return change(call, 200, (settings) => {
    if (ownership === 'BucketOwnerEnforced' && isPublicAcl(settings.acl)) {
      throw new S3Failure('InvalidBucketAclWithObjectOwnership')
    }
    return { ...settings, ownership }
  })
}

export function getBucketEncryption(): Answer {
  throw new S3Failure('ServerSideEncryptionConfigurationNotFoundError')
}

/** There is never one to delete. */
export function deleteBucketEncryption(): Answer {
  return { status: 204 }
}

export function getObjectLockConfiguration({ bucket }: BucketCall): Answer {
  if (!bucket.locked) throw new S3Failure('ObjectLockConfigurationNotFoundError')
  return xmlAnswer(writeXml('ObjectLockConfiguration', lockRuleTree(bucket.settings.lockRule)))
}

export async function putObjectLockConfiguration(call: BucketCall): Promise<Answer> {
  const { bucket, engine, request } = call
  const rule = readLockRule(await documentOf(call, 'ObjectLockConfiguration'))
  if (request.headers['x-amz-bucket-object-lock-token'] !== undefined) notImplemented('object lock by a token')
  await engine.commit(() => {
    if (engine.buckets.get(bucket.name).versioning !== 'enabled') {
      throw new S3Failure('InvalidBucketState', 'Object lock needs versions: enable versioning first.')
    }
    engine.buckets.lock(bucket.name)
    engine.buckets.change(bucket.name, ({ lockRule: _old, ...settings }) => ({
      ...settings,
      ...(rule && { lockRule: rule }),
    }))
  })
  return { status: 200 }
}
