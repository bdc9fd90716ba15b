/**
 * Whether an answer is compressed on its way to the client, and how its headers change, pure. Never what is small, already
 * encoded, a part of something, or streamed as events; never against a `no-transform`. Where the choice hangs on the
 * client's Accept-Encoding the answer says so (Vary), whichever way it went: a cache between must not mix them up.
 */

/** In the order of preference: at equal size the CPU for zstd is about half of that for the others. */
export const encodings = ['zstd', 'br', 'gzip'] as const
export type Encoding = (typeof encodings)[number]

/** Below this many bytes the headers cost more than is won. */
const bytesMin = 1024

const compressible =
  /^(?:text\/|application\/(?:json|javascript|xml|wasm|manifest\+json|x-ndjson|rtf)\b|[a-z]+\/[^;]*\+(?:json|xml|text)\b|image\/(?:bmp|x-icon)\b|font\/(?:ttf|otf)\b)/i
/** Events must leave at once, and gRPC has its own compression. */
const never = /^(?:text\/event-stream|application\/grpc)/i
/** Their values speak of the bytes as the instance sent them. */
const digests: ReadonlySet<string> = new Set(['content-digest', 'repr-digest', 'digest', 'content-md5'])

/** What is asked and answered. */
export interface Answerable {
  readonly method: string
  readonly acceptEncoding: string | undefined
  readonly ifNoneMatch: string | undefined
  readonly status: number
  /** Bytes of the body; -1 when the instance does not say. */
  readonly contentLength: number
}

/** The encoding for an answer, or null. Changes `headers` (flat, in order) to fit. `allowed`: there is a compressor free. */
export function negotiate(answer: Answerable, headers: string[], allowed: boolean): Encoding | null {
  const { method, status, acceptEncoding, ifNoneMatch } = answer
  if (status === 304) {
    weakenLike(headers, ifNoneMatch)
    return null
  }
  if (!isEligible(answer, headers)) return null
  addVary(headers)
  const encoding = allowed || method === 'HEAD' ? preferred(acceptEncoding ?? '') : null
  if (encoding === null) return null
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    const key = headers[i]?.toLowerCase()
    // Ranges of it would be ranges of something else.
    if (key === 'content-length' || key === 'accept-ranges') headers.splice(i, 2)
    else if (key === 'etag') headers[i + 1] = weak(headers[i + 1] ?? '')
  }
  headers.push('content-encoding', encoding)
  return encoding
}

function isEligible({ status, contentLength }: Answerable, headers: readonly string[]): boolean {
  if (status < 200 || status === 204 || status === 205 || status === 206) return false
  if (contentLength !== -1 && contentLength < bytesMin) return false
  let fits = false
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const key = headers[i]?.toLowerCase() ?? ''
    const value = headers[i + 1] ?? ''
    if (key === 'content-type') fits = compressible.test(value) && !never.test(value)
    else if (key === 'content-encoding' && value.trim().toLowerCase() !== 'identity') return false
    else if (key === 'content-range' || digests.has(key)) return false
    else if (key === 'cache-control' && /\bno-transform\b/i.test(value)) return false
  }
  return fits
}

/** The client's choice; ours among what it likes equally. */
function preferred(accept: string): Encoding | null {
  const weights = new Map<string, number>()
  for (const item of accept.toLowerCase().split(',')) {
    const [name = '', ...parameters] = item.split(';').map((part) => part.trim())
    const q = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2)
    const weight = q === undefined ? 1 : Number(q)
    if (name !== '') weights.set(name === 'x-gzip' ? 'gzip' : name, weight >= 0 && weight <= 1 ? weight : 0)
  }
  let best: Encoding | null = null
  let bestWeight = 0
  for (const encoding of encodings) {
    const weight = weights.get(encoding) ?? weights.get('*') ?? 0
    if (weight > bestWeight) {
      best = encoding
      bestWeight = weight
    }
  }
  return bestWeight >= (weights.get('identity') ?? 0) ? best : null
}

function addVary(headers: string[]): void {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (headers[i]?.toLowerCase() !== 'vary') continue
    const named = (headers[i + 1] ?? '')
      .toLowerCase()
      .split(',')
      .map((name) => name.trim())
    if (named.includes('*') || named.includes('accept-encoding')) return
    headers[i + 1] = `${headers[i + 1]}, Accept-Encoding`
    return
  }
  headers.push('vary', 'Accept-Encoding')
}

/** The same content in other bytes (RFC 9110 8.8.1). */
function weak(etag: string): string {
  return etag.startsWith('W/') ? etag : `W/${etag}`
}

/** "Not modified" names the tag that the client has: the weak one, when it was given that. */
function weakenLike(headers: string[], ifNoneMatch: string | undefined): void {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const etag = headers[i + 1] ?? ''
    if (headers[i]?.toLowerCase() === 'etag' && ifNoneMatch?.includes(weak(etag)) === true) headers[i + 1] = weak(etag)
  }
}
