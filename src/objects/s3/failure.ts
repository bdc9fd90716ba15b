/**
 * The errors of the S3 protocol: each code with its status and its sentence. A client library branches on code and status,
 * so they are what S3 answers; the sentence is ours and says what to do.
 */

const table = {
  AccessControlListNotSupported: [400, 'The bucket does not allow access control lists.'],
  AccessDenied: [403, 'Access denied.'],
  AuthorizationHeaderMalformed: [400, 'The Authorization header cannot be read as Signature Version 4.'],
  AuthorizationQueryParametersError: [400, 'The signature parameters of the URL are incomplete or malformed.'],
  BadDigest: [400, 'The checksum given does not match the bytes that arrived.'],
  BucketAlreadyExists: [409, 'The name of the bucket is taken.'],
  BucketAlreadyOwnedByYou: [409, 'The bucket exists already and is yours.'],
  BucketNotEmpty: [409, 'The bucket still holds objects or versions.'],
  ConditionalRequestConflict: [409, 'Another write of the same key came in between; try again.'],
  EntityTooLarge: [400, 'The object is larger than allowed.'],
  EntityTooSmall: [400, 'A part other than the last is smaller than 5 MiB.'],
  IllegalLocationConstraintException: [400, 'The location does not belong to this server.'],
  IncompleteBody: [400, 'The body ended before its announced length.'],
  InternalError: [500, 'The server failed; it has logged why. Trying again is safe.'],
  InvalidAccessKeyId: [403, 'The access key is not known here.'],
  InvalidArgument: [400, 'An argument is not valid.'],
  InvalidBucketName: [400, 'The name of the bucket is not valid.'],
  InvalidBucketState: [409, 'The bucket is not in a state that allows this.'],
  InvalidDigest: [400, 'Content-MD5 is not a base64 MD5.'],
  InvalidEncryptionAlgorithmError: [400, 'The encryption algorithm is not known.'],
  InvalidPart: [400, 'A part was not found, or its ETag or checksum differs from what was uploaded.'],
  InvalidPartOrder: [400, 'Parts must be listed in ascending order.'],
  InvalidPolicyDocument: [400, 'The policy of the form is not valid.'],
  InvalidRange: [416, 'The range lies outside of the object.'],
  InvalidRequest: [400, 'The request is not valid.'],
  InvalidRetentionPeriod: [400, 'The retention period must be a positive number.'],
  InvalidTag: [400, 'A tag is not valid.'],
  InvalidURI: [400, 'The URL cannot be decoded.'],
  InvalidStorageClass: [400, 'This server has one storage class, STANDARD.'],
  InvalidBucketAclWithObjectOwnership: [400, 'The bucket has a public list, which this ownership does not allow.'],
  KeyTooLongError: [400, 'The key is longer than 1,024 bytes.'],
  MalformedACLError: [400, 'The access control list is not valid.'],
  MalformedPOSTRequest: [400, 'The form is not valid multipart/form-data.'],
  MalformedPolicy: [400, 'The bucket policy is not valid.'],
  MalformedXML: [400, 'The XML is not well formed or not what the operation expects.'],
  MaxMessageLengthExceeded: [400, 'The request is too large.'],
  MetadataTooLarge: [400, 'User metadata is larger than 2 KiB.'],
  MethodNotAllowed: [405, 'The method is not allowed on this resource.'],
  MissingContentLength: [411, 'Content-Length is missing.'],
  MissingSecurityHeader: [400, 'A required header is missing.'],
  NoSuchBucket: [404, 'The bucket does not exist.'],
  NoSuchBucketPolicy: [404, 'The bucket has no policy.'],
  NoSuchCORSConfiguration: [404, 'The bucket has no CORS configuration.'],
  NoSuchKey: [404, 'The object does not exist.'],
  NoSuchLifecycleConfiguration: [404, 'The bucket has no lifecycle configuration.'],
  NoSuchObjectLockConfiguration: [404, 'The object has no such lock.'],
  NoSuchPublicAccessBlockConfiguration: [404, 'The bucket has no public access block.'],
  NoSuchTagSet: [404, 'The bucket has no tags.'],
  NoSuchUpload: [404, 'The multipart upload does not exist; it may have been completed or aborted.'],
  NoSuchVersion: [404, 'The version does not exist.'],
  NotImplemented: [501, 'This server does not do that.'],
  NotModified: [304, 'Not modified.'],
  ObjectLockConfigurationNotFoundError: [404, 'The bucket has no object lock configuration.'],
  OwnershipControlsNotFoundError: [404, 'The bucket has no ownership controls.'],
  PreconditionFailed: [412, 'A condition of the request does not hold.'],
  QuotaExceeded: [403, 'The bucket would hold more than it may.'],
  RequestTimeout: [400, 'The body did not arrive in time.'],
  RequestTimeTooSkewed: [403, 'The clocks of client and server differ by more than 15 minutes.'],
  ServerSideEncryptionConfigurationNotFoundError: [404, 'The bucket has no encryption configuration.'],
  SignatureDoesNotMatch: [403, 'The signature does not match; check the secret key and how the request was signed.'],
  SlowDown: [503, 'Too many requests at once; try again later.'],
  TooManyBuckets: [400, 'The server holds as many buckets as it is allowed to.'],
  UnresolvableGrantByEmailAddress: [400, 'The e-mail address belongs to no account here.'],
  XAmzContentChecksumMismatch: [400, 'The checksum given does not match the bytes that arrived.'],
  XAmzContentSHA256Mismatch: [400, 'x-amz-content-sha256 does not match the bytes that arrived.'],
} as const

/** A code of the S3 protocol. */
export type S3Code = keyof typeof table

/** A request that is answered with an error of the protocol. */
export class S3Failure extends Error {
  override readonly name = 'S3Failure'
  readonly code: S3Code
  readonly status: number
  /** Headers the answer carries beside the error. */
  readonly headers: Readonly<Record<string, string>>

  constructor(code: S3Code, sentence?: string, headers: Readonly<Record<string, string>> = {}) {
    super(sentence ?? table[code][1])
    this.code = code
    this.status = table[code][0]
    this.headers = headers
  }
}

/** Throws NotImplemented, naming what is asked for. */
export function notImplemented(what: string): never {
  throw new S3Failure('NotImplemented', `This server does not do ${what}.`)
}
