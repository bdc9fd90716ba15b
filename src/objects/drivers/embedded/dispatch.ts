/**
 * From a request to its answer: which operation it is, whether who sends it may do that, and who does it. Everything that
 * fails on the way is an S3Failure; a bug is not caught here.
 */
import { S3Failure } from '../../s3/failure.ts'
import type { Credential } from '../../s3/authenticate.ts'
import { operationOf } from '../../s3/operations.ts'
import type { OperationName } from '../../s3/operations.ts'
import { readTagHeader } from '../../s3/tags.ts'
import { authorize, tagValues } from './call.ts'
import type { Answer, BucketCall, Call, ObjectCall } from './call.ts'
import * as buckets from './operations/buckets.ts'
import * as listing from './operations/listing.ts'
import * as multipart from './operations/multipart.ts'
import * as objectSettings from './operations/object-settings.ts'
import { postObject } from './operations/post.ts'
import * as read from './operations/read.ts'
import * as settings from './operations/settings.ts'
import * as write from './operations/write.ts'

/** What answers an operation on a bucket, and the action that a caller must be allowed. */
interface BucketEntry {
  readonly action: string
  readonly run: (call: BucketCall) => Answer | Promise<Answer>
}

/** The same on a key. `exists`: the action is on an object that must be there. */
interface ObjectEntry {
  readonly action: string
  readonly exists: boolean
  readonly run: (call: ObjectCall) => Answer | Promise<Answer>
}

type BucketName = Exclude<
  OperationName,
  'ListBuckets' | 'CreateBucket' | 'PostObject' | 'DeleteObjects' | keyof typeof objectTable
>

const objectTable = {
  AbortMultipartUpload: { action: 'AbortMultipartUpload', exists: false, run: multipart.abortMultipartUpload },
  CompleteMultipartUpload: { action: 'PutObject', exists: false, run: multipart.completeMultipartUpload },
  CopyObject: { action: 'PutObject', exists: false, run: write.copyObject },
  CreateMultipartUpload: { action: 'PutObject', exists: false, run: multipart.createMultipartUpload },
  DeleteObject: { action: 'DeleteObject', exists: false, run: write.deleteObject },
  DeleteObjectTagging: { action: 'DeleteObjectTagging', exists: true, run: objectSettings.deleteObjectTagging },
  GetObject: { action: 'GetObject', exists: true, run: read.getObject },
  GetObjectAcl: { action: 'GetObjectAcl', exists: true, run: objectSettings.getObjectAcl },
  GetObjectAttributes: { action: 'GetObjectAttributes', exists: true, run: read.getObjectAttributes },
  GetObjectLegalHold: { action: 'GetObjectLegalHold', exists: true, run: objectSettings.getObjectLegalHold },
  GetObjectRetention: { action: 'GetObjectRetention', exists: true, run: objectSettings.getObjectRetention },
  GetObjectTagging: { action: 'GetObjectTagging', exists: true, run: objectSettings.getObjectTagging },
  HeadObject: { action: 'GetObject', exists: true, run: read.headObject },
  ListParts: { action: 'ListMultipartUploadParts', exists: false, run: multipart.listParts },
  PutObject: { action: 'PutObject', exists: false, run: write.putObject },
  PutObjectAcl: { action: 'PutObjectAcl', exists: true, run: objectSettings.putObjectAcl },
  PutObjectLegalHold: { action: 'PutObjectLegalHold', exists: true, run: objectSettings.putObjectLegalHold },
  PutObjectRetention: { action: 'PutObjectRetention', exists: true, run: objectSettings.putObjectRetention },
  PutObjectTagging: { action: 'PutObjectTagging', exists: true, run: objectSettings.putObjectTagging },
  UploadPart: { action: 'PutObject', exists: false, run: multipart.uploadPart },
  UploadPartCopy: { action: 'PutObject', exists: false, run: multipart.uploadPartCopy },
} as const satisfies Partial<Record<OperationName, ObjectEntry>>

const bucketTable: Readonly<Record<BucketName, BucketEntry>> = {
  DeleteBucket: { action: 'DeleteBucket', run: buckets.deleteBucket },
  DeleteBucketCors: { action: 'PutBucketCORS', run: settings.deleteBucketCors },
  DeleteBucketEncryption: { action: 'PutEncryptionConfiguration', run: settings.deleteBucketEncryption },
  DeleteBucketLifecycle: { action: 'PutLifecycleConfiguration', run: settings.deleteBucketLifecycle },
  DeleteBucketOwnershipControls: { action: 'PutBucketOwnershipControls', run: settings.deleteBucketOwnershipControls },
  DeleteBucketPolicy: { action: 'DeleteBucketPolicy', run: settings.deleteBucketPolicy },
  DeleteBucketTagging: { action: 'PutBucketTagging', run: settings.deleteBucketTagging },
  DeletePublicAccessBlock: { action: 'PutBucketPublicAccessBlock', run: settings.deletePublicAccessBlock },
  GetBucketAcl: { action: 'GetBucketAcl', run: settings.getBucketAcl },
  GetBucketCors: { action: 'GetBucketCORS', run: settings.getBucketCors },
  GetBucketEncryption: { action: 'GetEncryptionConfiguration', run: settings.getBucketEncryption },
  GetBucketLifecycle: { action: 'GetLifecycleConfiguration', run: settings.getBucketLifecycle },
  GetBucketLocation: { action: 'GetBucketLocation', run: buckets.getBucketLocation },
  GetBucketOwnershipControls: { action: 'GetBucketOwnershipControls', run: settings.getBucketOwnershipControls },
  GetBucketPolicy: { action: 'GetBucketPolicy', run: settings.getBucketPolicy },
  GetBucketPolicyStatus: { action: 'GetBucketPolicyStatus', run: settings.getBucketPolicyStatus },
  GetBucketRequestPayment: { action: 'GetBucketRequestPayment', run: buckets.getBucketRequestPayment },
  GetBucketTagging: { action: 'GetBucketTagging', run: settings.getBucketTagging },
  GetBucketVersioning: { action: 'GetBucketVersioning', run: buckets.getBucketVersioning },
  GetObjectLockConfiguration: { action: 'GetBucketObjectLockConfiguration', run: settings.getObjectLockConfiguration },
  GetPublicAccessBlock: { action: 'GetBucketPublicAccessBlock', run: settings.getPublicAccessBlock },
  HeadBucket: { action: 'ListBucket', run: buckets.headBucket },
  ListMultipartUploads: { action: 'ListBucketMultipartUploads', run: listing.listMultipartUploads },
  ListObjectVersions: { action: 'ListBucketVersions', run: listing.listObjectVersions },
  ListObjects: { action: 'ListBucket', run: listing.listObjectsV1 },
  ListObjectsV2: { action: 'ListBucket', run: listing.listObjectsV2 },
  PutBucketAcl: { action: 'PutBucketAcl', run: settings.putBucketAcl },
  PutBucketCors: { action: 'PutBucketCORS', run: settings.putBucketCors },
  PutBucketLifecycle: { action: 'PutLifecycleConfiguration', run: settings.putBucketLifecycle },
  PutBucketOwnershipControls: { action: 'PutBucketOwnershipControls', run: settings.putBucketOwnershipControls },
  PutBucketPolicy: { action: 'PutBucketPolicy', run: settings.putBucketPolicy },
  PutBucketTagging: { action: 'PutBucketTagging', run: settings.putBucketTagging },
  PutBucketVersioning: { action: 'PutBucketVersioning', run: buckets.putBucketVersioning },
  PutObjectLockConfiguration: { action: 'PutBucketObjectLockConfiguration', run: settings.putObjectLockConfiguration },
  PutPublicAccessBlock: { action: 'PutBucketPublicAccessBlock', run: settings.putPublicAccessBlock },
}

function isObjectOperation(name: OperationName): name is keyof typeof objectTable {
  return Object.hasOwn(objectTable, name)
}

/** Answers a call. `find` knows the keys that may have signed a form. */
export async function dispatch(call: Call, find: (accessKeyId: string) => Credential | undefined): Promise<Answer> {
  const { request, engine } = call
  const name = operationOf(request)
  if (name === 'ListBuckets') return buckets.listBuckets(call)
  if (name === 'CreateBucket') return buckets.createBucket(call)
  const bucket = engine.buckets.get(request.bucket ?? '')
  const expected = request.headers['x-amz-expected-bucket-owner']
  if (expected !== undefined && expected !== bucket.owner) throw new S3Failure('AccessDenied')
  const bucketCall: BucketCall = { ...call, bucket }
  if (name === 'PostObject') return postObject(bucketCall, find)
  // Each key is asked about by itself.
  if (name === 'DeleteObjects') return write.deleteObjects(bucketCall)
  if (!isObjectOperation(name)) {
    const entry = bucketTable[name]
    authorize(call, `s3:${entry.action}`, bucket)
    return entry.run(bucketCall)
  }
  const entry: ObjectEntry = objectTable[name]
  const key = request.key ?? ''
  const versionId = request.query.get('versionId')
  const version = engine.versions.find(bucket.name, key, versionId)
  const values = new Map([...call.values, ...tagValues('request', readTagHeader(request.headers['x-amz-tagging']))])
  const target = { key, version: entry.action === 'PutObject' ? undefined : version, mustExist: entry.exists }
  authorize({ ...call, values }, actionOf(entry.action, versionId), bucket, target)
  return entry.run({ ...bucketCall, values, key, version })
}

/** On a named version most actions have a name of their own. */
function actionOf(action: string, versionId: string | undefined): string {
  const versioned = versionId !== undefined && /^(?:Get|Put|Delete)Object(?:Acl|Attributes|Tagging)?$/.test(action)
  return `s3:${versioned ? action.replace('Object', 'ObjectVersion') : action}`
}
