/**
 * One WebSocket through the gateway: the handshake goes to an instance as any request, then the bytes pass both ways with
 * backpressure. It can be told to go: a Close frame is put between two frames in each direction, never into one.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Client, Dispatcher } from 'undici'
import { Attempt } from './attempt.ts'
import { causeOf } from './core.ts'
import type { Core } from './core.ts'
import { readResponseHead } from './headers.ts'
import { observe } from './histogram.ts'
import { countRejected, outcomeOf } from './metrics.ts'
import type { Outcome, RouteMetrics } from './metrics.ts'
import { renderProblem } from './problem.ts'
import { Hold } from './hold.ts'
import type { Cause, RenderedProblem } from './problem.ts'
import type { RouteState } from './route-state.ts'
import type { TunnelFlight, Upstream } from './upstream.ts'
import { FrameTracker, closeFrame } from './websocket.ts'

/** A WebSocket handshake that found its route. */
export interface RoutedUpgrade {
  readonly request: IncomingMessage
  readonly socket: Duplex
  /** What the client sent after the handshake already. */
  readonly head: Buffer
  readonly state: RouteState
  readonly target: string
  readonly headers: string[]
  readonly requestId: string
  readonly traceId: string
  /** Decides about the group, and on a sticky route about the instance. */
  readonly key: string
  /** It is over, for whatever reason. */
  readonly onOver: (tunnel: Tunnel) => void
}

/** Writes a whole response to a socket that node:http has let go of, and closes it. */
export function answerRaw(socket: Duplex, { status, reason, headers, body }: RenderedProblem): void {
  socket.end(`${headText(status, reason, [...headers, 'connection', 'close'])}${body}`, 'latin1')
}

function headText(status: number, reason: string, headers: readonly string[]): string {
  let text = `HTTP/1.1 ${status} ${reason}\r\n`
  for (let i = 0; i + 1 < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`
  return `${text}\r\n`
}

const goingAway = 1001

/** A peer that vanished without a word is noticed by the kernel's probes. */
const keepAliveProbeMs = 30_000

export class Tunnel implements TunnelFlight, Dispatcher.DispatchHandler {
  readonly #core: Core
  readonly #routed: RoutedUpgrade
  readonly #startedMs: number
  #upstream: Upstream | null = null
  #client: Client | null = null
  #attempt: Attempt | null = null
  #far: Duplex | null = null
  #attempts = 0
  readonly #hold: Hold
  #sent = false
  #going = false
  #over = false
  #status = 0
  #timer: Disposable | null = null
  /** Directions that were closed with a frame of ours: nothing more is passed on. */
  readonly #closed: Set<Duplex> = new Set()
  readonly #trackers: Map<Duplex, FrameTracker> = new Map()

  constructor(core: Core, routed: RoutedUpgrade) {
    this.#core = core
    this.#routed = routed
    this.#startedMs = core.clock.monotonicMs()
    this.#hold = new Hold(core, routed.state)
  }

  /** Sends the handshake on. `instead` answers it at once. */
  start(instead: Cause | RenderedProblem | null): void {
    const { request, socket, state } = this.#routed
    state.metrics.inFlight += 1
    request.socket.setKeepAlive(true, keepAliveProbeMs)
    socket.on('error', () => this.cut())
    socket.on('close', () => this.#sideClosed(socket))
    if (typeof instead === 'string') return this.#fail(instead)
    if (instead !== null) return this.#answer(instead)
    this.#place(null)
  }

  #place(avoid: Upstream | null): void {
    const { request, state, target, headers, key } = this.#routed
    const upstream = state.pick({ key, avoid, tunnel: true })
    if (upstream === null) {
      const fail = (): void => this.#fail(state.absence, state.route.unavailable)
      const isHeld = state.upstreams.length === 0 && this.#hold.wait(() => this.#place(null), fail)
      if (!isHeld) fail()
      return
    }
    this.#attempts += 1
    this.#upstream = upstream
    this.#attempt = new Attempt(this.#core, state, upstream)
    this.#client = upstream.takeTunnel(this)
    this.#client.dispatch(
      {
        path: target,
        method: request.method ?? 'GET',
        headers,
        upgrade: 'websocket',
        headersTimeout: state.responseMs,
        bodyTimeout: this.#core.limits.streamIdleMs,
      },
      this,
    )
  }

  onRequestStart(): void {
    this.#sent = true
  }

  onRequestUpgrade(controller: Dispatcher.DispatchController, status: number, _headers: object, far: Duplex): void {
    far.on('error', () => this.cut())
    if (this.#over) {
      far.destroy()
      return
    }
    const { socket: near, head } = this.#routed
    const headers = this.#responseHeaders(controller)
    near.write(headText(status, 'Switching Protocols', [...headers, 'connection', 'Upgrade', 'upgrade', 'websocket']))
    this.#attempt?.answered(status)
    this.#status = status
    this.#far = far
    far.on('close', () => this.#sideClosed(far))
    this.#join(near, far, (bytes) => (this.#metrics.bytesIn += bytes))
    this.#join(far, near, (bytes) => (this.#metrics.bytesOut += bytes))
    if (head.length > 0) near.unshift(head)
    observe(this.#metrics.latency, this.#core.clock.monotonicMs() - this.#startedMs)
    if (!this.#going && !this.#core.closing) return
    this.#going = false
    this.goAway()
  }

  /** The instance refuses: its answer goes to the client as it is. */
  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    _headers: object,
    statusText: string | undefined,
  ): void {
    if (this.#over || status < 200) return
    this.#attempt?.answered(status)
    this.#status = status
    const headers = this.#responseHeaders(controller)
    this.#routed.socket.write(headText(status, statusText ?? '', [...headers, 'connection', 'close']), 'latin1')
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#over) return
    this.#metrics.bytesOut += chunk.length
    if (this.#routed.socket.write(chunk)) return
    controller.pause()
    this.#routed.socket.once('drain', () => controller.resume())
  }

  onResponseEnd(): void {
    this.#finish(outcomeOf(this.#status))
    this.#routed.socket.end()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#over) return
    const upstream = this.#upstream
    if (this.#status !== 0) return this.cut()
    this.#attempt?.failed()
    if (!this.#sent) {
      upstream?.rest()
      if (this.#attempts === 1 && this.#routed.state.upstreams.some((other) => other !== upstream)) {
        this.#release()
        this.#metrics.retries += 1
        return this.#place(upstream)
      }
    }
    this.#fail(causeOf(error, this.#sent))
  }

  goAway(): void {
    if (this.#going || this.#over) return
    this.#going = true
    const far = this.#far
    // A handshake still under way is told once it is done.
    if (far === null) return
    this.#timer = this.#core.clock.after(this.#core.limits.goodbyeMs, () => this.cut())
    for (const from of [this.#routed.socket, far]) {
      if (this.#trackers.get(from)?.atBoundary === true) this.#sayGoodbye(from)
    }
  }

  cut(): void {
    const { socket } = this.#routed
    this.#finish(this.#status === 101 ? '1xx' : 'aborted')
    socket.destroy()
    this.#far?.destroy()
  }

  get #metrics(): RouteMetrics {
    return this.#routed.state.metrics
  }

  #responseHeaders(controller: Dispatcher.DispatchController): string[] {
    const raw = controller.rawHeaders
    return readResponseHead(Array.isArray(raw) ? raw : [], this.#routed.requestId).headers
  }

  /** Passes on what comes from one side until a Close frame of ours has taken its place. */
  #join(from: Duplex, to: Duplex, count: (bytes: number) => void): void {
    const tracker = new FrameTracker()
    this.#trackers.set(from, tracker)
    from.on('data', (chunk: Buffer) => {
      if (this.#closed.has(from)) return
      const taken = tracker.take(chunk, this.#going)
      const passed = taken === -1 ? chunk : chunk.subarray(0, taken)
      count(passed.length)
      if (!to.write(passed)) from.pause()
      if (this.#going && taken !== -1) this.#sayGoodbye(from)
    })
    to.on('drain', () => from.resume())
    from.on('end', () => to.end())
    from.resume()
  }

  /** One side is closed: the other still gets what was on its way to it, unless the closing was no orderly one. */
  #sideClosed(side: Duplex): void {
    const other = side === this.#far ? this.#routed.socket : this.#far
    if (other === null || other.destroyed || !side.readableEnded) return this.cut()
    this.#timer ??= this.#core.clock.after(this.#core.limits.stallMs, () => this.cut())
  }

  /** Closes the direction that comes from `from`: the Close frame goes to the other side. */
  #sayGoodbye(from: Duplex): void {
    const near = this.#routed.socket
    const far = this.#far
    if (far === null || this.#closed.has(from)) return
    this.#closed.add(from)
    const to = from === near ? far : near
    to.end(closeFrame(goingAway, 'this instance is being replaced', to === far))
    from.resume()
  }

  #fail(cause: Cause, detail?: string): void {
    if (this.#over) return
    const { request, state } = this.#routed
    countRejected(this.#metrics, cause)
    this.#answer(renderProblem(state.problem(cause, this.#routed, detail), request.headers.accept))
  }

  #answer(rendered: RenderedProblem): void {
    this.#metrics.bytesOut += Buffer.byteLength(rendered.body)
    this.#finish(outcomeOf(rendered.status))
    answerRaw(this.#routed.socket, rendered)
  }

  #release(): void {
    const upstream = this.#upstream
    const client = this.#client
    this.#attempt?.end()
    this.#upstream = null
    this.#client = null
    this.#attempt = null
    if (upstream !== null && client !== null) upstream.giveTunnel(this, client)
  }

  #finish(outcome: Outcome): void {
    if (this.#over) return
    this.#over = true
    this.#hold.stop()
    this.#timer?.[Symbol.dispose]()
    this.#release()
    this.#metrics.inFlight -= 1
    this.#metrics.requests[outcome] += 1
    // The duration of a WebSocket says nothing about latency: that of its handshake was counted.
    if (this.#status !== 101) observe(this.#metrics.latency, this.#core.clock.monotonicMs() - this.#startedMs)
    this.#routed.onOver(this)
  }
}
