/**
 * The way in to apps: node:http, node:http2 and node:tls in front, kept-alive connections to instances behind. It is given
 * whole route tables and never routes a new request by an older one than it has acknowledged; an instance that has left the table is
 * reported drained when nothing is in flight to it any more. It keeps serving from the table it has, whoever else is down.
 */
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { assert, systemClock, systemCodeOf, systemRandom } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { Endpoint } from '../network/index.ts'
import type { RouteTable, TrafficReport } from '../protocol/index.ts'
import type { ClientConnection, ClientRequest, ClientResponse } from './client-side.ts'
import type { Core } from './core.ts'
import { Doorman } from './doorman.ts'
import { Doors } from './doors.ts'
import type { BoundAddress, EngineCapability, EngineFeature, GatewayEngine } from './engine.ts'
import { Exchange } from './exchange.ts'
import { grpcPatience } from './grpc.ts'
import { addGatewayHeaders, headerBytes, readHead } from './headers.ts'
import { IdSource, requestIds } from './ids.ts'
import { defaultLimits } from './limits.ts'
import type { GatewayLimits } from './limits.ts'
import { listenError } from './listen-error.ts'
import { countRejected, outcomeOf } from './metrics.ts'
import type { RouteMetrics, TargetMetrics } from './metrics.ts'
import { challengeAnswer, hstsHeaders, redirectAnswer } from './own-answers.ts'
import { Passage } from './passage.ts'
import { renderProblem } from './problem.ts'
import type { Cause, RenderedProblem } from './problem.ts'
import type { RouteState } from './route-state.ts'
import { hostOf, originForm, routablePath } from './routes.ts'
import type { CertificateFinder } from './secure.ts'
import { admits } from './shed.ts'
import { stickyKeyLength, stickySetCookie, takeStickyKey } from './sticky.ts'
import { StreamPorts } from './stream-ports.ts'
import { LiveTable } from './table.ts'
import type { Acknowledgement } from './table.ts'
import { TrafficMeter } from './traffic.ts'
import { Tunnel, answerRaw } from './tunnel.ts'
import type { TunnelFlight } from './upstream.ts'

/** Of the connections above the limit, how many at least are told so; the rest is dropped. */
const toldMin = 16

export interface GatewayOptions {
  /** Opens a stream to an instance; a network driver's `connect`. */
  readonly connect: (endpoint: Endpoint) => Socket
  /** An instance that has left the table has nothing in flight any more: it may stop. */
  readonly onDrained?: (instance: string) => void
  /** With it the gateway speaks TLS, and answers ACME's challenges. */
  readonly certificates?: CertificateFinder
  /** The address of ports that routes for plain TCP open. Default 127.0.0.1. */
  readonly streamHost?: string
  /** What somebody should know, one sentence: a route's port is taken. */
  readonly onNotice?: (text: string) => void
  readonly limits?: Partial<GatewayLimits>
  readonly clock?: Clock
  readonly random?: Random
}

export interface ListenOptions {
  /** A socket that listens already, and outlives this gateway. */
  readonly fd?: number
  /** Whether TLS is spoken here, beside plain HTTP. Default: when the gateway has certificates. */
  readonly tls?: boolean
}

interface Found {
  readonly state: RouteState
  readonly target: string
  readonly headers: string[]
  readonly requestId: string
  readonly answerHeaders: readonly string[]
  readonly traceId: string
  readonly key: string
  readonly setCookie: string | null
  readonly closes: boolean
  /** What answers it in place of an instance. */
  readonly instead: Cause | RenderedProblem | null
}

/** Makes a gateway that listens nowhere yet and has no routes. */
export function createGateway(options: GatewayOptions): Gateway {
  return new Gateway(options)
}

const native: EngineCapability = { level: 'native', note: '' }

export class Gateway implements GatewayEngine {
  readonly capabilities: Readonly<Record<EngineFeature, EngineCapability>> = {
    'latency-histograms': native,
    'rejections-by-cause': native,
    pages: native,
    breakers: native,
    'safe-retries': native,
    priorities: native,
    groups: native,
    sticky: native,
    compression: native,
    'body-limit': native,
    'websocket-goodbye': native,
    tls: native,
    streams: native,
    h2c: native,
    hold: native,
  }
  readonly #core: Core
  readonly #table: LiveTable
  readonly #certificates: CertificateFinder | null
  readonly #doors: Doors
  readonly #streamPorts: StreamPorts
  readonly #meter = new TrafficMeter()
  readonly #doorman: Doorman
  /** Connections that came when there was no place: their first request is told so. */
  readonly #turnedAway = new WeakSet<object>()
  readonly #servers = new Set<Server>()
  readonly #exchanges = new Set<Exchange>()
  readonly #tunnels = new Set<TunnelFlight>()
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
    this.#certificates = options.certificates ?? null
    this.#doors = new Doors(this.#core, {
      certificates: this.#certificates,
      serves: (host) => this.#table.serves(host),
      passage: (host) => {
        const state = this.#table.matchName(host)
        return state === undefined ? null : (socket, begun) => this.#pass(socket, begun, state)
      },
      admit: (socket) => this.#admit(socket),
      onHttp2: (request, response, connection) => {
        const expectsContinue = request.headers.expect?.toLowerCase() === '100-continue'
        this.#serve(request, response, expectsContinue, connection)
      },
      onSilent: (socket) => this.#refuseRaw('client-timed-out', socket),
      onNotice: (text) => options.onNotice?.(text),
    })
    this.#streamPorts = new StreamPorts(this.#core, {
      host: options.streamHost ?? '127.0.0.1',
      onConnection: (port, socket) => {
        const state = this.#table.matchPort(port)
        if (state === undefined) socket.destroy()
        else this.#pass(socket, Buffer.alloc(0), state)
      },
      onNotice: (text) => options.onNotice?.(text),
    })
  }

  /**
   * Starts to listen; port 0 chooses a free one. May be called for several addresses. With `fd` it accepts from a socket
   * that listens there already, which outlives this gateway. Throws `gateway.port-taken` (with the holder, where the
   * machine tells) and `gateway.port-refused`.
   */
  async listen(port: number, host = '127.0.0.1', options: ListenOptions = {}): Promise<BoundAddress> {
    const tls = options.tls ?? this.#certificates !== null
    assert(!tls || this.#certificates !== null, 'a gateway that speaks TLS has certificates')
    const server = this.#createServer()
    this.#doors.guard(server, tls)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    server.once('error', reject)
    server.listen(options.fd === undefined ? { port, host } : { fd: options.fd }, resolve)
    try {
      await promise
    } catch (error) {
      throw await listenError(error, host, port)
    }
    this.#servers.add(server)
    const address = server.address()
    const bound = isAddressInfo(address) ? { host: address.address, port: address.port } : { host, port }
    if (tls) this.#doors.addTlsPort(bound.port)
    return bound
  }

  /**
   * Routes by this table from now on: when this returns, no request that has not found its instance yet will be routed by
   * an older one. A table older than the one in force changes nothing; the answer always names the revision in force.
   * Throws `gateway.duplicate-route`, and then keeps the table it has.
   */
  apply(table: RouteTable): Acknowledgement {
    this.#core.staleSinceMs = null
    const answer = this.#table.apply(table)
    if (!this.#core.closing) this.#streamPorts.set(this.#table.ports)
    this.#certificates?.want(this.#table.hosts)
    return answer
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
    this.#table.wakeHeld()
    const closed = [...this.#servers].map((server) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      server.close(() => resolve())
      server.closeIdleConnections()
      return promise
    })
    this.#streamPorts.set(new Set())
    this.#doors.goAway()
    for (const tunnel of this.#tunnels) tunnel.goAway()
    await this.#quiet()
    for (const tunnel of this.#tunnels) tunnel.cut()
    this.#doors.cut()
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

  /** Counts a new connection; false when there is no place for it. */
  #admit(socket: Socket): boolean {
    const place = this.#doorman.take(socket.remoteAddress ?? '')
    if (place === null) this.#turnedAway.add(socket)
    else socket.once('close', () => place[Symbol.dispose]())
    return place !== null
  }

  #serve(
    request: ClientRequest,
    response: ClientResponse,
    expectsContinue: boolean,
    connection: ClientConnection = request.socket,
  ): void {
    const { requestsMax } = this.#core.limits
    const { instead, ...found } = this.#find(request, connection, ({ open, priority }) =>
      admits({ all: this.#exchanges.size, ofRoute: open }, requestsMax, priority),
    )
    const patience = grpcPatience(request.headers, this.#core.limits)
    const onOver = (exchange: Exchange): void => {
      this.#exchanges.delete(exchange)
      this.#checkQuiet()
    }
    const exchange = new Exchange(this.#core, { request, response, expectsContinue, patience, onOver, ...found })
    this.#exchanges.add(exchange)
    exchange.start(instead)
  }

  #tunnel(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const admitted = (): boolean => this.#tunnels.size < this.#core.limits.tunnelsMax
    const { instead, ...found } = this.#find(request, request.socket, admitted)
    const onOver = (tunnel: Tunnel): void => {
      this.#tunnels.delete(tunnel)
      this.#checkQuiet()
    }
    const tunnel = new Tunnel(this.#core, { request, socket, head, onOver, ...found })
    this.#tunnels.add(tunnel)
    tunnel.start(instead)
  }

  #pass(socket: Socket, begun: Buffer, state: RouteState): void {
    const full = this.#core.closing || this.#tunnels.size >= this.#core.limits.tunnelsMax
    const onOver = (passage: Passage): void => {
      this.#tunnels.delete(passage)
      this.#checkQuiet()
    }
    const passage = new Passage(this.#core, { socket, begun, state, onOver })
    this.#tunnels.add(passage)
    passage.start(full)
  }

  /** The route of a request and what goes on to its instance, or why it is refused. */
  #find(request: ClientRequest, connection: ClientConnection, admitted: (state: RouteState) => boolean): Found {
    const head = readHead(request.rawHeaders)
    const ids = requestIds(this.#core.ids, head.requestId, head.traceparent)
    const host = head.host === null ? null : hostOf(head.host)
    const target = originForm(request.url ?? '', head.host)
    const path = target === null ? null : routablePath(target)
    const { requestId, traceId } = ids
    const turnedAway = this.#turnedAway.has(connection)
    const common = { requestId, traceId, answerHeaders: [], key: '', setCookie: null, closes: turnedAway }
    const nowhere = { ...common, state: this.#table.nowhere, target: '/', headers: [] }
    if (request.httpVersion === '2.0' && headerBytes(request.rawHeaders) > this.#core.limits.headerBytesMax) {
      return { ...nowhere, instead: 'header-too-large' }
    }
    if (request.method === 'CONNECT') return { ...nowhere, instead: 'not-allowed' }
    if (host === null || head.host === null || target === null || path === null) {
      return { ...nowhere, instead: 'bad-request' }
    }
    const name = this.#doors.nameOf(connection)
    const secure = name !== undefined
    if (secure && !this.#doors.mayCarry(name, host)) return { ...nowhere, instead: 'misdirected' }
    const asked = { host, path, target, secure, requestId }
    const challenge = challengeAnswer(asked, this.#certificates)
    if (challenge !== null) return { ...nowhere, instead: challenge }
    const state = this.#table.match(host, path)
    if (state === undefined) return { ...nowhere, target, instead: 'no-route' }
    const headers = head.forward
    if (ids.continued && head.tracestate !== null) headers.push('tracestate', head.tracestate)
    const { remoteAddress = '', localPort } = request.socket
    const facts = { address: remoteAddress, proto: secure ? 'https' : 'http', host: head.host } as const
    addGatewayHeaders(headers, facts, ids)
    const found = { ...common, state, target, headers, answerHeaders: hstsHeaders(state.route, secure) }
    if (turnedAway || !admitted(state)) return { ...found, instead: 'overloaded' }
    const redirect = redirectAnswer(asked, state.route, this.#doors.tlsPortFor(localPort))
    if (redirect !== null) return { ...found, instead: redirect }
    return { ...found, ...this.#stickiness(state, headers, secure), instead: null }
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
