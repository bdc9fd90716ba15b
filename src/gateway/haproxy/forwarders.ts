/**
 * Sockets of ours in front of endpoints that HAProxy cannot reach itself: those inside a namespace, and names. Bytes pass
 * both ways as they are. Invariant: one socket for each endpoint, gone with the last table that needs it.
 */
import { createHash } from 'node:crypto'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { once } from 'node:events'
import { canonicalJson } from '../../base/index.ts'
import type { Endpoint } from '../../network/index.ts'

/** Paths that can stand in a configuration as they are. */
const plainPath = /^\/[A-Za-z0-9_./-]+$/

/** How HAProxy reaches an endpoint by itself; null when it cannot. */
export function directAddress(endpoint: Endpoint): string | null {
  if (endpoint.kind === 'unix') return plainPath.test(endpoint.path) ? `unix@${endpoint.path}` : null
  if (endpoint.kind !== 'tcp' || isIP(endpoint.host) === 0) return null
  return isIP(endpoint.host) === 6 ? `ipv6@${endpoint.host}:${endpoint.port}` : `${endpoint.host}:${endpoint.port}`
}

export class Forwarders implements AsyncDisposable {
  readonly #directory: string
  readonly #connect: (endpoint: Endpoint) => Socket
  readonly #servers = new Map<string, { readonly server: Server; readonly open: Set<Socket> }>()

  constructor(directory: string, connect: (endpoint: Endpoint) => Socket) {
    this.#directory = directory
    this.#connect = connect
  }

  /** The address for HAProxy. A socket that is named here has to be opened by `keep`. */
  addressOf(endpoint: Endpoint): string {
    return directAddress(endpoint) ?? `unix@${this.#pathOf(endpoint)}`
  }

  /** Opens what these endpoints need, and closes what no one needs any more. */
  async keep(endpoints: readonly Endpoint[]): Promise<void> {
    const needed = new Map(
      endpoints.filter((endpoint) => directAddress(endpoint) === null).map((one) => [this.#pathOf(one), one]),
    )
    for (const [path, { server, open }] of this.#servers) {
      if (needed.has(path)) continue
      this.#servers.delete(path)
      server.close()
      for (const socket of open) socket.destroy()
    }
    await Promise.all([...needed].filter(([path]) => !this.#servers.has(path)).map((one) => this.#open(...one)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.keep([])
  }

  #pathOf(endpoint: Endpoint): string {
    return join(
      this.#directory,
      `${createHash('sha256').update(canonicalJson(endpoint)).digest('hex').slice(0, 20)}.to`,
    )
  }

  async #open(path: string, endpoint: Endpoint): Promise<void> {
    const open = new Set<Socket>()
    const server = createServer({ allowHalfOpen: true }, (near) => {
      const far = this.#connect(endpoint)
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        open.add(from)
        from.on('error', () => to.destroy())
        from.on('close', () => {
          open.delete(from)
          if (!from.readableEnded) to.destroy()
        })
        from.pipe(to)
      }
    })
    this.#servers.set(path, { server, open })
    server.listen(path)
    await once(server, 'listening')
  }
}
