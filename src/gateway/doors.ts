/**
 * The gateway's ports and what is spoken on them. Knows which connection was opened for which server name, so that a
 * request for another one can be told to open its own: a certificate that names two apps must not join what they serve.
 */
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Core } from './core.ts'
import { Front } from './front.ts'
import { Http2Front } from './http2-server.ts'
import type { Http2Serve } from './http2-server.ts'
import type { CertificateFinder, SecureName } from './secure.ts'

export interface DoorsOptions {
  /** Null: no TLS. */
  readonly certificates: CertificateFinder | null
  /** Whether any route has this host. */
  readonly serves: (host: string) => boolean
  /** What takes TLS for a server name as it is; null when nothing does. */
  readonly passage: (host: string) => ((socket: Socket, begun: Buffer) => void) | null
  readonly onHttp2: Http2Serve
  /** Counts a new connection; false when there is no place for it. */
  readonly admit: (socket: Socket) => boolean
  /** A client that has not said in time what it speaks. */
  readonly onSilent: (socket: Socket) => void
  /** What somebody should know. */
  readonly onNotice: (text: string) => void
}

export class Doors {
  readonly #core: Core
  readonly #options: DoorsOptions
  readonly #http2: Http2Front
  readonly #fronts = new Set<Front>()
  readonly #names = new WeakMap<object, SecureName>()
  readonly #tlsPorts = new Set<number>()

  constructor(core: Core, options: DoorsOptions) {
    this.#core = core
    this.#options = options
    this.#http2 = new Http2Front(core.limits, options.onHttp2)
  }

  /** Stands before a server of node:http that is about to listen. */
  guard(server: Server, tls: boolean): void {
    const { certificates, serves, passage, admit, onSilent, onNotice } = this.#options
    const front = new Front(this.#core, {
      server,
      http2: this.#http2,
      admit,
      onSilent,
      onNotice,
      onSecure: (socket, name) => this.#names.set(socket, name),
      nameOf: !tls
        ? null
        : (serverName, { localAddress = '' }) => {
            const host = serverName ?? localAddress
            const take = passage(host)
            if (take !== null) return { kind: 'pass', take }
            if (!serves(host)) return { kind: 'unknown' }
            const certificate = certificates?.find(host) ?? null
            return certificate === null ? { kind: 'missing' } : { kind: 'secure', certificate }
          },
    })
    this.#fronts.add(front)
  }

  /** A port on which TLS is spoken. */
  addTlsPort(port: number): void {
    this.#tlsPorts.add(port)
  }

  /** Where a client of plain HTTP on a port finds the same over TLS; null when nowhere. */
  tlsPortFor(port: number | undefined): number | null {
    if (port !== undefined && this.#tlsPorts.has(port)) return port
    const [first] = this.#tlsPorts
    return first ?? null
  }

  /** What a connection was opened for; undefined for one without TLS. */
  nameOf(connection: object): SecureName | undefined {
    return this.#names.get(connection)
  }

  /** Whether a connection that was opened for one host may carry requests for another: only where one certificate stands for both. */
  mayCarry(name: SecureName, host: string): boolean {
    return name.host === host || this.#options.certificates?.find(host) === name.certificate
  }

  /** New streams are refused, and connections that have not begun to speak are dropped. */
  goAway(): void {
    for (const front of this.#fronts) front.close()
    this.#http2.goAway()
  }

  cut(): void {
    this.#http2.cut()
    for (const front of this.#fronts) front.cut()
  }
}
