/**
 * The way in to apps: a node:http server in front, kept-alive connections to instances behind. It is given whole route
 * tables and never routes a new request by an older one than it has acknowledged; an instance that has left the table is
 * reported drained when nothing is in flight to it any more. It keeps serving from the table it has, whoever else is down.
 */
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { SteadError, systemClock, systemCodeOf, systemRandom } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { Endpoint } from '../network/index.ts'
import type { RouteTable, TrafficReport } from '../protocol/index.ts'
import type { Core } from './core.ts'
import { Doorman } from './doorman.ts'
import { Exchange } from './exchange.ts'
import { addGatewayHeaders, readHead } from './headers.ts'
import { IdSource, requestIds } from './ids.ts'
import { defaultLimits } from './limits.ts'
import type { GatewayLimits } from './limits.ts'
import { countRejected, outcomeOf } from './metrics.ts'
import type { RouteMetrics, TargetMetrics } from './metrics.ts'
import { portHolder } from './port-holder.ts'
import { renderProblem } from './problem.ts'
import type { Cause } from './problem.ts'
import type { RouteState } from './route-state.ts'
import { hostOf, originForm, routablePath } from './routes.ts'
import { admits } from './shed.ts'
import { stickyKeyLength, stickySetCookie, takeStickyKey } from './sticky.ts'
import { LiveTable } from './table.ts'
import type { Acknowledgement } from './table.ts'
import { TrafficMeter } from './traffic.ts'
import { Tunnel, answerRaw } from './tunnel.ts'

/** Of the connections above the limit, how many at least are told so; the rest is dropped. */
const toldMin = 16

export interface GatewayOptions {
  /** Opens a stream to an instance; a network driver's `connect`. */
  readonly connect: (endpoint: Endpoint) => Socket
  /** An instance that has left the table has nothing in flight any more: it may stop. */
  readonly onDrained?: (instance: string) => void
  readonly limits?: Partial<GatewayLimits>
  readonly clock?: Clock
  readonly random?: Random
}

export interface BoundAddress {
  readonly host: string
  readonly port: number
}

interface Found {
  readonly state: RouteState
  readonly target: string
  readonly headers: string[]
  readonly requestId: string
  readonly traceId: string
  readonly key: string
  readonly setCookie: string | null
  readonly closes: boolean
  readonly refused: Cause | null
}

/** Makes a gateway that listens nowhere yet and has no routes. */
export function createGateway(options: GatewayOptions): Gateway {
  return new Gateway(options)
}

export class Gateway implements AsyncDisposable {
  readonly #core: Core
  readonly #table: LiveTable
  readonly #meter = new TrafficMeter()
  readonly #doorman: Doorman
  /** Connections that came when there was no place: their first request is told so. */
  readonly #turnedAway = new WeakSet<Socket>()
  readonly #servers = new Set<Server>()
  readonly #exchanges = new Set<Exchange>()
  readonly #tunnels = new Set<Tunnel>()
  #onQuiet: (() => void) | null = null

  constructor(options: GatewayOptions) {
    this.#core = {
      clock: options.clock ?? systemClock,
      limits: { ...defaultLimits, ...options.limits },
      ids: new IdSource(options.random ?? systemRandom),
      staleSinceMs: null,
      compressions: 0,
      closing: false,
    }
    this.#doorman = new Doorman(this.#core.limits)
    const onDrained = (instance: string): void => options.onDrained?.(instance)
    this.#table = new LiveTable(this.#core, { connect: options.connect, onDrained })
  }

  /**
   * Starts to listen; port 0 chooses a free one. May be called for several addresses. With `fd` it accepts from a socket
   * that listens there already, which outlives this gateway. Throws `gateway.port-taken` (with the holder, where the
   * machine tells) and `gateway.port-refused`.
   */
  async listen(port: number, host = '127.0.0.1', fd: number | null = null): Promise<BoundAddress> {
    const server = this.#createServer()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    server.once('error', reject)
    server.listen(fd === null ? { port, host } : { fd }, resolve)
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
    this.#core.staleSinceMs = null
    return this.#table.apply(table)
  }

  /** Control is not heard any more: what is known of the parts' health grows old. Until the next `apply`. */
  lostControl(): void {
    this.#core.staleSinceMs ??= this.#core.clock.nowMs()
  }

  /** Requests and WebSockets in flight to an instance, also after it has left the table. */
  inUse(instance: string): number {
    return this.#table.inUse(instance)
  }

  /** Resolves when the instance is in no table any more and has nothing in flight: at once when that is so already. */
  drained(instance: string): Promise<void> {
    return this.#table.drained(instance)
  }

  /** A copy of all counters, one entry for each route and one (with empty labels) for requests that found none. */
  metrics(): RouteMetrics[] {
    return this.#table.metrics()
  }

  /** A copy of the counters of every instance in the table. */
  targetMetrics(): TargetMetrics[] {
    return structuredClone([...this.#table.liveTargets()])
  }

  /**
   * Looks at the counters, for rates over the last few looks: what has changed since the last look, or everything (`full`);
   * null when there is nothing to tell. Meant to be called about once a second, by one caller.
   */
  traffic(full: boolean): TrafficReport | null {
    const nowMs = this.#core.clock.monotonicMs()
    return this.#meter.look(nowMs, this.#table.liveMetrics(), this.#table.liveTargets(), full)
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
    this.#table.leaveAll()
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
    server.maxConnections = limits.connectionsMax + Math.max(toldMin, limits.connectionsMax / 10)
    // Their sum is bounded; a header that is left out silently is one that an instance could have read.
    server.maxHeadersCount = 0
    server.on('connection', (socket: Socket) => this.#admit(socket))
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

  #admit(socket: Socket): void {
    const place = this.#doorman.take(socket.remoteAddress ?? '')
    if (place === null) this.#turnedAway.add(socket)
    else socket.once('close', () => place[Symbol.dispose]())
  }

  #serve(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const { requestsMax } = this.#core.limits
    const { refused, ...found } = this.#find(request, ({ open, priority }) =>
      admits({ all: this.#exchanges.size, ofRoute: open }, requestsMax, priority),
    )
    const onOver = (exchange: Exchange): void => {
      this.#exchanges.delete(exchange)
      this.#checkQuiet()
    }
    const exchange = new Exchange(this.#core, { request, response, expectsContinue, onOver, ...found })
    this.#exchanges.add(exchange)
    exchange.start(refused)
  }

  #tunnel(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { refused, ...found } = this.#find(request, () => this.#tunnels.size < this.#core.limits.tunnelsMax)
    const onOver = (tunnel: Tunnel): void => {
      this.#tunnels.delete(tunnel)
      this.#checkQuiet()
    }
    const tunnel = new Tunnel(this.#core, { request, socket, head, onOver, ...found })
    this.#tunnels.add(tunnel)
    tunnel.start(refused)
  }

  /** The route of a request and what goes on to its instance, or why it is refused. */
  #find(request: IncomingMessage, admitted: (state: RouteState) => boolean): Found {
    const head = readHead(request.rawHeaders)
    const ids = requestIds(this.#core.ids, head.requestId, head.traceparent)
    const host = head.host === null ? null : hostOf(head.host)
    const target = originForm(request.url ?? '', head.host)
    const path = target === null ? null : routablePath(target)
    const turnedAway = this.#turnedAway.has(request.socket)
    const found = { requestId: ids.requestId, traceId: ids.traceId, key: '', setCookie: null, closes: turnedAway }
    if (host === null || head.host === null || target === null || path === null) {
      return { state: this.#table.nowhere, target: '/', headers: [], ...found, refused: 'bad-request' }
    }
    const state = this.#table.match(host, path)
    if (state === undefined) {
      return { state: this.#table.nowhere, target, headers: [], ...found, refused: 'no-route' }
    }
    const headers = head.forward
    if (ids.continued && head.tracestate !== null) headers.push('tracestate', head.tracestate)
    addGatewayHeaders(headers, { address: request.socket.remoteAddress ?? '', proto: 'http', host: head.host }, ids)
    const sticky = this.#stickiness(state, headers, 'encrypted' in request.socket)
    return {
      state,
      target,
      headers,
      ...found,
      ...sticky,
      refused: turnedAway || !admitted(state) ? 'overloaded' : null,
    }
  }

  /** What decides about the group and the instance: the client's own key on a sticky route, else a new one each time. */
  #stickiness({ route, keyed }: RouteState, headers: string[], secure: boolean): Pick<Found, 'key' | 'setCookie'> {
    if (!keyed) return { key: '', setCookie: null }
    const known = route.sticky === undefined ? null : takeStickyKey(headers)
    if (known !== null) return { key: known, setCookie: null }
    const key = this.#core.ids.hex(stickyKeyLength)
    return { key, setCookie: route.sticky === undefined ? null : stickySetCookie(key, route.sticky, secure) }
  }

  #clientError(error: Error, socket: Duplex): void {
    const code = systemCodeOf(error)
    const answering = [...this.#exchanges].filter((exchange) => exchange.socket === socket)
    const [only, ...more] = answering
    // Never into an answer that is under way: the client would take it for a part of that.
    if (code === 'ECONNRESET' || !socket.writable || more.length > 0) socket.destroy()
    else if (only !== undefined) only.garbled()
    else if (code === 'HPE_HEADER_OVERFLOW') this.#refuseRaw('header-too-large', socket)
    else this.#refuseRaw(code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'client-timed-out' : 'bad-request', socket)
  }

  /** Answers on a connection that node:http has given up. */
  #refuseRaw(cause: Cause, socket: Duplex): void {
    const { metrics } = this.#table.nowhere
    const requestId = this.#core.ids.hex(32)
    const rendered = renderProblem(this.#table.nowhere.problem(cause, { requestId, traceId: requestId }), undefined)
    metrics.requests[outcomeOf(rendered.status)] += 1
    countRejected(metrics, cause)
    metrics.bytesOut += Buffer.byteLength(rendered.body)
    socket.on('error', () => undefined)
    const timer = this.#core.clock.after(this.#core.limits.lingerMs, () => socket.destroy())
    socket.once('close', () => timer[Symbol.dispose]())
    answerRaw(socket, rendered)
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
