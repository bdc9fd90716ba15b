/**
 * TLS to clients: node:tls with the certificate that the server name asks for. A certificate that is replaced serves the
 * connections it has begun; new handshakes get the new one, and nothing is restarted.
 */
import type { Socket } from 'node:net'
import { createServer } from 'node:tls'
import type { Server, TLSSocket } from 'node:tls'
import type { GatewayLimits } from './limits.ts'

/** A certificate as the gateway needs it, in PEM: the chain, leaf first, and the key of the leaf. One object for one certificate. */
export interface ServerCertificate {
  readonly chain: string
  readonly key: string
}

/**
 * Where the gateway finds certificates; a driver of `stead/certificates` is one. Asked at every handshake, so it must answer
 * from memory.
 */
export interface CertificateFinder {
  /** The certificate for a host (or an address, where a client names no host); null when there is none now. */
  find(host: string): ServerCertificate | null
  /** The hosts that the routes have, sorted; said with every table. */
  want(hosts: readonly string[]): void
  /** What answers an ACME HTTP-01 challenge for a host; null when the token is none of its own. */
  challenge(host: string, token: string): string | null
}

/** What a connection was opened for. */
export interface SecureName {
  readonly host: string
  readonly certificate: ServerCertificate
}

export class Secure {
  readonly #limits: GatewayLimits
  readonly #onSecure: (socket: TLSSocket, name: SecureName) => void
  /** One server for each certificate. None of them listens: connections come by `take`. */
  readonly #servers = new WeakMap<ServerCertificate, Server>()

  constructor(limits: GatewayLimits, onSecure: (socket: TLSSocket, name: SecureName) => void) {
    this.#limits = limits
    this.#onSecure = onSecure
  }

  /** Makes ready to serve a certificate. Throws what node:tls has against it. */
  prepare(certificate: ServerCertificate): void {
    if (!this.#servers.has(certificate)) this.#create(certificate)
  }

  /** Begins TLS on a connection whose first bytes have been put back. */
  take(socket: Socket, certificate: ServerCertificate): void {
    // The end of a client is its end: TLS says goodbye by itself, and a client that leaves in a handshake must not be waited for.
    socket.allowHalfOpen = false
    const server = this.#servers.get(certificate) ?? this.#create(certificate)
    server.emit('connection', socket)
  }

  #create(certificate: ServerCertificate): Server {
    const server = createServer({
      cert: certificate.chain,
      key: certificate.key,
      ALPNProtocols: ['h2', 'http/1.1'],
      minVersion: 'TLSv1.2',
      handshakeTimeout: this.#limits.handshakeMs,
    })
    server.on('secureConnection', (socket) => {
      const { servername, localAddress = '' } = socket
      const host = typeof servername === 'string' && servername !== '' ? servername.toLowerCase() : localAddress
      this.#onSecure(socket, { host, certificate })
    })
    server.on('tlsClientError', (_error, socket) => socket.destroy())
    this.#servers.set(certificate, server)
    return server
  }
}
