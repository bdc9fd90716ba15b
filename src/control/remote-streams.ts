/**
 * Streams of bytes that people have open to what runs on nodes. A stream ends when the node says so, when whoever opened it
 * closes it, or when the node goes away. Invariant: what waits for a slow reader is bounded by the window of the protocol.
 */
import { type Random, randomId, SteadError } from '../base/index.ts'
import {
  type Ask,
  type RemoteStream,
  type StreamEnd,
  type StreamPiece,
  streamPieceBytesMax,
  type StreamTarget,
  streamWindowBytes,
  type TerminalSize,
  type Upward,
} from '../protocol/index.ts'

/** Most streams that are open at once. */
const streamsMax = 1000

type Send = (id: string, ask: Ask) => void

export class RemoteStreams {
  readonly #random: Random
  readonly #open = new Map<string, OpenStream>()

  constructor(random: Random) {
    this.#random = random
  }

  /** Opens a stream on a node. Throws `control.too-many-streams`. */
  open(node: string, send: Send, target: StreamTarget): RemoteStream {
    if (this.#open.size >= streamsMax) {
      throw new SteadError({
        code: 'control.too-many-streams',
        message: `${streamsMax} streams are open already`,
        hint: 'Close some: `stead exec` and `stead forward` hold them.',
        retry: 'later',
      })
    }
    const id = randomId(this.#random)
    const stream = new OpenStream(node, id, send, () => this.#open.delete(id))
    this.#open.set(id, stream)
    send(id, target)
    return stream
  }

  /** Takes what a node says of a stream. */
  receive(node: string, message: Extract<Upward, { type: 'output' | 'taken' | 'ended' }>): void {
    const stream = this.#open.get(message.ask)
    if (stream?.node === node) stream.receive(message)
  }

  /** Cuts off what was open to a node that went away. */
  nodeGone(node: string): void {
    for (const stream of this.#open.values())
      if (stream.node === node) stream.cut(`node ${node} is not connected any more`)
  }
}

class OpenStream implements RemoteStream {
  readonly node: string
  readonly ended: Promise<StreamEnd>
  readonly #id: string
  readonly #send: Send
  readonly #forget: () => void
  readonly #end = Promise.withResolvers<StreamEnd>()
  readonly #waiting: StreamPiece[] = []
  #room = streamWindowBytes
  #heldBytes = 0
  #over = false
  #wakeReader = (): void => {}
  #wakeWriter = (): void => {}

  constructor(node: string, id: string, send: Send, forget: () => void) {
    this.node = node
    this.#id = id
    this.#send = send
    this.#forget = forget
    this.ended = this.#end.promise
    // Whoever asks for it hears it; not asking is no failure.
    this.ended.catch(() => {})
  }

  readonly pieces: AsyncIterable<StreamPiece> = this.#pieces()

  async *#pieces(): AsyncIterable<StreamPiece> {
    for (;;) {
      const next = this.#waiting.shift()
      if (next !== undefined) {
        yield next
        this.#heldBytes -= next.bytes.length
        if (!this.#over) this.#send(this.#id, { kind: 'taken', ask: this.#id, bytes: next.bytes.length })
      } else if (this.#over) return
      else await new Promise<void>((resolve) => (this.#wakeReader = resolve))
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length && !this.#over;) {
      if (this.#room <= 0) {
        await new Promise<void>((resolve) => (this.#wakeWriter = resolve))
        continue
      }
      const piece = bytes.subarray(from, from + Math.min(streamPieceBytesMax, this.#room))
      this.#room -= piece.length
      from += piece.length
      this.#send(this.#id, { kind: 'input', ask: this.#id, data: Buffer.from(piece).toString('base64'), end: false })
    }
  }

  end(): void {
    if (!this.#over) this.#send(this.#id, { kind: 'input', ask: this.#id, data: '', end: true })
  }

  resize(size: TerminalSize): void {
    if (!this.#over) this.#send(this.#id, { kind: 'resize', ask: this.#id, size })
  }

  seen(bytes: number): void {
    if (!this.#over) this.#send(this.#id, { kind: 'seen', ask: this.#id, bytes })
  }

  close(lost?: 'lost'): void {
    if (!this.#over) this.cut('it was closed', lost === 'lost')
  }

  /** Ends it from this side. */
  cut(why: string, lost = false): void {
    if (this.#over) return
    this.#send(this.#id, { kind: 'cancel', ask: this.#id, ...(lost ? { lost } : {}) })
    this.#finish()
    this.#end.reject(
      new SteadError({ code: 'control.stream-cut', message: `the stream ended: ${why}`, retry: 'later' }),
    )
  }

  receive(message: Extract<Upward, { type: 'output' | 'taken' | 'ended' }>): void {
    switch (message.type) {
      case 'output': {
        const bytes = Buffer.from(message.data, 'base64')
        this.#heldBytes += bytes.length
        if (this.#heldBytes > streamWindowBytes) return this.cut('the node sent more than was asked for')
        this.#waiting.push({ to: message.to, bytes, ...(message.took === undefined ? {} : { took: message.took }) })
        return this.#wakeReader()
      }
      case 'taken':
        this.#room += message.bytes
        return this.#wakeWriter()
      case 'ended':
        this.#finish()
        if (message.end !== null) return this.#end.resolve(message.end)
        return this.#end.reject(
          new SteadError({
            code: 'control.stream-failed',
            message: message.error ?? 'the node refused',
            retry: 'later',
          }),
        )
    }
  }

  #finish(): void {
    this.#over = true
    this.#forget()
    this.#wakeReader()
    this.#wakeWriter()
  }
}
