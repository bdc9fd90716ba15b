/**
 * The way in to apps: a node:http server in front, kept-alive connections to instances behind. It is given whole route
 * tables and never routes a new request by an older one than it has acknowledged; an instance that has left the table is
 * reported drained when nothing is in flight to it any more. It keeps serving from the table it has, whoever else is down.
 */
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { SteadError, canonicalJson, systemClock, systemCodeOf, systemRandom } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { Route, RouteEndpoint, RouteTable, RouteTarget } from '../protocol/index.ts'
import type { Core } from './core.ts'
import { Exchange } from './exchange.ts'
import { addGatewayHeaders, readHead } from './headers.ts'
import { IdSource, requestIds } from './ids.ts'
import { defaultLimits } from './limits.ts'
import type { GatewayLimits } from './limits.ts'
import { emptyMetrics, noRoute } from './metrics.ts'
import type { RouteMetrics } from './metrics.ts'
import { portHolder } from './port-holder.ts'
import { renderProblem } from './problem.ts'
import type { Cause } from './problem.ts'
import { RouteState } from './route-state.ts'
import { hostOf, indexRoutes, matchRoute, routablePath } from './routes.ts'
import type { RouteIndex } from './routes.ts'
import { Tunnel, answerRaw } from './tunnel.ts'
import { Upstream } from './upstream.ts'

export interface GatewayOptions {
  /** Opens a stream to an instance; a network driver's `connect`. */
  readonly connect: (endpoint: RouteEndpoint) => Socket
  /** An instance that has left the table has nothing in flight any more: it may stop. */
  readonly onDrained?: (instance: string) => void
  readonly limits?: Partial<GatewayLimits>
  readonly clock?: Clock
  readonly random?: Random
}

/** What a gateway answers to a route table. */
export interface Acknowledgement {
  /** The revision that every new request is routed by from now on. */
  readonly revision: number
}

export interface BoundAddress {
  readonly host: string
  readonly port: number
}

/** Counters of routes that are gone are kept, but not without end. */
const goneMetricsMax = 1000

const nowhere: Route = { id: '', host: '', path: '/', app: '', part: '', targets: [] }

interface Found {
  readonly state: RouteState
  readonly target: string
  readonly headers: string[]
  readonly requestId: string
  readonly refused: Cause | null
}

/** Makes a gateway that listens nowhere yet and has no routes. */
export function createGateway(options: GatewayOptions): Gateway {
  return new Gateway(options)
}

export class Gateway implements AsyncDisposable {
  readonly #options: GatewayOptions
  readonly #core: Core
  readonly #servers = new Set<Server>()
  readonly #exchanges = new Set<Exchange>()
  readonly #tunnels = new Set<Tunnel>()
  readonly #metrics = new Map<string, RouteMetrics>()
  readonly #leaving = new Set<Upstream>()
  readonly #drainWaits = new Map<string, (() => void)[]>()
  readonly #nowhere: RouteState
  #revision = -1
  #index: RouteIndex<RouteState> = new Map()
  #states: ReadonlyMap<string, RouteState> = new Map()
  #upstreams: ReadonlyMap<string, Upstream> = new Map()
  #users: ReadonlyMap<Upstream, readonly RouteState[]> = new Map()
  #onQuiet: (() => void) | null = null

  constructor(options: GatewayOptions) {
    this.#options = options
    this.#core = {
      clock: options.clock ?? systemClock,
      limits: { ...defaultLimits, ...options.limits },
      ids: new IdSource(options.random ?? systemRandom),
      closing: false,
    }
    this.#nowhere = new RouteState(nowhere, this.#metricsOf(nowhere), this.#core.limits)
  }

  /**
   * Starts to listen; port 0 chooses a free one. May be called for several addresses. Throws `gateway.port-taken` (with the
   * holder, where the machine tells) and `gateway.port-refused`.
   */
  async listen(port: number, host = '127.0.0.1'): Promise<BoundAddress> {
    const server = this.#createServer()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    server.once('error', reject)
    server.listen(port, host, resolve)
    try {
      await promise
    } catch (error) {
      throw await listenError(error, host, port)
    }
    this.#servers.add(server)
    const address = server.address()
    return isAddressInfo(address) ? { host: address.address, port: address.port } : { host, port }
  }

  /**
   * Routes by this table from now on: when this returns, no request that has not found its instance yet will be routed by
   * an older one. A table older than the one in force changes nothing; the answer always names the revision in force.
   * Throws `gateway.duplicate-route`, and then keeps the table it has.
   */
  apply(table: RouteTable): Acknowledgement {
    if (table.revision < this.#revision) return { revision: this.#revision }
    const states = new Map<string, RouteState>()
    for (const route of table.routes) {
      const state = this.#states.get(route.id)
      states.set(route.id, state ?? new RouteState(route, this.#metricsOf(route), this.#core.limits))
    }
    this.#index = indexRoutes(table.routes.map((route) => ({ route, value: states.get(route.id) ?? this.#nowhere })))
    this.#revision = table.revision
    const upstreams = new Map<string, Upstream>()
    const users = new Map<Upstream, RouteState[]>()
    for (const route of table.routes) {
      const state = states.get(route.id)
      if (state === undefined) continue
      state.route = route
      state.metrics.labels = labelsOf(route)
      state.upstreams = route.targets.map((target) => this.#upstreamOf(target, upstreams))
      for (const upstream of state.upstreams) users.set(upstream, [...(users.get(upstream) ?? []), state])
    }
    const gone = [...this.#states.values()].filter((state) => states.get(state.route.id) !== state)
    for (const state of gone) state.upstreams = []
    const left = [...this.#upstreams].filter(([key]) => !upstreams.has(key)).map(([, upstream]) => upstream)
    this.#states = states
    this.#upstreams = upstreams
    this.#users = users
    this.#forgetMetrics()
    for (const state of [...states.values(), ...gone]) state.wakeWaiting()
    for (const upstream of left) this.#leaving.add(upstream)
    for (const upstream of left) upstream.leave()
    return { revision: this.#revision }
  }

  /** Requests and WebSockets in flight to an instance, also after it has left the table. */
  inUse(instance: string): number {
    return this.#upstreamsOf(instance).reduce((sum, upstream) => sum + upstream.load, 0)
  }

  /** Resolves when the instance is in no table any more and has nothing in flight: at once when that is so already. */
  drained(instance: string): Promise<void> {
    if (this.#upstreamsOf(instance).length === 0) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#drainWaits.set(instance, [...(this.#drainWaits.get(instance) ?? []), resolve])
    return promise
  }

  /** A copy of all counters, one entry for each route and one (with empty labels) for requests that found none. */
  metrics(): RouteMetrics[] {
    return structuredClone([...this.#metrics.values()])
  }

  /**
   * Takes no new connections, lets what is in flight end within `closeMs`, tells WebSockets to go, then cuts off the rest.
   */
  async close(): Promise<void> {
    this.#core.closing = true
    const closed = [...this.#servers].map((server) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      server.close(() => resolve())
      server.closeIdleConnections()
      return promise
    })
    for (const tunnel of this.#tunnels) tunnel.goAway()
    await this.#quiet()
    for (const tunnel of this.#tunnels) tunnel.cut()
    for (const server of this.#servers) server.closeAllConnections()
    const left = [...this.#upstreams.values()]
    this.#upstreams = new Map()
    for (const upstream of left) this.#leaving.add(upstream)
    for (const upstream of left) upstream.leave()
    await Promise.all(closed)
    this.#servers.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #createServer(): Server {
    const { limits } = this.#core
    const server = createServer({
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.headersMs,
      requestTimeout: 0,
      keepAliveTimeout: limits.idleMs,
      connectionsCheckingInterval: limits.checkMs,
      noDelay: true,
      shouldUpgradeCallback: ({ method, headers }) =>
        method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket',
    })
    server.maxConnections = limits.connectionsMax
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.#serve(request, response, false))
    server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
      this.#serve(request, response, true),
    )
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#tunnel(request, socket, head),
    )
    server.on('connect', (_request: IncomingMessage, socket: Duplex) => this.#refuseRaw('not-allowed', socket))
    server.on('clientError', (error: Error, socket: Duplex) => this.#clientError(error, socket))
    return server
  }

  #serve(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const full = this.#exchanges.size >= this.#core.limits.requestsMax
    const { refused, ...found } = this.#find(request, full)
    const onOver = (exchange: Exchange): void => {
      this.#exchanges.delete(exchange)
      this.#checkQuiet()
    }
    const exchange = new Exchange(this.#core, { request, response, expectsContinue, onOver, ...found })
    this.#exchanges.add(exchange)
    exchange.start(refused)
  }

  #tunnel(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const full = this.#tunnels.size >= this.#core.limits.tunnelsMax
    const { refused, ...found } = this.#find(request, full)
    const onOver = (tunnel: Tunnel): void => {
      this.#tunnels.delete(tunnel)
      this.#checkQuiet()
    }
    const tunnel = new Tunnel(this.#core, { request, socket, head, onOver, ...found })
    this.#tunnels.add(tunnel)
    tunnel.start(refused)
  }

  /** The route of a request and what goes on to its instance, or why it is refused. */
  #find(request: IncomingMessage, full: boolean): Found {
    const head = readHead(request.rawHeaders)
    const ids = requestIds(this.#core.ids, head.requestId, head.traceparent)
    const host = head.host === null ? null : hostOf(head.host)
    const target = originForm(request.url ?? '', head.host)
    const path = target === null ? null : routablePath(target)
    const { requestId } = ids
    if (host === null || head.host === null || target === null || path === null) {
      return { state: this.#nowhere, target: '/', headers: [], requestId, refused: 'bad-request' }
    }
    const state = matchRoute(this.#index, host, path)
    if (state === undefined) {
      return { state: this.#nowhere, target, headers: [], requestId, refused: 'no-route' }
    }
    const headers = head.forward
    if (ids.continued && head.tracestate !== null) headers.push('tracestate', head.tracestate)
    addGatewayHeaders(headers, { address: request.socket.remoteAddress ?? '', proto: 'http', host: head.host }, ids)
    return { state, target, headers, requestId, refused: full ? 'overloaded' : null }
  }

  #clientError(error: Error, socket: Duplex): void {
    const code = systemCodeOf(error)
    const answering = [...this.#exchanges].some((exchange) => exchange.socket === socket)
    // Never into an answer that is under way: the client would take it for a part of that.
    if (answering || code === 'ECONNRESET' || !socket.writable) socket.destroy()
    else if (code === 'HPE_HEADER_OVERFLOW') this.#refuseRaw('header-too-large', socket)
    else this.#refuseRaw(code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'client-timed-out' : 'bad-request', socket)
  }

  /** Answers on a connection that node:http has given up. */
  #refuseRaw(cause: Cause, socket: Duplex): void {
    const { metrics } = this.#nowhere
    const rendered = renderProblem({ cause, requestId: this.#core.ids.hex(32), app: '', part: '' }, undefined)
    metrics.requests['4xx'] += 1
    metrics.rejected += 1
    metrics.bytesOut += Buffer.byteLength(rendered.body)
    socket.on('error', () => undefined)
    const timer = this.#core.clock.after(this.#core.limits.lingerMs, () => socket.destroy())
    socket.once('close', () => timer[Symbol.dispose]())
    answerRaw(socket, rendered)
  }

  #metricsOf(route: Route): RouteMetrics {
    const known = this.#metrics.get(route.id)
    if (known !== undefined) return known
    const metrics = emptyMetrics(route === nowhere ? noRoute : labelsOf(route))
    this.#metrics.set(route.id, metrics)
    return metrics
  }

  #forgetMetrics(): void {
    const gone = [...this.#metrics.keys()].filter((id) => id !== nowhere.id && !this.#states.has(id))
    for (const id of gone.slice(0, Math.max(0, gone.length - goneMetricsMax))) this.#metrics.delete(id)
  }

  /** The upstream of a target: the one there is when it is the same instance at the same endpoint. */
  #upstreamOf(target: RouteTarget, next: Map<string, Upstream>): Upstream {
    const key = `${target.instance} ${canonicalJson(target.endpoint)}`
    const known = next.get(key) ?? this.#upstreams.get(key)
    const upstream =
      known ??
      new Upstream(target, {
        clock: this.#core.clock,
        limits: this.#core.limits,
        connect: this.#options.connect,
        onFree: (free) => {
          for (const state of this.#users.get(free) ?? []) if (state.waiting.size > 0) state.wakeWaiting()
        },
        onDrained: (drained) => this.#drained(drained),
      })
    next.set(key, upstream)
    return upstream
  }

  #upstreamsOf(instance: string): Upstream[] {
    return [...this.#upstreams.values(), ...this.#leaving].filter(({ target }) => target.instance === instance)
  }

  #drained(upstream: Upstream): void {
    const { instance } = upstream.target
    this.#leaving.delete(upstream)
    if (this.#upstreamsOf(instance).length > 0) return
    for (const resolve of this.#drainWaits.get(instance) ?? []) resolve()
    this.#drainWaits.delete(instance)
    this.#options.onDrained?.(instance)
  }

  /** Resolves when nothing is in flight, or after `closeMs`. */
  #quiet(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = this.#core.clock.after(this.#core.limits.closeMs, resolve)
    this.#onQuiet = resolve
    this.#checkQuiet()
    return promise.finally(() => timer[Symbol.dispose]())
  }

  #checkQuiet(): void {
    if (this.#exchanges.size + this.#tunnels.size === 0) this.#onQuiet?.()
  }
}

function labelsOf(route: Route): { route: string; app: string; part: string } {
  return { route: route.id, app: route.app, part: route.part }
}

/**
 * The path and query of a request target. One that names a host too is taken only when that is the Host header's; any other
 * form is null, because the gateway and an instance could read it differently.
 */
function originForm(url: string, host: string | null): string | null {
  if (url.startsWith('/')) return url
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url)
  if (absolute === null || absolute[1]?.toLowerCase() !== host?.toLowerCase()) return null
  const rest = absolute[2] ?? ''
  return rest.startsWith('/') ? rest : `/${rest}`
}

function isAddressInfo(address: string | AddressInfo | null): address is AddressInfo {
  return address !== null && typeof address === 'object'
}

async function listenError(error: unknown, host: string, port: number): Promise<unknown> {
  const code = systemCodeOf(error)
  if (code === 'EADDRINUSE') {
    const holder = await portHolder(port)
    return new SteadError({
      code: 'gateway.port-taken',
      message: `Port ${port} on ${host} is taken${holder === null ? '' : ` by ${holder}`}.`,
      hint: 'Stop what listens there, or choose another port.',
      retry: 'later',
      cause: error,
    })
  }
  if (code === 'EACCES' || code === 'EADDRNOTAVAIL') {
    return new SteadError({
      code: 'gateway.port-refused',
      message: `The system does not let the gateway listen on port ${port} of ${host} (${code}).`,
      hint: 'Ports below 1024 need a right of their own; the address must be one of this machine.',
      cause: error,
    })
  }
  return error
}
