/**
 * One instance as the gateway sees it: its kept-alive connections, and what is in flight to it. A connection carries one
 * request at a time and serves the next only when the last one ended well. Once the instance has left the table no new
 * work comes, and when nothing is left in flight it is drained: only then may it stop.
 */
import { Client } from 'undici'
import type { RouteTarget } from '../protocol/index.ts'
import { Breaker } from './breaker.ts'
import { dial } from './dial.ts'
import type { DialContext } from './dial.ts'
import { H2cPool } from './h2c.ts'
import type { H2cConnection } from './h2c.ts'
import { emptyAttempts } from './metrics.ts'
import type { AttemptCounters } from './metrics.ts'

/** A request in flight to an instance. */
export interface Flight {
  /** Ends it now. */
  cut(): void
}

/** An open WebSocket. */
export interface TunnelFlight extends Flight {
  /** Ends it politely. */
  goAway(): void
}

/** What one request has to an instance while it lasts. */
export type Connection = Client | H2cConnection

export interface UpstreamContext extends DialContext {
  /** A place has become free. */
  readonly onFree: (upstream: Upstream) => void
  /** It has left the table and nothing is in flight any more. */
  readonly onDrained: (upstream: Upstream) => void
}

export class Upstream {
  readonly target: RouteTarget
  readonly requests: Set<Flight> = new Set()
  readonly tunnels: Set<TunnelFlight> = new Set()
  readonly breaker: Breaker
  readonly counters: AttemptCounters = emptyAttempts()
  /** It refused a connection: pass it over until then (monotonic). */
  restUntilMs = 0
  readonly #context: UpstreamContext
  readonly #idle: Client[] = []
  readonly #timers: Disposable[] = []
  /** Null: it speaks HTTP/1.1. */
  readonly #h2c: H2cPool | null
  #leaving = false

  constructor(target: RouteTarget, context: UpstreamContext) {
    this.target = target
    this.#context = context
    this.#h2c = target.protocol === 'h2c' ? new H2cPool(context, target) : null
    this.breaker = new Breaker(context.limits)
  }

  /** Requests and WebSockets in flight. */
  get load(): number {
    return this.requests.size + this.tunnels.size
  }

  /** Takes a connection for one request: the one used last, so that those not needed grow old and close. */
  take(request: Flight): Connection {
    this.requests.add(request)
    return this.#h2c?.open() ?? this.#idle.pop() ?? this.#open()
  }

  /** Gives it back; it serves again only when `reusable`. */
  give(request: Flight, client: Connection, reusable: boolean): void {
    if (reusable && !this.#leaving && client instanceof Client) this.#idle.push(client)
    else destroy(client)
    if (this.requests.delete(request)) this.#freed()
  }

  /** A connection of its own for a WebSocket. */
  takeTunnel(tunnel: TunnelFlight): Client {
    this.tunnels.add(tunnel)
    return this.#open()
  }

  giveTunnel(tunnel: TunnelFlight, client: Client): void {
    destroy(client)
    if (this.tunnels.delete(tunnel)) this.#freed()
  }

  /** A connection that is carried as it is: TCP, or TLS that ends at the instance. Calls back once, as `dial` does. */
  takeStream(stream: TunnelFlight, callback: Parameters<typeof dial>[2]): void {
    this.tunnels.add(stream)
    dial(this.#context, this.target, callback)
  }

  giveStream(stream: TunnelFlight): void {
    if (this.tunnels.delete(stream)) this.#freed()
  }

  /** It has just refused a connection. */
  rest(): void {
    this.restUntilMs = this.#context.clock.monotonicMs() + this.#context.limits.restMs
  }

  /** It is no longer in the table. */
  leave(): void {
    if (this.#leaving) return
    this.#leaving = true
    for (const client of this.#idle.splice(0)) destroy(client)
    this.#h2c?.close()
    const { clock, limits } = this.#context
    this.#timers.push(
      clock.after(limits.drainMs, () => {
        for (const tunnel of this.tunnels) tunnel.goAway()
      }),
      clock.after(limits.cutMs, () => {
        for (const flight of [...this.requests, ...this.tunnels]) flight.cut()
      }),
    )
    this.#freed()
  }

  #freed(): void {
    if (!this.#leaving) return this.#context.onFree(this)
    if (this.load > 0) return
    for (const timer of this.#timers.splice(0)) timer[Symbol.dispose]()
    this.#context.onDrained(this)
  }

  #open(): Client {
    const { limits } = this.#context
    return new Client('http://instance', {
      pipelining: 1,
      keepAliveTimeout: limits.upstreamIdleMs,
      maxHeaderSize: limits.headerBytesMax * 4,
      connect: (_options, callback) => dial(this.#context, this.target, callback),
    })
  }
}

/** Closes a connection whatever goes on in it. Its failure to close is nobody's concern any more. */
function destroy(client: Connection): void {
  client.destroy().catch(() => undefined)
}
