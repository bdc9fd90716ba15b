/** Operations on what is set on one version: tags, list, retention, legal hold. */
import { aclOfHeaders, aclTree, readAcl } from '../../../s3/acl.ts'
import { S3Failure } from '../../../s3/failure.ts'
import { checkRetentionChange, lockless, readLegalHold, readRetention, retentionTree } from '../../../s3/lock.ts'
import { objectTagsMax, readTags, tagsTree } from '../../../s3/tags.ts'
import type { Tags } from '../../../s3/tags.ts'
import { readXml, writeXml } from '../../../s3/xml.ts'
import {
  authorize,
  documentBytesMax,
  documentOf,
  ownershipOfBucket,
  tagValues,
  versionHeader,
  xmlAnswer,
} from '../call.ts'
import type { Answer, ObjectCall } from '../call.ts'
import type { VersionRecord } from '../records.ts'
import { refusePublicAcl } from './buckets.ts'
import { readable } from './read.ts'
import { mayBypass } from './write.ts'

/** Changes a version as it stands at that moment, and answers with its name. */
async function change(call: ObjectCall, status: number, work: (version: VersionRecord) => void): Promise<Answer> {
  const version = readable(call)
  await call.engine.commit(() => work(call.engine.versions.get(call.bucket.name, call.key, version.version)))
  return { status, headers: versionHeader(call.bucket, version) }
}

export function getObjectTagging(call: ObjectCall): Answer {
  const version = readable(call)
  return xmlAnswer(writeXml('Tagging', tagsTree(version.tags)), versionHeader(call.bucket, version))
}

export async function putObjectTagging(call: ObjectCall): Promise<Answer> {
  const tags = readTags(await documentOf(call, 'Tagging'), objectTagsMax)
  return setTags(call, 200, tags, 's3:PutObjectTagging')
}

export function deleteObjectTagging(call: ObjectCall): Promise<Answer> {
  return setTags(call, 204, [], 's3:DeleteObjectTagging')
}

/** A policy may look at the tags that are to be set, so it is asked again when they are known. */
function setTags(call: ObjectCall, status: number, tags: Tags, action: string): Promise<Answer> {
  const { bucket, key, version } = call
  const values = new Map([...call.values, ...tagValues('request', tags)])
  authorize({ ...call, values }, action, bucket, { key, version })
  return change(call, status, (current) => call.engine.versions.setTags(current, tags))
}

export function getObjectAcl(call: ObjectCall): Answer {
  const version = readable(call)
  const { bucket, accounts } = call
  const enforced = ownershipOfBucket(bucket) === 'BucketOwnerEnforced'
  const owner = enforced ? bucket.owner : version.owner
  const acl = enforced ? [{ grantee: owner, permission: 'FULL_CONTROL' as const }] : version.acl
  return xmlAnswer(writeXml('AccessControlPolicy', aclTree(owner, acl, accounts)))
}

export async function putObjectAcl(call: ObjectCall): Promise<Answer> {
  const { bucket, accounts, request, engine } = call
  if (ownershipOfBucket(bucket) === 'BucketOwnerEnforced') throw new S3Failure('AccessControlListNotSupported')
  const version = readable(call)
  const asked = aclOfHeaders(request.headers, version.owner, bucket.owner, accounts)
  const text = await call.body.text(documentBytesMax)
  const acl = asked ?? readAcl(readXml(text, 'AccessControlPolicy'), version.owner, accounts)
  refusePublicAcl(bucket, acl)
  return change(call, 200, (current) => engine.versions.setAcl(current, acl))
}

export function getObjectRetention(call: ObjectCall): Answer {
  if (!call.bucket.locked) throw lockless()
  const { retention } = readable(call).lock
  if (retention === undefined) throw new S3Failure('NoSuchObjectLockConfiguration')
  return xmlAnswer(writeXml('Retention', retentionTree(retention)))
}

export async function putObjectRetention(call: ObjectCall): Promise<Answer> {
  const { bucket, engine, key } = call
  if (!bucket.locked) throw lockless()
  const retention = readRetention(await documentOf(call, 'Retention'))
  const bypass = mayBypass(call, key, call.version)
  return change(call, 200, (current) => {
    checkRetentionChange(current.lock, retention, engine.nowMs(), bypass)
    engine.versions.setLock(current, { ...current.lock, retention })
  })
}

export function getObjectLegalHold(call: ObjectCall): Answer {
  if (!call.bucket.locked) throw lockless()
  const { legalHold } = readable(call).lock
  if (legalHold === undefined) throw new S3Failure('NoSuchObjectLockConfiguration')
  return xmlAnswer(writeXml('LegalHold', { Status: legalHold ? 'ON' : 'OFF' }))
}

export async function putObjectLegalHold(call: ObjectCall): Promise<Answer> {
  const { bucket, engine } = call
  if (!bucket.locked) throw lockless()
  const legalHold = readLegalHold(await documentOf(call, 'LegalHold'))
  return change(call, 200, (current) => engine.versions.setLock(current, { ...current.lock, legalHold }))
}
