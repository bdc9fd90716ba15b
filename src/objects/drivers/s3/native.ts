/** The way past the interface: the same bucket, with the same key, for the AWS client for JavaScript. Pure; nothing is loaded. */
import { signerOf } from './s3.ts'
import type { S3Options } from './s3.ts'

/** What `new S3Client(…)` of @aws-sdk/client-s3 takes. */
export interface NativeClientConfig {
  readonly endpoint: string
  readonly region: string
  readonly forcePathStyle: boolean
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string }
  /** The client sends checksums with everything unless it is told not to; older servers stumble over them. */
  readonly requestChecksumCalculation?: 'WHEN_REQUIRED'
  readonly responseChecksumValidation?: 'WHEN_REQUIRED'
}

/** The configuration of the AWS client for what a store was opened with, or is to be. Throws `objects.bad-input`. */
export function nativeClientConfig(
  options: Omit<S3Options, 'capabilities'> & Partial<Pick<S3Options, 'capabilities'>>,
): NativeClientConfig {
  const { endpoint, region, accessKeyId, secretAccessKey, virtualHost } = signerOf(options)
  const plain = {
    endpoint,
    region,
    forcePathStyle: virtualHost !== true,
    credentials: { accessKeyId, secretAccessKey },
  }
  if (options.capabilities?.checksums !== false) return plain
  return { ...plain, requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED' }
}
