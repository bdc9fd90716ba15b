/**
 * Signature Version 4, both sides: what is signed and how. Pure; the server compares, the driver signs. All strings of a
 * canonical request are Latin-1 pictures of the bytes on the wire, since that is what a client has signed.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

/** What a signature belongs to: day, region and service. */
export interface Scope {
  /** `YYYYMMDD`. */
  readonly date: string
  readonly region: string
  readonly service: string
}

/** The parts of a request that are signed. */
export interface SignedRequest {
  readonly method: string
  /** The path as it is encoded in the signature. */
  readonly path: string
  /** Decoded names and values, without the signature itself. */
  readonly query: readonly (readonly [string, string])[]
  /** Lower-case names of the headers that are signed, sorted. */
  readonly signedHeaders: readonly string[]
  /** Values of headers by lower-case name. */
  readonly headers: Readonly<Record<string, string>>
  readonly payloadHash: string
}

export const algorithm = 'AWS4-HMAC-SHA256'
export const unsignedPayload = 'UNSIGNED-PAYLOAD'
export const emptyHash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/** The text of a scope. */
export function scopeText(scope: Scope): string {
  return `${scope.date}/${scope.region}/${scope.service}/aws4_request`
}

/** Percent-encoding of RFC 3986 over UTF-8; `/` is kept where `slashes` says so. */
export function uriEncode(text: string, slashes = false): string {
  const encoded = encodeURIComponent(text).replace(/[!'()*]/g, (found) => {
    return `%${found.charCodeAt(0).toString(16).toUpperCase()}`
  })
  return slashes ? encoded.replaceAll('%2F', '/') : encoded
}

/** The query as it is signed: encoded, then sorted. */
export function canonicalQuery(query: readonly (readonly [string, string])[]): string {
  return query
    .map(([name, value]) => `${uriEncode(name)}=${uriEncode(value)}`)
    .sort((a, b) => (a < b ? -1 : 1))
    .join('&')
}

/** The digest of the canonical request, hexadecimal. */
export function requestHash(request: SignedRequest): string {
  const headers = request.signedHeaders.map(
    (name) => `${name}:${(request.headers[name] ?? '').trim().replace(/ +/g, ' ')}\n`,
  )
  const lines = [
    request.method,
    request.path,
    canonicalQuery(request.query),
    headers.join(''),
    request.signedHeaders.join(';'),
    request.payloadHash,
  ]
  return createHash('sha256')
    .update(Buffer.from(lines.join('\n'), 'latin1'))
    .digest('hex')
}

/** Keys of the scopes that were used last: four digests less for each request. */
const signingKeys = new Map<string, Buffer>()
const signingKeysMax = 200

/** The key that signs for one day, region and service. */
export function signingKey(secretAccessKey: string, scope: Scope): Buffer {
  const name = `${secretAccessKey}\n${scopeText(scope)}`
  const held = signingKeys.get(name)
  if (held !== undefined) return held
  if (signingKeys.size >= signingKeysMax) signingKeys.clear()
  const made = deriveKey(secretAccessKey, scope)
  signingKeys.set(name, made)
  return made
}

function deriveKey(secretAccessKey: string, scope: Scope): Buffer {
  const steps = [scope.date, scope.region, scope.service, 'aws4_request']
  return steps.reduce<Buffer>(
    (key, step) => createHmac('sha256', key).update(step).digest(),
    Buffer.from(`AWS4${secretAccessKey}`),
  )
}

/** The signature of a request. `amzDate` is `YYYYMMDDThhmmssZ`. */
export function signRequest(key: Buffer, amzDate: string, scope: Scope, request: SignedRequest): string {
  const text = [algorithm, amzDate, scopeText(scope), requestHash(request)].join('\n')
  return createHmac('sha256', key).update(text).digest('hex')
}

/** The signature of one chunk of a streamed body. */
export function signChunk(key: Buffer, amzDate: string, scope: Scope, previous: string, hash: string): string {
  const text = [`${algorithm}-PAYLOAD`, amzDate, scopeText(scope), previous, emptyHash, hash].join('\n')
  return createHmac('sha256', key).update(text).digest('hex')
}

/** The signature of the trailers of a streamed body: `text` is their lines, each ending in a line feed. */
export function signTrailer(key: Buffer, amzDate: string, scope: Scope, previous: string, text: string): string {
  const hash = createHash('sha256').update(text).digest('hex')
  const lines = [`${algorithm}-TRAILER`, amzDate, scopeText(scope), previous, hash].join('\n')
  return createHmac('sha256', key).update(lines).digest('hex')
}

/** Whether two signatures are the same, in a time that does not say where they differ. */
export function sameSignature(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}

/** `YYYYMMDDThhmmssZ` of a time. */
export function amzDateOf(ms: number): string {
  return new Date(ms).toISOString().replace(/[-:]|\.\d{3}/g, '')
}

/** The time of `YYYYMMDDThhmmssZ`, or undefined. */
export function msOfAmzDate(text: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text)
  if (match === null) return undefined
  const ms = Date.parse(`${match[1]}-${match[2]}-${match[3]}T${match[4]}:${match[5]}:${match[6]}Z`)
  return Number.isNaN(ms) ? undefined : ms
}
