/**
 * A stream of HTTP/2 as the two messages that an exchange knows. Invariants: what goes on to an instance says in the form of
 * HTTP/1.1 exactly what the client said; the stream gets one head, at most one set of trailers, and one end; destroying a
 * message ends its stream and never the connection, which others use too.
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http'
import { constants } from 'node:http2'
import type { ServerHttp2Stream } from 'node:http2'
import type { ClientConnection, ClientRequest, ClientResponse } from './client-side.ts'
import { httpStatusOf } from './grpc.ts'

/** The connection has ended or the stream was reset: what node:http2 says then is nobody's concern. */
function quietly(act: () => void): void {
  try {
    act()
  } catch (error) {
    if (!isOver(error)) throw error
  }
}

function isOver(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'ERR_HTTP2_INVALID_STREAM' || code === 'ERR_HTTP2_INVALID_SESSION'
}

export class Http2Request implements ClientRequest {
  readonly method: string
  readonly url: string
  readonly httpVersion = '2.0'
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: string[]
  readonly socket: ClientConnection
  readonly #stream: ServerHttp2Stream

  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    raw: readonly string[],
    { remoteAddress, localPort }: ClientConnection,
  ) {
    this.#stream = stream
    this.rawHeaders = []
    let host = ''
    let method = ''
    let url = ''
    const cookies: string[] = []
    for (let i = 0; i + 1 < raw.length; i += 2) {
      const name = raw[i] ?? ''
      const value = raw[i + 1] ?? ''
      if (name === ':authority') host = value
      else if (name === ':method') method = value
      else if (name === ':path') url = value
      // One header in HTTP/1.1 (RFC 9113 8.2.3).
      else if (name === 'cookie') cookies.push(value)
      else if (!name.startsWith(':')) this.rawHeaders.push(name, value)
    }
    if (cookies.length > 0) this.rawHeaders.push('cookie', cookies.join('; '))
    // A `host` beside the authority makes two, and two that may differ are refused.
    if (host !== '') this.rawHeaders.push('host', host)
    this.method = method
    this.url = url
    const chunked = !stream.endAfterHeaders && headers['content-length'] === undefined
    this.headers = chunked ? { ...headers, 'transfer-encoding': 'chunked' } : headers
    this.socket = {
      remoteAddress,
      localPort,
      destroy: () => stream.close(constants.NGHTTP2_NO_ERROR),
    }
  }

  get complete(): boolean {
    return this.#stream.endAfterHeaders || this.#stream.readableEnded
  }

  get destroyed(): boolean {
    return this.#stream.destroyed
  }

  on(event: string, listener: (chunk: Buffer) => void): this {
    this.#stream.on(event, listener)
    return this
  }

  once(event: string, listener: () => void): this {
    this.#stream.once(event, listener)
    return this
  }

  removeListener(event: string, listener: (chunk: Buffer) => void): this {
    this.#stream.removeListener(event, listener)
    return this
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }
}

/** Headers that HTTP/2 does not have: a connection is closed by its own frames. */
const notInHttp2: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'te',
])

export class Http2Response implements ClientResponse {
  /** What the answer comes to: for gRPC its `grpc-status`, since its HTTP status is always 200. */
  statusCode = 200
  writableEnded = false
  readonly #stream: ServerHttp2Stream
  /** A head that may be all there is. */
  #held: OutgoingHttpHeaders | null = null
  #trailers: Record<string, string | string[]> = {}

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream
    stream.on('wantTrailers', () => this.#orReset(() => stream.sendTrailers(this.#trailers)))
  }

  get destroyed(): boolean {
    return this.#stream.destroyed
  }

  get writableFinished(): boolean {
    return this.writableEnded && this.#stream.writableFinished
  }

  get writableLength(): number {
    return this.#stream.writableLength
  }

  writeContinue(): void {
    quietly(() => this.#stream.additionalHeaders({ ':status': 100 }))
  }

  /**
   * Sends the head; one with a `grpc-status` is held until a byte of the body, the end or `flushHeaders`, because when it is
   * all there is it must say so itself. Throws what node:http2 has against it.
   */
  writeHead(status: number, second: string | string[], third?: string[]): void {
    const headers = gather(typeof second === 'string' ? (third ?? []) : second)
    const head = { ...headers, ':status': status }
    this.#count(status, headers)
    if ('grpc-status' in headers) this.#held = head
    else quietly(() => this.#stream.respond(head, { waitForTrailers: true }))
  }

  flushHeaders(): void {
    this.#release({ waitForTrailers: true })
  }

  write(chunk: Buffer): boolean {
    this.#release({ waitForTrailers: true })
    return this.#stream.write(chunk)
  }

  addTrailers(trailers: [string, string][]): void {
    this.#trailers = gather(trailers.flat())
    this.#count(this.statusCode, this.#trailers)
  }

  end(chunk?: Buffer | string): void {
    this.writableEnded = true
    const empty = chunk === undefined || chunk.length === 0
    const last = empty && Object.keys(this.#trailers).length === 0
    this.#release(last ? { endStream: true } : { waitForTrailers: true })
    if (empty) this.#stream.end()
    else this.#stream.end(chunk)
  }

  destroy(): void {
    this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR)
  }

  once(event: 'close' | 'drain', listener: () => void): void {
    this.#stream.once(event, listener)
  }

  #release(options: { readonly waitForTrailers: true } | { readonly endStream: true }): void {
    const head = this.#held
    this.#held = null
    if (head !== null) this.#orReset(() => this.#stream.respond(head, options))
  }

  /** What cannot be sent on ends the stream: nobody is left to be told in words. */
  #orReset(act: () => void): void {
    try {
      act()
    } catch {
      this.destroy()
    }
  }

  #count(status: number, headers: Readonly<Record<string, string | string[]>>): void {
    const grpcStatus = headers['grpc-status']
    this.statusCode = typeof grpcStatus === 'string' ? httpStatusOf(grpcStatus) : status
  }
}

/**
 * Flat headers as a record in lower case. Those that come several times are one list in one line, as RFC 9110 5.3 has it:
 * node:http2 takes no second value for headers that should have one. Cookies cannot be joined.
 */
function gather(flat: readonly string[]): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = Object.create(null)
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = (flat[i] ?? '').toLowerCase()
    const value = flat[i + 1] ?? ''
    if (notInHttp2.has(name)) continue
    const before = headers[name]
    if (name === 'set-cookie') headers[name] = Array.isArray(before) ? [...before, value] : [value]
    else headers[name] = typeof before === 'string' ? `${before}, ${value}` : value
  }
  return headers
}
