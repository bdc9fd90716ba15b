/**
 * HTTP/2 to clients: node:http2 on connections that front.ts has opened, each stream handed on as a request. What one
 * connection may take is bounded: streams, header lists, resets, memory; one that goes beyond is closed with the reason in
 * a GOAWAY frame, and only that one.
 */
import { constants, performServerHandshake } from 'node:http2'
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { Http2Request, Http2Response } from './http2-message.ts'
import type { GatewayLimits } from './limits.ts'

/** What one stream may have unread, and all of a connection. Larger windows than the standard's make uploads over long ways fast. */
const streamWindowBytes = 256 * 1024
const sessionWindowBytes = 1024 * 1024

/** Resets of a client beyond which it is no client but a flood: so many at once, then so many a second. */
const resetBurst = 500
const resetsPerSecond = 50

/** A request, its response, and the connection they belong to. */
export type Http2Serve = (request: Http2Request, response: Http2Response, connection: Socket) => void

export class Http2Front {
  readonly #limits: GatewayLimits
  readonly #serve: Http2Serve
  readonly #sessions = new Set<ServerHttp2Session>()

  constructor(limits: GatewayLimits, serve: Http2Serve) {
    this.#limits = limits
    this.#serve = serve
  }

  /** Speaks HTTP/2 on a connection. */
  take(socket: Socket): void {
    const limits = this.#limits
    const session = performServerHandshake(socket, {
      settings: {
        enablePush: false,
        maxConcurrentStreams: limits.sessionStreamsMax,
        // Up to twice as much is taken in, so that a client can be told what is wrong (431).
        maxHeaderListSize: limits.headerBytesMax * 2,
        initialWindowSize: streamWindowBytes,
      },
      maxSessionMemory: limits.sessionMemoryMegabytesMax,
      maxHeaderListPairs: limits.headerPairsMax,
      streamResetBurst: resetBurst,
      streamResetRate: resetsPerSecond,
    })
    session.on('error', () => session.destroy())
    session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags, raw: string[]) => {
      stream.on('error', () => undefined)
      // A client that resets its stream has left, also when it says "no error": what it had sent is no whole request. Where
      // it is we who reset it, the frame that says so goes out first.
      stream.on('aborted', () => process.nextTick(() => stream.destroy()))
      this.#serve(new Http2Request(stream, headers, raw, socket), new Http2Response(stream), socket)
    })
    this.#keep(session)
  }

  /** Tells every client to open no more streams; a connection closes when its last stream ends. */
  goAway(): void {
    for (const session of this.#sessions) session.close()
  }

  cut(): void {
    for (const session of this.#sessions) session.destroy()
  }

  #keep(session: ServerHttp2Session): void {
    this.#sessions.add(session)
    let streams = 0
    session.setLocalWindowSize(sessionWindowBytes)
    session.on('stream', (stream) => {
      streams += 1
      stream.once('close', () => (streams -= 1))
    })
    session.setTimeout(this.#limits.idleMs, () => {
      if (streams === 0) session.close()
    })
    session.once('close', () => this.#sessions.delete(session))
    // One that never says its preface is no client.
    const timer = setTimeout(
      () => session.destroy(undefined, constants.NGHTTP2_SETTINGS_TIMEOUT),
      this.#limits.headersMs,
    )
    timer.unref()
    session.once('remoteSettings', () => clearTimeout(timer))
    session.once('close', () => clearTimeout(timer))
  }
}
