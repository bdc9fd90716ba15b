/**
 * Which operation of S3 a request asks for. Pure and total: a request that asks for something that is not done here is refused
 * by name, never taken for something else.
 */
import { S3Failure, notImplemented } from './failure.ts'
import type { S3Request } from './request.ts'

/** An operation that is done here. */
export type OperationName = 'ListBuckets' | BucketOperation | ObjectOperation

type BucketOperation =
  | 'CreateBucket'
  | 'DeleteBucket'
  | 'DeleteBucketCors'
  | 'DeleteBucketEncryption'
  | 'DeleteBucketLifecycle'
  | 'DeleteBucketOwnershipControls'
  | 'DeleteBucketPolicy'
  | 'DeleteBucketTagging'
  | 'DeleteObjects'
  | 'DeletePublicAccessBlock'
  | 'GetBucketAcl'
  | 'GetBucketCors'
  | 'GetBucketEncryption'
  | 'GetBucketLifecycle'
  | 'GetBucketLocation'
  | 'GetBucketOwnershipControls'
  | 'GetBucketPolicy'
  | 'GetBucketPolicyStatus'
  | 'GetBucketRequestPayment'
  | 'GetBucketTagging'
  | 'GetBucketVersioning'
  | 'GetObjectLockConfiguration'
  | 'GetPublicAccessBlock'
  | 'HeadBucket'
  | 'ListMultipartUploads'
  | 'ListObjectVersions'
  | 'ListObjects'
  | 'ListObjectsV2'
  | 'PostObject'
  | 'PutBucketAcl'
  | 'PutBucketCors'
  | 'PutBucketLifecycle'
  | 'PutBucketOwnershipControls'
  | 'PutBucketPolicy'
  | 'PutBucketTagging'
  | 'PutBucketVersioning'
  | 'PutObjectLockConfiguration'
  | 'PutPublicAccessBlock'

type ObjectOperation =
  | 'AbortMultipartUpload'
  | 'CompleteMultipartUpload'
  | 'CopyObject'
  | 'CreateMultipartUpload'
  | 'DeleteObject'
  | 'DeleteObjectTagging'
  | 'GetObject'
  | 'GetObjectAcl'
  | 'GetObjectAttributes'
  | 'GetObjectLegalHold'
  | 'GetObjectRetention'
  | 'GetObjectTagging'
  | 'HeadObject'
  | 'ListParts'
  | 'PutObject'
  | 'PutObjectAcl'
  | 'PutObjectLegalHold'
  | 'PutObjectRetention'
  | 'PutObjectTagging'
  | 'UploadPart'
  | 'UploadPartCopy'

type Routes<Name> = Readonly<Record<string, Readonly<Record<string, Name>>>>

/** Of a bucket: by the parameter that names what is meant, then by method. */
const bucketRoutes: Routes<BucketOperation> = {
  acl: { GET: 'GetBucketAcl', PUT: 'PutBucketAcl' },
  cors: { GET: 'GetBucketCors', PUT: 'PutBucketCors', DELETE: 'DeleteBucketCors' },
  delete: { POST: 'DeleteObjects' },
  encryption: { GET: 'GetBucketEncryption', DELETE: 'DeleteBucketEncryption' },
  lifecycle: { GET: 'GetBucketLifecycle', PUT: 'PutBucketLifecycle', DELETE: 'DeleteBucketLifecycle' },
  location: { GET: 'GetBucketLocation' },
  'object-lock': { GET: 'GetObjectLockConfiguration', PUT: 'PutObjectLockConfiguration' },
  ownershipControls: {
    GET: 'GetBucketOwnershipControls',
    PUT: 'PutBucketOwnershipControls',
    DELETE: 'DeleteBucketOwnershipControls',
  },
  policy: { GET: 'GetBucketPolicy', PUT: 'PutBucketPolicy', DELETE: 'DeleteBucketPolicy' },
  policyStatus: { GET: 'GetBucketPolicyStatus' },
  publicAccessBlock: { GET: 'GetPublicAccessBlock', PUT: 'PutPublicAccessBlock', DELETE: 'DeletePublicAccessBlock' },
  requestPayment: { GET: 'GetBucketRequestPayment' },
  tagging: { GET: 'GetBucketTagging', PUT: 'PutBucketTagging', DELETE: 'DeleteBucketTagging' },
  uploads: { GET: 'ListMultipartUploads' },
  versioning: { GET: 'GetBucketVersioning', PUT: 'PutBucketVersioning' },
  versions: { GET: 'ListObjectVersions' },
}

const objectRoutes: Routes<ObjectOperation> = {
  acl: { GET: 'GetObjectAcl', PUT: 'PutObjectAcl' },
  attributes: { GET: 'GetObjectAttributes' },
  'legal-hold': { GET: 'GetObjectLegalHold', PUT: 'PutObjectLegalHold' },
  retention: { GET: 'GetObjectRetention', PUT: 'PutObjectRetention' },
  tagging: { GET: 'GetObjectTagging', PUT: 'PutObjectTagging', DELETE: 'DeleteObjectTagging' },
  uploads: { POST: 'CreateMultipartUpload' },
}

/** What S3 has and this server has not. Asking for it must not fall through to something else. */
const missing: readonly string[] = [
  'abac',
  'accelerate',
  'analytics',
  'append',
  'intelligent-tiering',
  'inventory',
  'logging',
  'metadataConfiguration',
  'metadataTable',
  'metrics',
  'notification',
  'renameObject',
  'replication',
  'restore',
  'select',
  'session',
  'torrent',
  'website',
]

/** The operation of a request. Throws NotImplemented or MethodNotAllowed. */
export function operationOf(request: S3Request): OperationName {
  const { method, bucket, key, query } = request
  const unknown = missing.find((name) => query.has(name))
  if (unknown !== undefined) notImplemented(`"${unknown}"`)
  if (bucket === undefined) {
    if (method !== 'GET') throw new S3Failure('MethodNotAllowed')
    return 'ListBuckets'
  }
  return key === undefined ? bucketOperation(method, query) : objectOperation(request, query)
}

function bucketOperation(method: string, query: ReadonlyMap<string, string>): BucketOperation {
  const name = Object.keys(bucketRoutes).find((candidate) => query.has(candidate))
  if (name !== undefined) {
    const found = bucketRoutes[name]?.[method]
    if (found === undefined) notImplemented(`${method} of a bucket's "${name}"`)
    return found
  }
  switch (method) {
    case 'GET':
      return query.get('list-type') === '2' ? 'ListObjectsV2' : 'ListObjects'
    case 'HEAD':
      return 'HeadBucket'
    case 'PUT':
      return 'CreateBucket'
    case 'DELETE':
      return 'DeleteBucket'
    case 'POST':
      return 'PostObject'
    default:
      throw new S3Failure('MethodNotAllowed')
  }
}

function objectOperation({ method, headers }: S3Request, query: ReadonlyMap<string, string>): ObjectOperation {
  const name = Object.keys(objectRoutes).find((candidate) => query.has(candidate))
  if (name !== undefined) {
    const found = objectRoutes[name]?.[method]
    if (found === undefined) notImplemented(`${method} of an object's "${name}"`)
    return found
  }
  const copies = headers['x-amz-copy-source'] !== undefined
  const ofUpload = query.has('uploadId')
  switch (method) {
    case 'GET':
      return ofUpload ? 'ListParts' : 'GetObject'
    case 'HEAD':
      return 'HeadObject'
    case 'PUT':
      if (ofUpload) return copies ? 'UploadPartCopy' : 'UploadPart'
      return copies ? 'CopyObject' : 'PutObject'
    case 'DELETE':
      return ofUpload ? 'AbortMultipartUpload' : 'DeleteObject'
    case 'POST':
      if (ofUpload) return 'CompleteMultipartUpload'
      throw new S3Failure('MethodNotAllowed')
    default:
      throw new S3Failure('MethodNotAllowed')
  }
}
