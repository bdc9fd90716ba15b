/**
 * One request through the gateway: placed at an instance, sent, answered, counted. Invariants: the client gets exactly one
 * answer or a cut connection, never two answers; an instance's place is given back exactly once; a request is sent a
 * second time only when the first time cannot have had an effect.
 */
import type { Dispatcher } from 'undici'
import { messageOf } from '../base/index.ts'
import { Attempt } from './attempt.ts'
import type { ClientConnection, ClientRequest, ClientResponse } from './client-side.ts'
import { negotiate } from './compress.ts'
import type { Encoding } from './compress.ts'
import { Compressor } from './compressor.ts'
import { causeOf } from './core.ts'
import type { Core } from './core.ts'
import { Hold } from './hold.ts'
import { isGrpc, renderGrpcProblem } from './grpc.ts'
import type { Patience } from './grpc.ts'
import { headerPairs, readResponseHead } from './headers.ts'
import { observe } from './histogram.ts'
import { countRejected, outcomeOf } from './metrics.ts'
import { renderProblem } from './problem.ts'
import type { Cause, RenderedProblem } from './problem.ts'
import { repeatable } from './retry.ts'
import type { RouteState } from './route-state.ts'
import { mayCarryCookie } from './sticky.ts'
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
  readonly traceId: string
  /** Decides about the group, and on a sticky route about the instance. */
  readonly key: string
  /** A cookie that the client is to be given. */
  readonly setCookie: string | null
  /** The connection takes no further request. */
  readonly closes: boolean
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
  #attempt: Attempt | null = null
  #avoid: Upstream | null = null
  #attempts = 0
  #sent = false
  #answered = false
  #contentLength = -1
  #received = 0
  #trailers = false
  #held: Buffer | null = null
  #compressor: Compressor | null = null
  #timer: Disposable | null = null
  #waitUntilMs = -1
  readonly #hold: Hold
  #broken = false
  #wake: (() => void) | null = null

  constructor(core: Core, routed: RoutedRequest) {
    this.#core = core
    this.#routed = routed
    this.#startedMs = core.clock.monotonicMs()
    this.#hold = new Hold(core, routed.state)
    const { request, response, state, expectsContinue, patience } = routed
    const idleMs = patience?.bodyIdleMs ?? core.limits.bodyIdleMs
    // The streams of a call may be as thin as they like.
    const bytesMin = patience === null ? core.limits.bodyBytesMin : 1
    this.#upload = !hasBody(request)
      ? null
      : new Upload(request, { bytesMax: state.bodyBytesMax, bytesMin, idleMs }, core, {
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
    state.open += 1
    state.retries.request(this.#startedMs)
    response.once('close', () => this.#closed())
    if (typeof instead === 'string') return this.#fail(instead)
    if (instead !== null) return this.#answer(instead)
    if (Number(request.headers['content-length'] ?? 0) > state.bodyBytesMax) return this.#fail('too-large')
    this.#place()
  }

  /** What the client sends cannot be read on. Answers that, unless an answer has begun; the connection ends with it. */
  garbled(): void {
    this.#broken = true
    this.#fail('bad-request')
  }

  cut(): void {
    this.#fail('reset', 'The instance was stopped before it had answered.')
  }

  #place(): void {
    const { state, key } = this.#routed
    if (state.upstreams.length === 0) {
      const fail = (): void => this.#fail(state.absence, state.route.unavailable)
      if (!this.#hold.wait(() => this.#place(), fail)) fail()
      return
    }
    const { clock } = this.#core
    const upstream = state.pick({ key, avoid: this.#avoid })
    if (upstream !== null) return this.#send(upstream)
    const nowMs = clock.monotonicMs()
    if (this.#waitUntilMs < 0) this.#waitUntilMs = nowMs + state.queueMs
    // What was held comes all at once, and was counted already.
    const isFull = state.waiting.size >= state.queueMax && !this.#hold.hasWaited
    if (isFull || nowMs >= this.#waitUntilMs) return this.#fail('overloaded')
    const wake = (): void => {
      this.#stopWaiting()
      this.#place()
    }
    this.#wake = wake
    state.waiting.add(wake)
    this.#timer = clock.after(this.#waitUntilMs - nowMs, () => this.#fail('overloaded'))
  }

  #stopWaiting(): void {
    this.#hold.stop()
    if (this.#wake !== null) this.#routed.state.waiting.delete(this.#wake)
    this.#wake = null
    this.#timer?.[Symbol.dispose]()
    this.#timer = null
  }

  #send(upstream: Upstream): void {
    const { request, state, target, headers } = this.#routed
    this.#upstream = upstream
    this.#attempts += 1
    this.#sent = false
    this.#attempt = new Attempt(this.#core, state, upstream)
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
    this.#attempt?.answered(status)
    const raw = controller.rawHeaders
    const head = readResponseHead(Array.isArray(raw) ? raw : [], this.#routed.requestId)
    const { request, response } = this.#routed
    this.#contentLength = head.contentLength
    // Only a chunked body can have trailers.
    const chunked = head.contentLength === -1 && request.httpVersion !== '1.0' && request.method !== 'HEAD'
    this.#trailers = chunked && status !== 204 && status !== 304
    const encoding = this.#encodingFor(status, head.headers)
    if (this.#trailers && head.trailer !== null) head.headers.push('trailer', head.trailer)
    head.headers.push(...this.#routed.answerHeaders)
    if (this.#closes) head.headers.push('connection', 'close')
    const { setCookie } = this.#routed
    if (setCookie !== null && mayCarryCookie(head.headers)) head.headers.push('set-cookie', setCookie)
    if (statusText === undefined || statusText === '') response.writeHead(status, head.headers)
    else response.writeHead(status, statusText, head.headers)
    this.#answered = true
    if (encoding !== null && request.method !== 'HEAD') this.#compress(encoding)
    // When the body comes with the head they leave together; when it does not, the head leaves alone.
    process.nextTick(flushHead, this)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#upstream === null) return
    this.#received += chunk.length
    if (this.#compressor === null) this.#routed.state.metrics.bytesOut += chunk.length
    if (this.#received === this.#contentLength) {
      this.#held = chunk
      return
    }
    const { response } = this.#routed
    // Pieces can still come after a pause: the wait for the client is one.
    if ((this.#compressor ?? response).write(chunk) || this.#timer !== null) return
    controller.pause()
    this.#timer = this.#core.clock.after(this.#core.limits.stallMs, () => response.destroy())
    const onDrained = (): void => {
      this.#stopWaiting()
      controller.resume()
    }
    if (this.#compressor === null) response.once('drain', onDrained)
    else this.#compressor.onceDrained(onDrained)
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#upstream === null) return
    const { response } = this.#routed
    this.#release(true)
    const trailers = controller.rawTrailers
    if (this.#trailers && Array.isArray(trailers) && trailers.length > 0) response.addTrailers(headerPairs(trailers))
    if (this.#compressor !== null) this.#compressor.end(this.#held)
    else if (this.#held === null) response.end()
    else response.end(this.#held)
    this.#watchReader()
    if (!this.#neverContinued()) this.#upload?.linger()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const upstream = this.#upstream
    if (upstream === null) return
    const cause = causeOf(error, this.#sent)
    if (cause !== 'bad-request') this.#attempt?.failed()
    this.#release(false)
    if (!this.#sent && cause !== 'bad-request') upstream.rest()
    if (this.#mayRepeat(cause, upstream)) {
      this.#avoid = upstream
      return this.#place()
    }
    this.#fail(cause, cause === 'bad-response' ? messageOf(error) : undefined)
  }

  /** How the answer is to be encoded; its headers are changed to fit. */
  #encodingFor(status: number, headers: string[]): Encoding | null {
    const { request, state } = this.#routed
    if (state.route.compress === false) return null
    const answer = {
      method: request.method ?? '',
      acceptEncoding: request.headers['accept-encoding'],
      ifNoneMatch: request.headers['if-none-match'],
      status,
      contentLength: this.#contentLength,
    }
    return negotiate(answer, headers, this.#core.compressions < this.#core.limits.compressionsMax)
  }

  #compress(encoding: Encoding): void {
    const { response, state } = this.#routed
    const core = this.#core
    core.compressions += 1
    this.#compressor = new Compressor(encoding, {
      clock: core.clock,
      flushMs: core.limits.flushMs,
      streamed: this.#contentLength === -1,
      out: response,
      onBytes: (bytes) => (state.metrics.bytesOut += bytes),
      onEnd: () => response.end(),
      onError: () => response.destroy(),
      onFree: () => (core.compressions -= 1),
    })
  }

  /** All has been written: cuts off a client that takes nothing of it for `stallMs`. */
  #watchReader(): void {
    const { response } = this.#routed
    const left = response.writableLength
    // Most often the system has taken it already.
    if (left === 0 && this.#compressor === null) return
    this.#timer = this.#core.clock.after(this.#core.limits.stallMs, () => {
      if (response.writableLength >= left && left > 0) response.destroy()
      else this.#watchReader()
    })
  }

  /** Sends the head of the response when no body has come with it. */
  flushHead(): void {
    const { response } = this.#routed
    if (this.#received === 0 && !response.writableEnded && !response.destroyed) response.flushHeaders()
  }

  #mayRepeat(cause: Cause, failed: Upstream): boolean {
    const { request, response, state } = this.#routed
    const may = repeatable({
      cause,
      method: request.method ?? '',
      attempts: this.#attempts,
      sent: this.#sent,
      answered: this.#answered || response.destroyed,
      body: this.#upload === null ? 'none' : this.#upload.started ? 'taken' : 'untouched',
      others: state.upstreams.some((other) => other !== failed),
    })
    if (may === 'no' || (may === 'budget' && !state.retries.spend(this.#core.clock.monotonicMs()))) return false
    state.metrics.retries += 1
    return true
  }

  /** Ends it with an answer of the gateway's own, or by cutting the connection when the answer has begun. */
  #fail(cause: Cause, detail?: string): void {
    this.#stopWaiting()
    if (cause === 'timed-out') this.#attempt?.failed()
    this.#release(false)
    const { request, response, state } = this.#routed
    if (response.writableEnded || response.destroyed) return
    if (this.#answered) {
      response.destroy()
      return
    }
    countRejected(state.metrics, cause)
    const problem = state.problem(cause, this.#routed, detail)
    this.#answer(isGrpc(request.headers) ? renderGrpcProblem(problem) : renderProblem(problem, request.headers.accept))
  }

  /** Answers it without an instance. */
  #answer(rendered: RenderedProblem): void {
    const { request, response, state, answerHeaders } = this.#routed
    this.#answered = true
    rendered.headers.push(...answerHeaders)
    if (this.#closes) rendered.headers.push('connection', 'close')
    if (request.method !== 'HEAD') state.metrics.bytesOut += Buffer.byteLength(rendered.body)
    response.writeHead(rendered.status, rendered.reason, rendered.headers)
    response.end(rendered.body)
    this.#watchReader()
    if (!this.#neverContinued()) this.#upload?.linger()
  }

  get #closes(): boolean {
    return this.#core.closing || this.#broken || this.#routed.closes || this.#neverContinued()
  }

  /** The client still waits for leave to send its body, and will not get it: nothing of it may be read as a request. */
  #neverContinued(): boolean {
    return this.#routed.expectsContinue && this.#upload?.started === false
  }

  #release(reusable: boolean): void {
    this.#stopWaiting()
    const upstream = this.#upstream
    const client = this.#client
    this.#attempt?.end()
    this.#upstream = null
    this.#client = null
    this.#attempt = null
    if (upstream !== null && client !== null) upstream.give(this, client, reusable)
  }

  /** The response is over: sent whole, or the client has gone. */
  #closed(): void {
    const { response, state } = this.#routed
    this.#release(false)
    this.#compressor?.destroy()
    if (!response.writableFinished) this.#upload?.stream.destroy()
    const { metrics } = state
    metrics.inFlight -= 1
    state.open -= 1
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
