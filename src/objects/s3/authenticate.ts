/**
 * Who has sent a request, proven by Signature Version 4 in the header or in the URL, and how its body is protected. Pure: the
 * request, the known credentials and the time in; a caller or an S3Failure out.
 */
import type { Caller } from './access.ts'
import type { ChunkSigning } from './chunks.ts'
import { S3Failure } from './failure.ts'
import type { S3Request } from './request.ts'
import {
  algorithm,
  msOfAmzDate,
  sameSignature,
  signRequest,
  signingKey,
  unsignedPayload,
  uriEncode,
  amzDateOf,
} from './signature.ts'
import type { Scope } from './signature.ts'

/** A key pair and what it may do. */
export interface Credential {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Whose objects and buckets the holder's are. */
  readonly account: string
  /** What the holder may do with which bucket; without it, everything with the account's own. */
  readonly rights?: Caller['rights']
  /**
   * What those may do who have a URL or a form that the holder has signed; without it, what the holder may. With `rights` of
   * nothing the holder can sign for others and send nothing itself.
   */
  readonly presigned?: Caller['rights']
}

/** How the bytes of the body are to be read and checked. */
export type Payload =
  | { readonly kind: 'plain'; readonly sha256: string | undefined }
  | { readonly kind: 'chunked'; readonly signing: ChunkSigning | undefined; readonly trailers: boolean }

export interface Authenticated {
  readonly caller: Caller
  /** The key that signed it. */
  readonly accessKeyId: string | undefined
  readonly payload: Payload
  /** How it was signed, as policies name it. */
  readonly authType: 'REST-HEADER' | 'REST-QUERY-STRING' | undefined
  /** Milliseconds since it was signed. */
  readonly ageMs: number
}

const skewMsMax = 15 * 60_000
export const presignedSecondsMax: number = 7 * 86_400

interface Claim {
  readonly accessKeyId: string
  readonly scope: Scope
  readonly amzDate: string
  readonly signedHeaders: readonly string[]
  readonly signature: string
}

/** Finds out who sends. A request without a signature comes from nobody in particular. */
export function authenticate(
  request: S3Request,
  find: (accessKeyId: string) => Credential | undefined,
  nowMs: number,
): Authenticated {
  const header = request.headers['authorization']
  if (request.query.has('X-Amz-Signature') || request.query.has('X-Amz-Algorithm')) return byQuery(request, find, nowMs)
  if (header !== undefined) return byHeader(request, header, find, nowMs)
  if (request.query.has('Signature') && request.query.has('AWSAccessKeyId')) throw onlyVersion4()
  const payload = payloadOf(request.headers['x-amz-content-sha256'], undefined)
  return { caller: { account: '' }, accessKeyId: undefined, payload, authType: undefined, ageMs: 0 }
}

function byHeader(request: S3Request, header: string, find: Find, nowMs: number): Authenticated {
  if (header.startsWith('AWS ')) throw onlyVersion4()
  if (!header.startsWith(algorithm))
    throw new S3Failure('InvalidArgument', 'The kind of authorization is not supported.')
  const fields = new Map(
    header
      .slice(algorithm.length)
      .split(',')
      .map((field): [string, string] => {
        const equals = field.indexOf('=')
        return [field.slice(0, equals).trim(), field.slice(equals + 1).trim()]
      }),
  )
  const amzDate = request.headers['x-amz-date'] ?? dateHeader(request.headers['date'])
  if (amzDate === undefined) throw new S3Failure('AccessDenied', 'A signed request needs x-amz-date or Date.')
  const claim = claimOf(fields.get('Credential'), amzDate, fields.get('SignedHeaders'), fields.get('Signature'))
  if (claim === undefined) throw new S3Failure('AuthorizationHeaderMalformed')
  const signedMs = timeOf(claim, nowMs)
  if (Math.abs(nowMs - signedMs) > skewMsMax) throw new S3Failure('RequestTimeTooSkewed')
  const credential = credentialOf(claim, find)
  const hash = request.headers['x-amz-content-sha256']
  if (hash === undefined) throw new S3Failure('InvalidRequest', 'A signed request needs x-amz-content-sha256.')
  const key = verify(request, claim, credential, hash, request.parameters)
  const signing = { key, amzDate: claim.amzDate, scope: claim.scope, seed: claim.signature }
  return {
    caller: callerOf(credential),
    accessKeyId: credential.accessKeyId,
    payload: payloadOf(hash, signing),
    authType: 'REST-HEADER',
    ageMs: nowMs - signedMs,
  }
}

function byQuery(request: S3Request, find: Find, nowMs: number): Authenticated {
  const { query } = request
  if (query.get('X-Amz-Algorithm') !== algorithm) throw new S3Failure('AuthorizationQueryParametersError')
  const [credentialText, date, headers, signature] = ['Credential', 'Date', 'SignedHeaders', 'Signature'].map((name) =>
    query.get(`X-Amz-${name}`),
  )
  const claim = claimOf(credentialText, date ?? '', headers, signature)
  if (claim === undefined) throw new S3Failure('AuthorizationQueryParametersError')
  const expires = query.get('X-Amz-Expires') ?? ''
  const seconds = /^\d{1,9}$/.test(expires) ? Number(expires) : 0
  if (seconds < 1 || seconds > presignedSecondsMax) {
    throw new S3Failure('AccessDenied', 'X-Amz-Expires must be from 1 to 604,800 seconds.')
  }
  const signedMs = timeOf(claim, nowMs)
  if (signedMs - nowMs > skewMsMax) throw new S3Failure('AccessDenied', 'The URL is not valid yet.')
  if (nowMs > signedMs + seconds * 1000) throw new S3Failure('AccessDenied', 'The URL has expired.')
  const credential = credentialOf(claim, find)
  const hash = request.headers['x-amz-content-sha256'] ?? query.get('X-Amz-Content-Sha256') ?? unsignedPayload
  const rest = request.parameters.filter(([name]) => name !== 'X-Amz-Signature')
  const key = verify(request, claim, credential, hash, rest)
  const signing = { key, amzDate: claim.amzDate, scope: claim.scope, seed: claim.signature }
  return {
    caller: presignedCaller(credential),
    accessKeyId: credential.accessKeyId,
    payload: payloadOf(hash, signing),
    authType: 'REST-QUERY-STRING',
    ageMs: nowMs - signedMs,
  }
}

type Find = (accessKeyId: string) => Credential | undefined

function claimOf(
  credential: string | undefined,
  amzDate: string,
  headers: string | undefined,
  signature: string | undefined,
): Claim | undefined {
  const match = /^(.{1,128})\/(\d{8})\/([\w-]{1,64})\/(\w{1,32})\/aws4_request$/.exec(credential ?? '')
  const [, accessKeyId, date, region, service] = match ?? []
  if (accessKeyId === undefined || date === undefined || region === undefined || service === undefined) return undefined
  if (headers === undefined || signature === undefined || service !== 's3') return undefined
  const signedHeaders = headers.toLowerCase().split(';')
  return { accessKeyId, scope: { date, region, service }, amzDate, signedHeaders, signature }
}

function timeOf(claim: Claim, nowMs: number): number {
  const signedMs = msOfAmzDate(claim.amzDate)
  if (signedMs === undefined) throw new S3Failure('AccessDenied', 'The date of the signature must be YYYYMMDDThhmmssZ.')
  if (!claim.amzDate.startsWith(claim.scope.date)) {
    throw new S3Failure('AccessDenied', `The day of the scope is not that of the date; it is ${amzDateOf(nowMs)} here.`)
  }
  return signedMs
}

function dateHeader(date: string | undefined): string | undefined {
  if (date === undefined || msOfAmzDate(date) !== undefined) return date
  const ms = Date.parse(date)
  return Number.isNaN(ms) ? undefined : amzDateOf(ms)
}

function credentialOf(claim: Claim, find: Find): Credential {
  const credential = find(claim.accessKeyId)
  if (credential === undefined) throw new S3Failure('InvalidAccessKeyId')
  return credential
}

function callerOf({ account, rights }: Credential): Caller {
  return { account, ...(rights && { rights }) }
}

/** Who somebody is that has what the holder of a key has signed. */
export function presignedCaller({ account, rights, presigned = rights }: Credential): Caller {
  return { account, ...(presigned && { rights: presigned }) }
}

/** Throws SignatureDoesNotMatch, or AccessDenied where a header that matters is not signed; gives the signing key. */
function verify(
  request: S3Request,
  claim: Claim,
  credential: Credential,
  payloadHash: string,
  query: S3Request['parameters'],
): Buffer {
  const unsigned = Object.keys(request.headers).filter(
    (name) => name.startsWith('x-amz-') && name !== 'x-amz-content-sha256' && !claim.signedHeaders.includes(name),
  )
  if (!claim.signedHeaders.includes('host') || unsigned.length > 0) {
    throw new S3Failure('AccessDenied', `Not signed: ${unsigned.join(', ') || 'host'}.`)
  }
  const key = signingKey(credential.secretAccessKey, claim.scope)
  const { method, headers } = request
  const { signedHeaders } = claim
  const fits = pathsOf(request).some((path) => {
    const signed = { method, path, query, signedHeaders, headers, payloadHash }
    return sameSignature(signRequest(key, claim.amzDate, claim.scope, signed), claim.signature)
  })
  if (!fits) throw new S3Failure('SignatureDoesNotMatch')
  return key
}

/** How the path may have been signed: as it is encoded by the rules, or as it was sent. */
function pathsOf(request: S3Request): readonly string[] {
  const encoded = request.rawPath
    .split('/')
    .map((piece) => uriEncode(safeDecode(piece)))
    .join('/')
  return encoded === request.rawPath ? [encoded] : [encoded, request.rawPath]
}

function safeDecode(piece: string): string {
  try {
    return decodeURIComponent(piece)
  } catch {
    return piece
  }
}

function payloadOf(hash: string | undefined, signing: ChunkSigning | undefined): Payload {
  switch (hash) {
    case undefined:
    case unsignedPayload:
      return { kind: 'plain', sha256: undefined }
    case 'STREAMING-UNSIGNED-PAYLOAD-TRAILER':
      return { kind: 'chunked', signing: undefined, trailers: true }
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD':
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER':
      if (signing === undefined) throw new S3Failure('AccessDenied', 'Chunks can be signed only where the request is.')
      return { kind: 'chunked', signing, trailers: hash.endsWith('-TRAILER') }
    default:
      if (/^[0-9a-f]{64}$/.test(hash)) return { kind: 'plain', sha256: hash }
      if (hash.startsWith('STREAMING-')) throw new S3Failure('NotImplemented', `This server does not do ${hash}.`)
      throw new S3Failure('InvalidArgument', 'x-amz-content-sha256 is no SHA-256.')
  }
}

function onlyVersion4(): S3Failure {
  return new S3Failure('InvalidRequest', 'Only Signature Version 4 (AWS4-HMAC-SHA256) is supported.')
}
