/**
 * Where a resource is that somebody else runs. Edges lead there; where its provider has a server of ours in front, they lead to
 * that, and the server, which has no network, reaches the place by one Unix socket, and nothing but the place.
 */
import { lchownSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import type { Endpoint, NetworkDriver } from '../network/index.ts'
import { outletPath, type Provider, type ProviderContext } from '../provider/index.ts'
import { mayChangeOwner } from './options.ts'

/** Streams of one front at the same time; more are refused at once. */
const streamsMax = 1000

export class Elsewhere {
  readonly #network: Pick<NetworkDriver, 'connect'>
  #at: { readonly host: string; readonly port: number } | null = null
  #outlet: { readonly path: string; readonly server: Server } | null = null

  constructor(network: Pick<NetworkDriver, 'connect'>) {
    this.#network = network
  }

  /** Null for what is run here. */
  get endpoint(): Endpoint | null {
    return this.#at === null ? null : { kind: 'tcp', ...this.#at }
  }

  /** Asks again where it is; with a `front` there is a way from that to it afterwards. Throws what the provider does. */
  async look(provider: Provider, context: ProviderContext, front: { readonly hostUid: number } | null): Promise<void> {
    this.#at = provider.endpoint?.(context) ?? null
    const path = outletPath(context.socketDir)
    if (this.#at === null || front === null || this.#outlet?.path === path) return
    this.close()
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (caller) => {
      const endpoint = this.endpoint
      if (endpoint === null) return void caller.destroy()
      const callee = this.#network.connect(endpoint)
      callee.allowHalfOpen = true
      caller.pipe(callee)
      callee.pipe(caller)
      caller.on('error', () => callee.destroy()).once('close', () => callee.destroy())
      callee.on('error', () => caller.destroy()).once('close', () => caller.destroy())
    })
    server.maxConnections = streamsMax
    rmSync(path, { force: true })
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
    if (mayChangeOwner()) lchownSync(path, front.hostUid, front.hostUid)
    this.#outlet = { path, server }
  }

  /** Takes no new streams; those that are open go on. */
  close(): void {
    this.#outlet?.server.close()
    this.#outlet = null
  }
}
