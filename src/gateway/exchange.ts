/**
 * One request through the gateway: placed at an instance, sent, answered, counted. Invariants: the client gets exactly one
 * answer or a cut connection, never two answers; an instance's place is given back exactly once; a request is sent a
 * second time only when the first time cannot have had an effect.
 */
import type { Dispatcher } from 'undici'
import { messageOf } from '../base/index.ts'
import type { ClientConnection, ClientRequest, ClientResponse } from './client-side.ts'
import { causeOf } from './core.ts'
import type { Core } from './core.ts'
import { isGrpc, renderGrpcProblem } from './grpc.ts'
import type { Patience } from './grpc.ts'
import { headerPairs, readResponseHead } from './headers.ts'
import { observe } from './histogram.ts'
import { outcomeOf } from './metrics.ts'
import { renderProblem } from './problem.ts'
import type { Cause, RenderedProblem } from './problem.ts'
import { pickLeast } from './route-state.ts'
import type { RouteState } from './route-state.ts'
import { Upload } from './upload.ts'
import type { Connection, Flight, Upstream } from './upstream.ts'

/** A request that found its route. */
export interface RoutedRequest {
  readonly request: ClientRequest
  readonly response: ClientResponse
  readonly state: RouteState
  /** Path and query, as they go to the instance. */
  readonly target: string
  readonly headers: string[]
  readonly requestId: string
  /** What the gateway adds to the headers of the answer. */
  readonly answerHeaders: readonly string[]
  /** How long the client is content to wait; null: as the route says. */
  readonly patience: Patience | null
  /** The client waits for leave to send its body. */
  readonly expectsContinue: boolean
  /** Its response is over, whole or not. */
  readonly onOver: (exchange: Exchange) => void
}

export class Exchange implements Flight, Dispatcher.DispatchHandler {
  readonly #core: Core
  readonly #routed: RoutedRequest
  readonly #startedMs: number
  readonly #upload: Upload | null
  #upstream: Upstream | null = null
  #client: Connection | null = null
  #avoid: Upstream | null = null
  #attempts = 0
  #sent = false
  #answered = false
  #contentLength = -1
  #received = 0
  #trailers = false
  #held: Buffer | null = null
  #timer: Disposable | null = null
  #wake: (() => void) | null = null

  constructor(core: Core, routed: RoutedRequest) {
    this.#core = core
    this.#routed = routed
    this.#startedMs = core.clock.monotonicMs()
    const { request, response, state, expectsContinue, patience } = routed
    const idleMs = patience?.bodyIdleMs ?? core.limits.bodyIdleMs
    this.#upload = !hasBody(request)
      ? null
      : new Upload(request, { bytesMax: state.bodyBytesMax, idleMs }, core, {
          onStart: () => {
            if (expectsContinue) response.writeContinue()
          },
          onStalled: () => this.#fail('client-timed-out'),
          onTooLarge: () => this.#fail('too-large'),
        })
  }

  /** The connection it came in by. */
  get socket(): ClientConnection {
    return this.#routed.request.socket
  }

  /** Sends it on its way. `instead` answers it at once. */
  start(instead: Cause | RenderedProblem | null): void {
    const { request, response, state } = this.#routed
    state.metrics.inFlight += 1
    response.once('close', () => this.#closed())
    if (typeof instead === 'string') return this.#fail(instead)
    if (instead !== null) return this.#answer(instead)
    if (Number(request.headers['content-length'] ?? 0) > state.bodyBytesMax) return this.#fail('too-large')
    this.#place()
  }

  cut(): void {
    this.#fail('reset', 'The instance was stopped before it had answered.')
  }

  #place(): void {
    const { state } = this.#routed
    if (state.upstreams.length === 0) return this.#fail(state.absence, state.route.unavailable)
    const { clock, ids } = this.#core
    const upstream = pickLeast(state.upstreams, state.instanceRequestsMax, this.#avoid, clock.monotonicMs(), ids)
    if (upstream !== null) return this.#send(upstream)
    if (state.waiting.size >= state.queueMax) return this.#fail('overloaded')
    const wake = (): void => {
      this.#stopWaiting()
      this.#place()
    }
    this.#wake = wake
    state.waiting.add(wake)
    this.#timer = clock.after(state.queueMs, () => this.#fail('overloaded'))
  }

  #stopWaiting(): void {
    if (this.#wake !== null) this.#routed.state.waiting.delete(this.#wake)
    this.#wake = null
    this.#timer?.[Symbol.dispose]()
    this.#timer = null
  }

  #send(upstream: Upstream): void {
    const { request, target, headers } = this.#routed
    this.#upstream = upstream
    this.#attempts += 1
    this.#sent = false
    this.#client = upstream.take(this)
    this.#client.dispatch(
      {
        path: target,
        method: request.method ?? 'GET',
        headers,
        body: this.#upload?.stream ?? null,
        reset: false,
        // While a body is being sent it is the client who may be slow: the wait for an answer starts after it.
        headersTimeout: this.#upload === null ? this.#responseMs : 0,
        bodyTimeout: this.#core.limits.streamIdleMs,
      },
      this,
    )
  }

  onRequestStart(): void {
    this.#sent = true
  }

  onRequestSent(): void {
    if (this.#upload === null || this.#answered || this.#upstream === null) return
    this.#timer = this.#core.clock.after(this.#responseMs, () => this.#fail('timed-out'))
  }

  get #responseMs(): number {
    return this.#routed.patience?.responseMs ?? this.#routed.state.responseMs
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    _headers: object,
    statusText: string | undefined,
  ): void {
    if (this.#upstream === null || status < 200) return
    this.#stopWaiting()
    const raw = controller.rawHeaders
    const head = readResponseHead(Array.isArray(raw) ? raw : [], this.#routed.requestId)
    const { request, response } = this.#routed
    this.#contentLength = head.contentLength
    // Only a chunked body can have trailers.
    const chunked = head.contentLength === -1 && request.httpVersion !== '1.0' && request.method !== 'HEAD'
    this.#trailers = chunked && status !== 204 && status !== 304
    if (this.#trailers && head.trailer !== null) head.headers.push('trailer', head.trailer)
    head.headers.push(...this.#routed.answerHeaders)
    if (this.#core.closing || this.#neverContinued()) head.headers.push('connection', 'close')
    if (statusText === undefined || statusText === '') response.writeHead(status, head.headers)
    else response.writeHead(status, statusText, head.headers)
    this.#answered = true
    // When the body comes with the head they leave together; when it does not, the head leaves alone.
    process.nextTick(flushHead, this)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#upstream === null) return
    this.#received += chunk.length
    this.#routed.state.metrics.bytesOut += chunk.length
    if (this.#received === this.#contentLength) {
      this.#held = chunk
      return
    }
    const { response } = this.#routed
    // Pieces can still come after a pause: the wait for the client is one.
    if (response.write(chunk) || this.#timer !== null) return
    controller.pause()
    this.#timer = this.#core.clock.after(this.#core.limits.stallMs, () => response.destroy())
    response.once('drain', () => {
      this.#stopWaiting()
      controller.resume()
    })
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#upstream === null) return
    const { response } = this.#routed
    this.#release(true)
    const trailers = controller.rawTrailers
    if (this.#trailers && Array.isArray(trailers) && trailers.length > 0) response.addTrailers(headerPairs(trailers))
    if (this.#held === null) response.end()
    else response.end(this.#held)
    if (!this.#neverContinued()) this.#upload?.linger()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const upstream = this.#upstream
    if (upstream === null) return
    const cause = causeOf(error, this.#sent)
    this.#release(false)
    if (!this.#sent && cause !== 'bad-request') upstream.rest()
    if (this.#mayRepeat(cause, upstream)) {
      this.#routed.state.metrics.retries += 1
      this.#avoid = upstream
      return this.#place()
    }
    this.#fail(cause, cause === 'bad-response' ? messageOf(error) : undefined)
  }

  /** Sends the head of the response when no body has come with it. */
  flushHead(): void {
    const { response } = this.#routed
    if (this.#received === 0 && !response.writableEnded && !response.destroyed) response.flushHeaders()
  }

  /** Sending it again is safe when it was never sent, or when it asks for nothing but an answer and none has begun. */
  #mayRepeat(cause: Cause, failed: Upstream): boolean {
    if (this.#attempts > 1 || this.#answered || this.#routed.response.destroyed || cause === 'bad-request') return false
    const { request, state } = this.#routed
    if (!this.#sent) return this.#upload?.started !== true && state.upstreams.some((other) => other !== failed)
    const { method } = request
    return cause === 'reset' && this.#upload === null && (method === 'GET' || method === 'HEAD')
  }

  /** Ends it with an answer of the gateway's own, or by cutting the connection when the answer has begun. */
  #fail(cause: Cause, detail?: string): void {
    this.#stopWaiting()
    this.#release(false)
    const { request, response, state, requestId } = this.#routed
    if (response.writableEnded || response.destroyed) return
    if (this.#answered) {
      response.destroy()
      return
    }
    state.metrics.rejected += 1
    const { app, part } = state.route
    const problem = { cause, requestId, app, part, ...(detail === undefined ? {} : { detail }) }
    const rendered = isGrpc(request.headers)
      ? renderGrpcProblem(problem)
      : renderProblem(problem, request.headers.accept)
    this.#answer(rendered)
  }

  /** Answers it without an instance. */
  #answer(rendered: RenderedProblem): void {
    const { request, response, state, answerHeaders } = this.#routed
    this.#answered = true
    rendered.headers.push(...answerHeaders)
    if (this.#core.closing || this.#neverContinued()) rendered.headers.push('connection', 'close')
    if (request.method !== 'HEAD') state.metrics.bytesOut += Buffer.byteLength(rendered.body)
    response.writeHead(rendered.status, rendered.reason, rendered.headers)
    response.end(rendered.body)
    if (!this.#neverContinued()) this.#upload?.linger()
  }

  /** The client still waits for leave to send its body, and will not get it: nothing of it may be read as a request. */
  #neverContinued(): boolean {
    return this.#routed.expectsContinue && this.#upload?.started === false
  }

  #release(reusable: boolean): void {
    this.#stopWaiting()
    const upstream = this.#upstream
    const client = this.#client
    this.#upstream = null
    this.#client = null
    if (upstream !== null && client !== null) upstream.give(this, client, reusable)
  }

  /** The response is over: sent whole, or the client has gone. */
  #closed(): void {
    const { response, state } = this.#routed
    this.#release(false)
    if (!response.writableFinished) this.#upload?.stream.destroy()
    const { metrics } = state
    metrics.inFlight -= 1
    metrics.bytesIn += this.#upload?.bytes ?? 0
    metrics.requests[response.writableFinished ? outcomeOf(response.statusCode) : 'aborted'] += 1
    observe(metrics.latency, this.#core.clock.monotonicMs() - this.#startedMs)
    this.#routed.onOver(this)
  }
}

/** Whether a request comes with a body. */
function hasBody(request: ClientRequest): boolean {
  const { headers } = request
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

function flushHead(exchange: Exchange): void {
  exchange.flushHead()
}
