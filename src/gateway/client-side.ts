/**
 * What an exchange needs of the client's half of a request. node:http's messages have it as they are; a stream of HTTP/2 is
 * brought to it by http2-message.ts. So everything behind is written once, whatever the client speaks.
 */
import type { IncomingHttpHeaders } from 'node:http'

export interface ClientConnection {
  readonly remoteAddress?: string | undefined
  readonly localPort?: number | undefined
  destroy(): unknown
}

export interface ClientRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  /** `1.0`, `1.1` or `2.0`. */
  readonly httpVersion: string
  readonly headers: IncomingHttpHeaders
  /** Names and values in turn, in the form of HTTP/1.1: the authority of HTTP/2 stands as `host`. */
  readonly rawHeaders: string[]
  /** The body has come whole. */
  readonly complete: boolean
  readonly destroyed: boolean
  /** What it came in by. Destroying it ends this request, and others only where they share a connection in turn. */
  readonly socket: ClientConnection
  on(event: 'data', listener: (chunk: Buffer) => void): this
  on(event: 'end' | 'close', listener: () => void): this
  once(event: 'end' | 'close', listener: () => void): this
  removeListener(event: 'data', listener: (chunk: Buffer) => void): this
  removeListener(event: 'end' | 'close', listener: () => void): this
  pause(): unknown
  resume(): unknown
}

export interface ClientResponse {
  readonly statusCode: number
  readonly destroyed: boolean
  readonly writableEnded: boolean
  readonly writableFinished: boolean
  /** Bytes that wait to be sent. */
  readonly writableLength: number
  writeContinue(): void
  writeHead(status: number, headers: string[]): unknown
  writeHead(status: number, reason: string, headers: string[]): unknown
  flushHeaders(): void
  write(chunk: Buffer): boolean
  addTrailers(trailers: [string, string][]): void
  end(chunk?: Buffer | string): unknown
  destroy(): unknown
  once(event: 'close' | 'drain', listener: () => void): unknown
}
