/**
 * One instance as the gateway sees it: its kept-alive connections, and what is in flight to it. A connection carries one
 * request at a time and serves the next only when the last one ended well. Once the instance has left the table no new
 * work comes, and when nothing is left in flight it is drained: only then may it stop.
 */
import type { Socket } from 'node:net'
import { Client } from 'undici'
import { SteadError } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { Endpoint } from '../network/index.ts'
import type { RouteTarget } from '../protocol/index.ts'
import { Breaker } from './breaker.ts'
import type { GatewayLimits } from './limits.ts'
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

export interface UpstreamContext {
  readonly clock: Clock
  readonly limits: GatewayLimits
  readonly connect: (endpoint: Endpoint) => Socket
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
  #leaving = false

  constructor(target: RouteTarget, context: UpstreamContext) {
    this.target = target
    this.#context = context
    this.breaker = new Breaker(context.limits)
  }

  /** Requests and WebSockets in flight. */
  get load(): number {
    return this.requests.size + this.tunnels.size
  }

  /** Takes a connection for one request: the one used last, so that those not needed grow old and close. */
  take(request: Flight): Client {
    this.requests.add(request)
    return this.#idle.pop() ?? this.#open()
  }

  /** Gives it back; it serves again only when `reusable`. */
  give(request: Flight, client: Client, reusable: boolean): void {
    if (reusable && !this.#leaving) this.#idle.push(client)
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

  /** It has just refused a connection. */
  rest(): void {
    this.restUntilMs = this.#context.clock.monotonicMs() + this.#context.limits.restMs
  }

  /** It is no longer in the table. */
  leave(): void {
    if (this.#leaving) return
    this.#leaving = true
    for (const client of this.#idle.splice(0)) destroy(client)
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
    const { limits, clock, connect } = this.#context
    const { endpoint } = this.target
    return new Client('http://instance', {
      pipelining: 1,
      keepAliveTimeout: limits.upstreamIdleMs,
      maxHeaderSize: limits.headerBytesMax * 4,
      connect: (_options, callback) => {
        const socket = connect(endpoint)
        const settle = (error: Error | null): void => {
          timer[Symbol.dispose]()
          socket.removeListener('connect', onConnect).removeListener('error', settle).removeListener('close', onClose)
          if (error === null) return callback(null, socket)
          socket.on('error', () => undefined).destroy()
          callback(error, null)
        }
        const onConnect = (): void => settle(null)
        const onClose = (): void => settle(new Error('the connection was closed before it was open'))
        const timer = clock.after(limits.connectMs, () =>
          settle(connectTimeout(this.target.instance, limits.connectMs)),
        )
        socket.setNoDelay(true)
        socket.once('connect', onConnect).once('error', settle).once('close', onClose)
      },
    })
  }
}

function connectTimeout(instance: string, connectMs: number): SteadError {
  return new SteadError({
    code: 'gateway.connect-timeout',
    message: `Instance ${instance} did not answer the attempt to connect within ${connectMs} ms.`,
    hint: 'See whether its node is reachable.',
    retry: 'later',
  })
}

/** Closes a connection whatever goes on in it. Its failure to close is nobody's concern any more. */
function destroy(client: Client): void {
  client.destroy().catch(() => undefined)
}
