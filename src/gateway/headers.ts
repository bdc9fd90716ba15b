/**
 * Headers, pure: which of a client's headers go on to an instance, and which of an instance's go back. Hop-by-hop headers
 * never pass; what says who the client is (Forwarded and its relatives) is written here and never taken from outside.
 * Headers are flat arrays of names and values in their order, as node:http gives and takes them.
 */

/** Meant for one connection only (RFC 9110 7.6.1), or handled by the gateway itself. */
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

/** Not passed on from a client: hop-by-hop, or written by the gateway. */
const notFromClient: ReadonlySet<string> = new Set([
  ...hopByHop,
  'host',
  'expect',
  'trailer',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-forwarded-server',
  'x-real-ip',
  'x-request-id',
  'traceparent',
  'tracestate',
])

/** Not passed back from an instance. */
const notFromInstance: ReadonlySet<string> = new Set([...hopByHop, 'trailer', 'x-request-id'])

/** A client's headers, read in one pass. */
export interface RequestHead {
  /** The Host header as sent; null when there is none or more than one. */
  host: string | null
  requestId: string | null
  traceparent: string | null
  tracestate: string | null
  /** What goes on to the instance. The gateway's own headers are still to be added. */
  readonly forward: string[]
}

/** Reads a client's raw headers. */
export function readHead(raw: readonly string[]): RequestHead {
  const head: RequestHead = { host: null, requestId: null, traceparent: null, tracestate: null, forward: [] }
  let hosts = 0
  let connection = ''
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? ''
    const value = raw[i + 1] ?? ''
    let key = name.toLowerCase()
    // Servers that speak CGI's language take x_forwarded_for for x-forwarded-for, and content_length for what frames a body.
    if (key.includes('_')) {
      key = key.replaceAll('_', '-')
      if (key === 'content-length') continue
    }
    if (!notFromClient.has(key)) head.forward.push(name, value)
    else if (key === 'host' && ++hosts === 1) head.host = value
    else if (key === 'connection') connection += `,${value}`
    else if (key === 'x-request-id') head.requestId = value
    else if (key === 'traceparent') head.traceparent = value
    else if (key === 'tracestate') head.tracestate = value
  }
  if (hosts !== 1) head.host = null
  return connection === '' ? head : { ...head, forward: withoutNamed(head.forward, connection) }
}

/** The size of raw headers in bytes, as they stand in HTTP/1.1. node:http bounds them by itself. */
export function headerBytes(raw: readonly string[]): number {
  return raw.reduce((sum, text) => sum + text.length + 2, 0)
}

/** Takes out the headers that a Connection header names. */
function withoutNamed(headers: string[], connection: string): string[] {
  const named = connection
    .toLowerCase()
    .split(',')
    .map((token) => token.trim())
    .filter((token) => token !== '' && !hopByHop.has(token) && token !== 'close')
  if (named.length === 0) return headers
  return headers.filter((_, i) => !named.includes((headers[i & ~1] ?? '').toLowerCase()))
}

/** Who asks, as the gateway saw it. */
export interface ClientFacts {
  readonly address: string
  readonly proto: 'http' | 'https'
  readonly host: string
}

/** Adds what the gateway says about the client and the request. */
export function addGatewayHeaders(
  headers: string[],
  client: ClientFacts,
  ids: { readonly requestId: string; readonly traceparent: string },
): void {
  const address = client.address.startsWith('::ffff:') ? client.address.slice(7) : client.address
  const node = address.includes(':') ? `"[${address}]"` : address
  headers.push(
    'host',
    client.host,
    'x-forwarded-for',
    address,
    'x-forwarded-proto',
    client.proto,
    'x-forwarded-host',
    client.host,
    'forwarded',
    `for=${node};host="${client.host}";proto=${client.proto}`,
    'x-request-id',
    ids.requestId,
    'traceparent',
    ids.traceparent,
  )
}

/** An instance's headers for the client, and what the gateway needs to know of them. */
export interface ResponseHead {
  readonly headers: string[]
  /** Bytes of the body when the instance says so, else -1. */
  contentLength: number
  /** The Trailer header: passed on only to a client that can be sent trailers. */
  trailer: string | null
}

/** Reads an instance's raw headers (Latin-1 bytes, as they came). */
export function readResponseHead(raw: readonly (Buffer | string)[], requestId: string): ResponseHead {
  const head: ResponseHead = { headers: [], contentLength: -1, trailer: null }
  let connection = ''
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = text(raw[i])
    const value = text(raw[i + 1])
    const key = name.toLowerCase()
    if (!notFromInstance.has(key)) {
      head.headers.push(name, value)
      if (key === 'content-length') head.contentLength = Number(value)
    } else if (key === 'connection') connection += `,${value}`
    else if (key === 'trailer') head.trailer = value
  }
  const headers = connection === '' ? head.headers : withoutNamed(head.headers, connection)
  headers.push('x-request-id', requestId)
  return headers === head.headers ? head : { ...head, headers }
}

/** Flat raw headers as pairs, for trailers. */
export function headerPairs(raw: readonly (Buffer | string)[]): [string, string][] {
  const pairs: [string, string][] = []
  for (let i = 0; i + 1 < raw.length; i += 2) pairs.push([text(raw[i]), text(raw[i + 1])])
  return pairs
}

function text(value: Buffer | string | undefined): string {
  return typeof value === 'string' ? value : (value?.toString('latin1') ?? '')
}
