/** Requests to an S3 server, signed: in headers, or in a URL for somebody else. Pure. */
import {
  algorithm,
  amzDateOf,
  canonicalQuery,
  scopeText,
  signRequest,
  signingKey,
  unsignedPayload,
  uriEncode,
} from '../../s3/signature.ts'
import type { PresignOptions } from '../../store.ts'

/** Where a bucket is and who signs. */
export interface Signer {
  /** `https://host:port`, without the bucket. */
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** The bucket is part of the host name, not of the path. */
  readonly virtualHost?: boolean
}

/** A request before it is signed. */
export interface Unsigned {
  readonly method: string
  /** Undefined means the bucket itself. */
  readonly key: string | undefined
  readonly query: readonly (readonly [string, string])[]
  readonly headers: Readonly<Record<string, string>>
  /** Hexadecimal, or one of the words S3 has for bodies that are not hashed. */
  readonly payloadHash: string
}

/** A request that can be sent. */
export interface Signed {
  readonly origin: string
  /** With the query, as it is signed: a key may hold what a URL would rewrite, such as `..`. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
}

function addressOf(
  signer: Signer,
  key: string | undefined,
): { readonly origin: string; readonly host: string; readonly path: string } {
  const base = new URL(signer.endpoint)
  const virtual = signer.virtualHost === true
  const host = virtual ? `${signer.bucket}.${base.host}` : base.host
  const under = base.pathname.replace(/\/$/, '') + (virtual ? '' : `/${signer.bucket}`)
  const path = key === undefined ? under || '/' : `${under}/${uriEncode(key, true)}`
  return { origin: `${base.protocol}//${host}`, host, path: path === '' ? '/' : path }
}

/** Signs a request in its headers. */
export function signed(signer: Signer, request: Unsigned, nowMs: number): Signed {
  const { origin, host, path } = addressOf(signer, request.key)
  const amzDate = amzDateOf(nowMs)
  const scope = { date: amzDate.slice(0, 8), region: signer.region, service: 's3' }
  const headers: Record<string, string> = {
    ...request.headers,
    host,
    'x-amz-date': amzDate,
    'x-amz-content-sha256': request.payloadHash,
  }
  const signedHeaders = Object.keys(headers)
    .filter((name) => name === 'host' || name === 'content-type' || name.startsWith('x-amz-') || name.startsWith('if-'))
    .sort()
  const { method, query, payloadHash } = request
  const key = signingKey(signer.secretAccessKey, scope)
  const signature = signRequest(key, amzDate, scope, { method, path, query, signedHeaders, headers, payloadHash })
  headers['authorization'] =
    `${algorithm} Credential=${signer.accessKeyId}/${scopeText(scope)}, SignedHeaders=${signedHeaders.join(';')}, Signature=${signature}`
  const search = query.length === 0 ? '' : `?${canonicalQuery(query)}`
  return { origin, target: `${path}${search}`, headers }
}

/** A URL that somebody without a key can use until it ends. */
export function presignUrl(signer: Signer, options: PresignOptions, nowMs: number): string {
  const { origin, host, path } = addressOf(signer, options.key)
  const amzDate = amzDateOf(nowMs)
  const scope = { date: amzDate.slice(0, 8), region: signer.region, service: 's3' }
  const type = options.contentType
  const headers: Record<string, string> = { host, ...(type === undefined ? {} : { 'content-type': type }) }
  const signedHeaders = Object.keys(headers).sort()
  const query: readonly (readonly [string, string])[] = [
    ['X-Amz-Algorithm', algorithm],
    ['X-Amz-Credential', `${signer.accessKeyId}/${scopeText(scope)}`],
    ['X-Amz-Date', amzDate],
    ['X-Amz-Expires', String(options.expiresSeconds)],
    ['X-Amz-SignedHeaders', signedHeaders.join(';')],
  ]
  const request = { method: options.method, path, query, signedHeaders, headers, payloadHash: unsignedPayload }
  const signature = signRequest(signingKey(signer.secretAccessKey, scope), amzDate, scope, request)
  return `${origin}${path}?${canonicalQuery([...query, ['X-Amz-Signature', signature]])}`
}
