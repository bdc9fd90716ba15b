/**
 * A request's body on its way to an instance: counted, bounded, and never more than a few pieces in memory. It does not own
 * the request: when the instance fails, the client's connection stays whole, so that it can be told.
 */
import { Readable } from 'node:stream'
import type { Clock } from '../base/index.ts'
import type { ClientRequest } from './client-side.ts'
import type { GatewayLimits } from './limits.ts'

export interface UploadLimits {
  readonly bytesMax: number
  /** Within `idleMs` so much must come, or the end. */
  readonly bytesMin: number
  readonly idleMs: number
}

export interface UploadEvents {
  /** The instance is ready to take it. */
  onStart(): void
  /** The client has sent too little for too long. */
  onStalled(): void
  /** It has become larger than allowed. */
  onTooLarge(): void
}

export class Upload {
  readonly stream: Readable
  /** Bytes taken from the client. */
  bytes = 0
  started = false
  readonly #request: ClientRequest
  readonly #limits: GatewayLimits
  readonly #clock: Clock
  #stall: Disposable | null = null
  /** Bytes since the wait began. */
  #sinceStall = 0
  #lingered = 0

  constructor(
    request: ClientRequest,
    { bytesMax, bytesMin, idleMs }: UploadLimits,
    context: { readonly limits: GatewayLimits; readonly clock: Clock },
    events: UploadEvents,
  ) {
    this.#request = request
    this.#limits = context.limits
    this.#clock = context.clock
    const stream = new Readable({
      read: () => {
        if (!this.started) {
          this.started = true
          request.on('data', onData).on('end', onEnd).on('close', onClose)
          events.onStart()
        }
        this.#stall ??= context.clock.after(idleMs, () => events.onStalled())
        request.resume()
      },
      destroy: (error, callback) => {
        this.#rest()
        request.removeListener('data', onData).removeListener('end', onEnd).removeListener('close', onClose)
        callback(error)
      },
    })
    const onData = (chunk: Buffer): void => {
      this.bytes += chunk.length
      this.#sinceStall += chunk.length
      if (this.#sinceStall >= bytesMin) this.#rest()
      if (this.bytes > bytesMax) return events.onTooLarge()
      if (stream.push(chunk)) return
      request.pause()
      // Now it is the instance that is waited for.
      this.#rest()
    }
    const onEnd = (): void => {
      this.#rest()
      stream.push(null)
    }
    const onClose = (): void => {
      if (!request.complete) stream.destroy(new Error('the client left before its request was whole'))
    }
    stream.on('error', () => undefined)
    this.stream = stream
  }

  /**
   * The client has been answered before its body was whole: reads on for a while and throws it away, because closing on
   * somebody who still sends loses the answer; then closes.
   */
  linger(): void {
    const request = this.#request
    this.stream.destroy()
    if (request.complete || request.destroyed) return
    const timer = this.#clock.after(this.#limits.lingerMs, () => request.socket.destroy())
    request.on('data', (chunk: Buffer) => {
      this.#lingered += chunk.length
      if (this.#lingered > this.#limits.lingerBytesMax) request.socket.destroy()
    })
    request.once('close', () => timer[Symbol.dispose]())
    request.once('end', () => timer[Symbol.dispose]())
    request.resume()
  }

  #rest(): void {
    this.#sinceStall = 0
    this.#stall?.[Symbol.dispose]()
    this.#stall = null
  }
}
