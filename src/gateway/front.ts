/**
 * What a new connection speaks, decided by its first bytes: HTTP/1.1, HTTP/2 with prior knowledge, or TLS; and what TLS is
 * for, by the server name in it. So one port serves all of them. Invariants: a connection for a server name that is not
 * served ends with an alert, before any certificate is shown; what is passed through by its name is never decrypted; who
 * says nothing, or says it too slowly, holds a connection for a bounded time and few bytes.
 */
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { messageOf } from '../base/index.ts'
import { HelloReader, tlsAlert } from './client-hello.ts'
import type { Core } from './core.ts'
import type { Http2Front } from './http2-server.ts'
import { Secure } from './secure.ts'
import type { SecureName, ServerCertificate } from './secure.ts'

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const handshakeRecord = 0x16

/** How the gateway answers for a server name. `unknown`: nothing is served there; `missing`: no certificate is there yet. */
export type NameAnswer =
  | { readonly kind: 'secure'; readonly certificate: ServerCertificate }
  | { readonly kind: 'pass'; readonly take: (socket: Socket, begun: Buffer) => void }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'missing' }

export interface FrontOptions {
  /** The server that listens; connections of HTTP/1.1 are given back to it. */
  readonly server: Server
  readonly http2: Http2Front
  /** Null: this port does not speak TLS. */
  readonly nameOf: ((serverName: string | null, socket: Socket) => NameAnswer) | null
  /** Counts a new connection; false when there is no place for it. Only HTTP/1.1 can be told so in words, by its server. */
  readonly admit: (socket: Socket) => boolean
  /** A connection has become one of TLS. */
  readonly onSecure: (socket: Socket, name: SecureName) => void
  /** A client that has not said in time what it speaks. */
  readonly onSilent: (socket: Socket) => void
  /** What somebody should know. */
  readonly onNotice: (text: string) => void
}

/** A connection that has not said yet what it speaks. */
interface Opening {
  /** Whether there is a place for it. */
  readonly admitted: boolean
  readonly hello: HelloReader
  /** Ends looking at it. */
  readonly settle: () => Socket
}

export class Front {
  readonly #core: Core
  readonly #options: FrontOptions
  readonly #secure: Secure
  readonly #accept: (socket: Socket) => void
  readonly #opening = new Set<Socket>()
  readonly #refused = new WeakSet<ServerCertificate>()
  /** Under TLS, or told by an alert to go. node:http knows of a part of them only. */
  readonly #others = new Set<Socket>()

  constructor(core: Core, options: FrontOptions) {
    this.#core = core
    this.#options = options
    const { server } = options
    // node:http's own listener takes a connection as HTTP/1.1; here it comes second.
    const listeners = server.listeners('connection')
    server.removeAllListeners('connection')
    server.on('connection', (socket: Socket) => this.#look(socket))
    this.#accept = (socket) => {
      for (const listener of listeners) Reflect.apply(listener, server, [socket])
    }
    this.#secure = new Secure(core.limits, (socket, name) => {
      options.onSecure(socket, name)
      if (socket.alpnProtocol === 'h2') options.http2.take(socket)
      else this.#accept(socket)
    })
  }

  /** Drops connections that have not begun to speak. */
  close(): void {
    for (const socket of this.#opening) socket.destroy()
  }

  /** Drops everything, handshakes that are half done among it. */
  cut(): void {
    for (const socket of [...this.#opening, ...this.#others]) socket.destroy()
  }

  #look(socket: Socket): void {
    const { limits, clock } = this.#core
    const admitted = this.#options.admit(socket)
    let seen: Buffer = Buffer.alloc(0)
    let wanted = 1
    const onData = (chunk: Buffer): void => {
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk])
      if (seen.length < wanted) return
      wanted = this.#decide(socket, seen, opening)
      if (wanted > limits.helloBytesMax) this.#alert(socket, 'decode-error', settle)
    }
    const onGone = (): void => void settle().destroy()
    const settle = (): Socket => {
      timer[Symbol.dispose]()
      this.#opening.delete(socket)
      socket.removeListener('data', onData).removeListener('end', onGone).removeListener('error', onGone)
      return socket.pause()
    }
    const opening: Opening = { admitted, hello: new HelloReader(), settle }
    const timer = clock.after(limits.headersMs, () => this.#options.onSilent(settle()))
    this.#opening.add(socket)
    socket.on('data', onData).on('end', onGone).on('error', onGone)
  }

  /** Hands the connection on, or answers how many bytes it takes to know more. */
  #decide(socket: Socket, seen: Buffer, opening: Opening): number {
    const { admitted, settle } = opening
    if (this.#options.nameOf !== null && seen[0] === handshakeRecord) {
      return admitted ? this.#decideTls(socket, seen, opening) : this.#alert(socket, 'internal-error', settle)
    }
    const length = Math.min(seen.length, preface.length)
    const prefixed = seen.compare(preface, 0, length, 0, length) === 0
    if (prefixed && seen.length < preface.length) return seen.length + 1
    settle().unshift(seen)
    if (prefixed && admitted) this.#options.http2.take(socket)
    else if (prefixed) socket.destroy()
    else {
      this.#accept(socket)
      socket.resume()
    }
    return 0
  }

  #decideTls(socket: Socket, seen: Buffer, { hello, settle }: Opening): number {
    const reading = hello.read(seen)
    if (reading.kind === 'more') return reading.bytes
    if (reading.kind === 'bad') return this.#alert(socket, 'decode-error', settle)
    const answer = this.#options.nameOf?.(reading.serverName, socket) ?? ({ kind: 'unknown' } as const)
    if (answer.kind === 'unknown') return this.#alert(socket, 'unrecognized-name', settle)
    if (answer.kind === 'missing') return this.#alert(socket, 'internal-error', settle)
    if (answer.kind === 'secure' && !this.#takes(answer.certificate))
      return this.#alert(socket, 'internal-error', settle)
    settle()
    if (answer.kind === 'pass') answer.take(socket, seen)
    else {
      socket.unshift(seen)
      this.#keep(socket)
      this.#secure.take(socket, answer.certificate)
    }
    return 0
  }

  /** Whether node:tls takes a certificate. One that it does not is said once. */
  #takes(certificate: ServerCertificate): boolean {
    if (this.#refused.has(certificate)) return false
    try {
      this.#secure.prepare(certificate)
      return true
    } catch (error) {
      this.#refused.add(certificate)
      this.#options.onNotice(`a certificate cannot be served: ${messageOf(error)}`)
      return false
    }
  }

  #keep(socket: Socket): void {
    this.#others.add(socket)
    socket.once('close', () => this.#others.delete(socket))
  }

  #alert(socket: Socket, description: Parameters<typeof tlsAlert>[0], settle: () => Socket): number {
    settle().on('error', () => undefined)
    this.#keep(socket)
    socket.end(tlsAlert(description))
    // What it still sends is thrown away for a while: closing at once would take the alert back.
    const timer = this.#core.clock.after(this.#core.limits.lingerMs, () => socket.destroy())
    socket.once('close', () => timer[Symbol.dispose]())
    socket.once('end', () => socket.destroy()).resume()
    return 0
  }
}
