/**
 * One connection carried as it is, TCP or TLS that ends at the instance: bytes pass both ways with backpressure, and each
 * side's end passes on by itself. Its instance's place is given back exactly once. There is no polite word that would fit
 * into somebody else's protocol, so when the instance is replaced it stays until its peers end it, or the time is over.
 */
import type { Socket } from 'node:net'
import type { Core } from './core.ts'
import { countRejected } from './metrics.ts'
import type { Cause } from './problem.ts'
import type { RouteState } from './route-state.ts'
import type { TunnelFlight, Upstream } from './upstream.ts'

/** A peer that vanished without a word is noticed by the kernel's probes. */
const keepAliveProbeMs = 30_000

export interface RoutedStream {
  readonly socket: Socket
  /** What was read of it already. */
  readonly begun: Buffer
  readonly state: RouteState
  /** It is over, for whatever reason. */
  readonly onOver: (passage: Passage) => void
}

export class Passage implements TunnelFlight {
  readonly #core: Core
  readonly #routed: RoutedStream
  #upstream: Upstream | null = null
  #far: Socket | null = null
  #attempts = 0
  #over = false
  #timer: Disposable | null = null

  constructor(core: Core, routed: RoutedStream) {
    this.#core = core
    this.#routed = routed
  }

  /** Connects it. `full`: there are too many already. */
  start(full: boolean): void {
    const { socket, begun, state } = this.#routed
    state.metrics.inFlight += 1
    socket.on('error', () => this.cut())
    socket.once('close', () => this.#sideClosed(socket))
    socket.setKeepAlive(true, keepAliveProbeMs)
    socket.pause()
    if (begun.length > 0) socket.unshift(begun)
    if (full) return this.#refuse('overloaded')
    this.#place(null)
  }

  goAway(): void {
    // Nothing can be said; see above.
  }

  cut(): void {
    this.#finish()
    this.#routed.socket.destroy()
    this.#far?.destroy()
  }

  #place(avoid: Upstream | null): void {
    const { state } = this.#routed
    const upstream = state.pick({ key: '', avoid, tunnel: true })
    if (upstream === null) return this.#refuse('no-instance')
    this.#attempts += 1
    this.#upstream = upstream
    upstream.takeStream(this, (error, far) => {
      if (this.#over) return void far?.on('error', () => undefined).destroy()
      if (error === null) return this.#join(far)
      upstream.rest()
      this.#upstream = null
      upstream.giveStream(this)
      if (this.#attempts > 1 || !state.upstreams.some((other) => other !== upstream)) return this.#refuse('refused')
      state.metrics.retries += 1
      this.#place(upstream)
    })
  }

  #join(far: Socket): void {
    const { socket: near, state } = this.#routed
    this.#far = far
    far.on('error', () => this.cut())
    far.once('close', () => this.#sideClosed(far))
    far.setKeepAlive(true, keepAliveProbeMs)
    near.on('data', (chunk) => (state.metrics.bytesIn += chunk.length))
    far.on('data', (chunk) => (state.metrics.bytesOut += chunk.length))
    near.pipe(far)
    far.pipe(near)
  }

  /** One side is closed: the other still gets what was on its way to it, unless the closing was no orderly one. */
  #sideClosed(side: Socket): void {
    const other = side === this.#far ? this.#routed.socket : this.#far
    if (other === null || other.destroyed || !side.readableEnded) return this.cut()
    // What it still says has nobody to hear it.
    other.unpipe().resume()
    this.#timer ??= this.#core.clock.after(this.#core.limits.stallMs, () => this.cut())
  }

  #refuse(cause: Cause): void {
    countRejected(this.#routed.state.metrics, cause)
    this.cut()
  }

  #finish(): void {
    if (this.#over) return
    this.#over = true
    this.#timer?.[Symbol.dispose]()
    const { metrics } = this.#routed.state
    metrics.inFlight -= 1
    metrics.requests[this.#far === null ? '5xx' : '1xx'] += 1
    this.#upstream?.giveStream(this)
    this.#routed.onOver(this)
  }
}
