/**
 * HTTP/2 without TLS to an instance that speaks it (h2c with prior knowledge): gRPC above all. It looks to an exchange as an
 * undici client does, so everything that is decided about a request is decided in one place. Requests share connections;
 * each has a stream of its own, and ending it early ends that stream alone, with the code that says "not wanted any more".
 */
import { connect, constants } from 'node:http2'
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'
import type { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { SteadError, systemCodeOf } from '../base/index.ts'
import type { RouteTarget } from '../protocol/index.ts'
import { dial } from './dial.ts'
import type { DialContext } from './dial.ts'

/** Streams on one connection, whatever more the instance allows; beyond, another is opened. */
const streamsMax = 100

/** Windows for what an instance sends, as towards clients. */
const streamWindowBytes = 256 * 1024
const sessionWindowBytes = 1024 * 1024

/** One connection, which may still be opening. */
interface Line {
  session: ClientHttp2Session | null
  /** Requests that have it, or wait for it to open. */
  users: number
  readonly waiting: Set<(error: Error | null, session: ClientHttp2Session | null) => void>
}

/** All connections to one instance. */
export class H2cPool {
  readonly #context: DialContext
  readonly #target: RouteTarget
  readonly #lines = new Set<Line>()
  #closed = false

  constructor(context: DialContext, target: RouteTarget) {
    this.#context = context
    this.#target = target
  }

  /** A place for one request. */
  open(): H2cConnection {
    return new H2cConnection(this.#context, (ready) => this.#take(ready))
  }

  /** No new requests come: connections close when their last stream ends. */
  close(): void {
    this.#closed = true
    for (const { session } of this.#lines) session?.close()
  }

  #take(ready: (error: Error | null, session: ClientHttp2Session | null) => void): Disposable {
    const line = [...this.#lines].find((candidate) => candidate.users < capacityOf(candidate)) ?? this.#dial()
    line.users += 1
    if (line.session === null) line.waiting.add(ready)
    else ready(null, line.session)
    let given = false
    return {
      [Symbol.dispose]: () => {
        if (!given) line.users -= 1
        given = true
        line.waiting.delete(ready)
      },
    }
  }

  #dial(): Line {
    const line: Line = { session: null, users: 0, waiting: new Set() }
    this.#lines.add(line)
    const settle = (error: Error | null, session: ClientHttp2Session | null): void => {
      if (session === null) this.#lines.delete(line)
      line.session = session
      for (const ready of line.waiting) ready(error, session)
      line.waiting.clear()
      if (this.#closed) session?.close()
    }
    dial(this.#context, this.#target, (error, socket) => {
      if (error !== null) settle(error, null)
      else this.#speak(line, connect('http://instance', { createConnection: () => socket, ...options }), settle)
    })
    return line
  }

  /** Takes a connection into use once the instance has said what it allows: before that too many streams could be opened. */
  #speak(
    line: Line,
    session: ClientHttp2Session,
    settle: (error: Error | null, session: ClientHttp2Session | null) => void,
  ): void {
    const { clock, limits } = this.#context
    const timer = clock.after(limits.connectMs, () => session.destroy(responseTimeout(limits.connectMs)))
    const drop = (error?: unknown): void => {
      timer[Symbol.dispose]()
      this.#lines.delete(line)
      if (line.session === null) settle(error instanceof Error ? error : streamReset(), null)
    }
    session.once('remoteSettings', () => {
      timer[Symbol.dispose]()
      session.setLocalWindowSize(sessionWindowBytes)
      settle(null, session)
    })
    session.on('error', drop)
    session.on('goaway', () => drop()).once('close', () => drop())
    session.setTimeout(limits.idleMs, () => {
      if (line.users > 0) return
      drop()
      session.close()
    })
  }
}

const options = {
  settings: { enablePush: false, initialWindowSize: streamWindowBytes },
  maxSessionMemory: 10,
} as const

function capacityOf({ session }: Line): number {
  if (session === null) return streamsMax
  if (session.closed || session.destroyed) return 0
  return Math.min(streamsMax, session.remoteSettings.maxConcurrentStreams ?? streamsMax)
}

/** What an exchange asks for: undici's options, the ones that it sets. */
type Options = Pick<
  Dispatcher.DispatchOptions,
  'path' | 'method' | 'headers' | 'body' | 'headersTimeout' | 'bodyTimeout'
>

/** One request on a stream of its own. */
export class H2cConnection implements Dispatcher.DispatchController {
  aborted = false
  paused = false
  reason: Error | null = null
  rawHeaders: string[] = []
  rawTrailers: string[] = []
  readonly #context: DialContext
  readonly #take: (ready: (error: Error | null, session: ClientHttp2Session | null) => void) => Disposable
  #handler: Dispatcher.DispatchHandler | null = null
  #place: Disposable | null = null
  #stream: ClientHttp2Stream | null = null
  #timer: Disposable | null = null
  #bodyTimeoutMs = 0

  constructor(
    context: DialContext,
    take: (ready: (error: Error | null, session: ClientHttp2Session | null) => void) => Disposable,
  ) {
    this.#context = context
    this.#take = take
  }

  /** Sends a request; what becomes of it, the handler is told. */
  dispatch(asked: Options, handler: Dispatcher.DispatchHandler): boolean {
    this.#handler = handler
    this.#place = this.#take((error, session) => {
      if (this.#handler === null) return
      if (session === null) return this.#fail(error ?? streamReset())
      try {
        this.#send(session, asked)
      } catch (thrown) {
        this.#fail(thrown instanceof Error ? thrown : new Error(String(thrown)))
      }
    })
    return true
  }

  /** The request is over for whoever asked for it. */
  destroy(): Promise<void> {
    this.#end(constants.NGHTTP2_CANCEL)
    return Promise.resolve()
  }

  abort(reason: Error): void {
    this.aborted = true
    this.reason = reason
    this.#fail(reason)
  }

  pause(): void {
    this.paused = true
    this.#timer?.[Symbol.dispose]()
    this.#stream?.pause()
  }

  resume(): void {
    this.paused = false
    this.#await(this.#bodyTimeoutMs)
    this.#stream?.resume()
  }

  #send(session: ClientHttp2Session, { path, method, headers, body, headersTimeout, bodyTimeout }: Options): void {
    const upload = isReadable(body) ? body : null
    const stream = session.request(outgoing(path, method, headers), { endStream: upload === null })
    this.#stream = stream
    this.#bodyTimeoutMs = bodyTimeout ?? 0
    stream.on('error', (error) =>
      this.#fail(systemCodeOf(error) === 'ERR_HTTP2_STREAM_ERROR' ? streamReset(error) : error),
    )
    stream.on('close', () => this.#fail(streamReset()))
    stream.on('response', (answer, flags) => this.#answered(stream, answer, flags))
    stream.on('trailers', (trailers) => (this.rawTrailers = flatten(trailers)))
    this.#tell((handler) => handler.onRequestStart?.(this, null))
    if (upload !== null) this.#upload(upload, stream)
    this.#await(headersTimeout ?? 0)
  }

  #upload(body: Readable, stream: ClientHttp2Stream): void {
    body.once('end', () => this.#tell((handler) => handler.onRequestSent?.()))
    // The sender has gone before its request was whole: the instance must not take a part of it for all of it.
    body.once('error', () => stream.close(constants.NGHTTP2_CANCEL))
    stream.once('close', () => body.unpipe(stream))
    body.pipe(stream)
  }

  #answered(
    stream: ClientHttp2Stream,
    headers: IncomingHttpHeaders & { readonly ':status'?: number | undefined },
    flags: number,
  ): void {
    this.rawHeaders = flatten(headers)
    this.#await(this.#bodyTimeoutMs)
    this.#tell((handler) => handler.onResponseStart?.(this, headers[':status'] ?? 0, {}, ''))
    // A head that is all there is goes on as one: for gRPC it stands for the trailers.
    if ((flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) return this.#whole()
    stream.on('data', (chunk: Buffer) => {
      this.#await(this.paused ? 0 : this.#bodyTimeoutMs)
      this.#tell((handler) => handler.onResponseData?.(this, chunk))
    })
    stream.on('end', () => {
      if (stream.rstCode === constants.NGHTTP2_NO_ERROR) this.#whole()
      else this.#fail(streamReset())
    })
  }

  /** The answer has come whole. */
  #whole(): void {
    const handler = this.#handler
    this.#end(constants.NGHTTP2_NO_ERROR)
    handler?.onResponseEnd?.(this, {})
  }

  #fail(error: Error): void {
    const handler = this.#handler
    this.#end(constants.NGHTTP2_CANCEL)
    handler?.onResponseError?.(this, error)
  }

  /** What the handler throws has to do with the answer: it cannot be passed on. */
  #tell(say: (handler: Dispatcher.DispatchHandler) => void): void {
    if (this.#handler === null) return
    try {
      say(this.#handler)
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)))
    }
  }

  #await(timeoutMs: number): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = null
    if (timeoutMs === 0 || this.#handler === null) return
    this.#timer = this.#context.clock.after(timeoutMs, () => this.#fail(responseTimeout(timeoutMs)))
  }

  #end(code: number): void {
    this.#handler = null
    this.#timer?.[Symbol.dispose]()
    const stream = this.#stream
    const place = this.#place
    this.#place = null
    if (stream === null || stream.closed) place?.[Symbol.dispose]()
    else {
      // Until it is closed the stream counts against what the instance allows.
      stream.once('close', () => place?.[Symbol.dispose]())
      stream.resume()
      if (code !== constants.NGHTTP2_NO_ERROR || !stream.writableEnded) stream.close(code)
    }
  }
}

function isReadable(body: Options['body']): body is Readable {
  return body !== null && body !== undefined && typeof body === 'object' && 'pipe' in body
}

/** Flat headers of HTTP/1.1 as those of HTTP/2. */
function outgoing(path: string, method: string, headers: Options['headers']): OutgoingHttpHeaders {
  const fields: OutgoingHttpHeaders = Object.create(null)
  fields[':method'] = method
  fields[':path'] = path
  fields[':scheme'] = 'http'
  const flat = Array.isArray(headers) ? headers : []
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = String(flat[i]).toLowerCase()
    const value = String(flat[i + 1])
    const key = name === 'host' ? ':authority' : name
    const before = fields[key]
    // One line for one that comes several times, as RFC 9110 5.3 has it: some may not have a second value.
    fields[key] = typeof before !== 'string' ? value : `${before}${key === 'cookie' ? '; ' : ', '}${value}`
  }
  // Trailers are passed on wherever the client can take them.
  fields['te'] = 'trailers'
  return fields
}

function flatten(headers: IncomingHttpHeaders): string[] {
  return Object.entries(headers).flatMap(([name, value]) => {
    if (name.startsWith(':') || value === undefined) return []
    return (Array.isArray(value) ? value : [value]).flatMap((each) => [name, each])
  })
}

function streamReset(cause?: unknown): SteadError {
  return new SteadError({
    code: 'gateway.stream-reset',
    message: 'The instance ended the request before its answer was whole.',
    retry: 'later',
    ...(cause === undefined ? {} : { cause }),
  })
}

function responseTimeout(timeoutMs: number): SteadError {
  return new SteadError({
    code: 'gateway.response-timeout',
    message: `The instance sent nothing for ${timeoutMs} ms.`,
    retry: 'later',
  })
}
