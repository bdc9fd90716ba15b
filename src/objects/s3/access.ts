/**
 * Who may do what: the one decision, from the caller, the bucket, the object and the bucket policy. Pure. A refusal of the
 * policy wins over everything; then comes the owner, then the rights of the credential, then policy and lists.
 */
import { isPublicAcl, permits } from './acl.ts'
import type { Grant, Permission } from './acl.ts'
import { askPolicy, isPublicPolicy } from './policy.ts'
import type { Policy } from './policy.ts'

const rights = ['read', 'write', 'list'] as const
/** What a part may do with a bucket. */
export type Right = (typeof rights)[number]

/** Who asks. A caller without `rights` is the holder of the account; one with them may do just that and owns nothing. */
export interface Caller {
  /** Empty for nobody in particular. */
  readonly account: string
  readonly rights?: Readonly<Record<string, readonly Right[]>>
}

/** What protects a bucket from being public. */
export interface PublicAccessBlock {
  readonly blockAcls: boolean
  readonly ignoreAcls: boolean
  readonly blockPolicy: boolean
  readonly restrict: boolean
}

/** What is asked about. */
export interface AccessQuestion {
  readonly caller: Caller
  readonly action: string
  readonly bucket: string
  readonly key?: string
  readonly bucketOwner: string
  readonly bucketAcl: readonly Grant[]
  /** Of the object, where the action reads or changes one that exists. */
  readonly object?: { readonly owner: string; readonly acl: readonly Grant[] }
  readonly policy: Policy | undefined
  readonly block: PublicAccessBlock | undefined
  /** Whether lists count: not where the owner of the bucket owns all that is in it. */
  readonly aclsCount: boolean
  readonly values: ReadonlyMap<string, string>
}

/** Which right each action needs of a caller with rights; others are refused to them. */
const rightOf: Readonly<Record<string, Right>> = {
  's3:GetObject': 'read',
  's3:GetObjectAttributes': 'read',
  's3:GetObjectTagging': 'read',
  's3:GetObjectRetention': 'read',
  's3:GetObjectLegalHold': 'read',
  's3:PutObject': 'write',
  's3:PutObjectTagging': 'write',
  's3:DeleteObject': 'write',
  's3:DeleteObjectTagging': 'write',
  's3:AbortMultipartUpload': 'write',
  's3:ListMultipartUploadParts': 'write',
  's3:PutObjectRetention': 'write',
  's3:PutObjectLegalHold': 'write',
  's3:ListBucket': 'list',
  's3:ListBucketVersions': 'list',
  's3:ListBucketMultipartUploads': 'list',
  's3:GetBucketLocation': 'list',
  's3:GetBucketVersioning': 'list',
  's3:GetBucketObjectLockConfiguration': 'list',
}

/** Which permission of a list covers an action, and whether the object's list is asked or the bucket's. */
const permissionOf: Readonly<Record<string, readonly ['bucket' | 'object', Permission]>> = {
  's3:ListBucket': ['bucket', 'READ'],
  's3:ListBucketVersions': ['bucket', 'READ'],
  's3:ListBucketMultipartUploads': ['bucket', 'READ'],
  's3:PutObject': ['bucket', 'WRITE'],
  's3:DeleteObject': ['bucket', 'WRITE'],
  's3:AbortMultipartUpload': ['bucket', 'WRITE'],
  's3:GetBucketAcl': ['bucket', 'READ_ACP'],
  's3:PutBucketAcl': ['bucket', 'WRITE_ACP'],
  's3:GetObject': ['object', 'READ'],
  's3:GetObjectAttributes': ['object', 'READ'],
  's3:GetObjectAcl': ['object', 'READ_ACP'],
  's3:PutObjectAcl': ['object', 'WRITE_ACP'],
}

/** An action on a named version needs what the same on the current one needs. */
function plain(action: string): string {
  return action.replace(/^(s3:(?:Get|Put|Delete)Object)Version/, '$1')
}

/** What the holder of a bucket may always do with its policy, or a mistake in it would lock the bucket for ever. */
const ownPolicy = ['s3:GetBucketPolicy', 's3:PutBucketPolicy', 's3:DeleteBucketPolicy']

/** Whether the request may go on. */
export function mayAccess(question: AccessQuestion): boolean {
  const { caller, action, bucketOwner, policy, block } = question
  const isOwner = caller.rights === undefined && caller.account !== '' && caller.account === bucketOwner
  if (isOwner && ownPolicy.includes(action)) return true
  const verdict = askPolicy(policy, {
    action,
    resource: question.key === undefined ? question.bucket : `${question.bucket}/${question.key}`,
    account: caller.account,
    values: question.values,
  })
  if (verdict === 'deny') return false
  if (caller.rights !== undefined) return hasRight(caller.rights, question)
  const foreign = question.aclsCount && question.object !== undefined && question.object.owner !== bucketOwner
  if (foreign ? question.object?.owner === caller.account && caller.account !== '' : isOwner) return true
  if (isOwner && foreign && !/^s3:(?:GetObject|PutObject(?:Version)?Acl)/.test(action)) return true
  if (verdict === 'allow' && !(block?.restrict === true && isPublicPolicy(policy))) return true
  return question.aclsCount && listPermits(question)
}

function hasRight(granted: Readonly<Record<string, readonly Right[]>>, { action, bucket }: AccessQuestion): boolean {
  const needed = rightOf[plain(action)]
  return needed !== undefined && Object.hasOwn(granted, bucket) && (granted[bucket]?.includes(needed) ?? false)
}

function listPermits({ caller, action, bucketAcl, object, block }: AccessQuestion): boolean {
  const [kind, permission] = permissionOf[plain(action)] ?? []
  if (kind === undefined || permission === undefined) return false
  const grants = kind === 'bucket' ? bucketAcl : (object?.acl ?? [])
  const counted =
    block?.ignoreAcls === true && isPublicAcl(grants) ? grants.filter((grant) => !isPublicAcl([grant])) : grants
  return permits(counted, caller.account, permission)
}

/** Whether the caller may list a bucket, which decides between 404 and 403 for objects that are not there. */
export function mayList(question: AccessQuestion): boolean {
  const { object: _none, key: _key, ...bucket } = question
  return mayAccess({ ...bucket, action: 's3:ListBucket' })
}
