/**
 * The channel to the first program of a guest: frames over the Unix socket that QEMU leads to a port of the guest.
 * A frame is a letter, an id, a length and so many bytes.
 *
 *   to the guest: X start a program (its order), I what it reads (empty: its end), W so many bytes were read here,
 *   R its terminal's size, K end it, S a signal for the guest's own program, N another supervisor (said back), U usage
 *   (processes, bytes, microseconds, and how long the kernel had run when all this began),
 *   Q addresses of symbols, G a file
 *   from the guest: O and F what a program prints, W so many bytes were taken there, C how it ended, U, Q and G answers
 *   (G in pieces, the last one empty)
 *
 * Invariants: opened when it is first needed and waited for while the guest boots; at most `windowBytes` of a stream are on
 * their way; when it closes, whoever waits is told so.
 */
import type { Duplex } from 'node:stream'
import { SteadError, sleep } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'

/** Most bytes of one stream that were sent and not yet taken. */
export const windowBytes: number = 256 * 1024
const headBytes = 9
const frameBytesMax = 2 ** 20
const fileBytesMax = 64 * 2 ** 20
const connectEveryMs = 50
const answerTimeoutMs = 30_000
const readTimeoutMs = 60_000

export interface Frame {
  readonly type: string
  readonly id: number
  readonly payload: Buffer
}

/** One frame as bytes. */
export function encodeFrame(type: string, id: number, payload: string | Uint8Array = ''): Buffer {
  const content = Buffer.from(payload)
  const head = Buffer.alloc(headBytes)
  head.write(type, 'latin1')
  head.writeUInt32BE(id, 1)
  head.writeUInt32BE(content.length, 5)
  return Buffer.concat([head, content])
}

/** Takes the whole frames from the front of what was received. Throws for a frame that no guest of ours sends. */
export function decodeFrames(received: Buffer): { readonly frames: readonly Frame[]; readonly rest: Buffer } {
  const frames: Frame[] = []
  let at = 0
  while (received.length - at >= headBytes) {
    const length = received.readUInt32BE(at + 5)
    if (length > frameBytesMax) throw new Error(`a guest sent a frame of ${length} bytes`)
    if (received.length - at < headBytes + length) break
    const payload = received.subarray(at + headBytes, at + headBytes + length)
    frames.push({ type: received.toString('latin1', at, at + 1), id: received.readUInt32BE(at + 1), payload })
    at += headBytes + length
  }
  return { frames, rest: received.subarray(at) }
}

/** Pairs of names and values as the guest reads them: each value is led by its length, so it may hold anything. */
export function encodeConfig(entries: readonly (readonly [key: string, value: string])[]): string {
  return entries.map(([key, value]) => `${key} ${Buffer.byteLength(value)}\n${value}\n`).join('')
}

/** Who is told of the frames of one id; `closed` when none can come any more. */
export interface Listener {
  frame(frame: Frame): void
  closed(): void
}

export class Channel {
  readonly #connect: () => Promise<Duplex | null>
  readonly #clock: Clock
  readonly #isOver: () => boolean
  readonly #listeners = new Map<number, Listener>()
  #socket: Promise<Duplex> | null = null
  #lastId = 0

  /** `connect` answers null while the guest is not there yet; `isOver` says that it is gone, so that nobody waits for it. */
  constructor(connect: () => Promise<Duplex | null>, clock: Clock, isOver: () => boolean) {
    this.#connect = connect
    this.#clock = clock
    this.#isOver = isOver
  }

  /** An id that no other has. */
  listen(listener: Listener): number {
    this.#lastId += 1
    this.#listeners.set(this.#lastId, listener)
    return this.#lastId
  }

  forget(id: number): void {
    this.#listeners.delete(id)
  }

  /** Sends a frame, once the guest is there. Throws `sandbox.ended`. */
  async send(type: string, id: number, payload: string | Uint8Array = ''): Promise<void> {
    this.#socket ??= this.#open()
    const socket = await this.#socket
    await new Promise<void>((resolve) => void socket.write(encodeFrame(type, id, payload), () => resolve()))
  }

  /** Asks, and answers with what the guest said; null when it does not within 30 s, or is gone. */
  async ask(type: string, payload = ''): Promise<string | null> {
    const { promise, resolve } = Promise.withResolvers<string | null>()
    const id = this.listen({ frame: (frame) => resolve(frame.payload.toString()), closed: () => resolve(null) })
    using _timer = this.#clock.after(answerTimeoutMs, () => resolve(null))
    try {
      await Promise.race([this.send(type, id, payload), promise])
      return await promise
    } finally {
      this.forget(id)
    }
  }

  /** Reads a file of the guest as its root, such as one of /proc. Throws `sandbox.ended`, `sandbox.machine-silent`. */
  async read(path: string): Promise<Buffer> {
    const pieces: Buffer[] = []
    let bytes = 0
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const silent = (): void => reject(guestSilent(path))
    const id = this.listen({
      frame({ payload }) {
        pieces.push(payload)
        bytes += payload.length
        if (bytes > fileBytesMax) silent()
        if (payload.length === 0) resolve()
      },
      closed: silent,
    })
    using _timer = this.#clock.after(readTimeoutMs, silent)
    try {
      await Promise.race([this.send('G', id, path), promise])
      await promise
      return Buffer.concat(pieces)
    } finally {
      this.forget(id)
    }
  }

  close(): void {
    void this.#socket?.then(
      (socket) => socket.destroy(),
      () => undefined,
    )
  }

  async #open(): Promise<Duplex> {
    for (;;) {
      const socket = await this.#connect()
      if (socket !== null) return this.#follow(socket)
      if (this.#isOver()) {
        this.#socket = null
        throw new SteadError({
          code: 'sandbox.ended',
          message: 'The guest cannot be reached: its machine has ended.',
          hint: 'Its exit tells how.',
        })
      }
      await sleep(this.#clock, connectEveryMs)
    }
  }

  #follow(socket: Duplex): Duplex {
    let received: Buffer = Buffer.alloc(0)
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      try {
        const { frames, rest } = decodeFrames(Buffer.concat([received, chunk]))
        received = rest
        for (const frame of frames) this.#listeners.get(frame.id)?.frame(frame)
      } catch {
        // A guest may be anybody's: what it says that it should not ends the conversation, and nothing else.
        socket.destroy()
      }
    })
    socket.on('close', () => {
      this.#socket = null
      const listeners = [...this.#listeners.values()]
      this.#listeners.clear()
      for (const listener of listeners) listener.closed()
    })
    return socket
  }
}

function guestSilent(path: string): SteadError {
  return new SteadError({
    code: 'sandbox.machine-silent',
    message: `The guest did not hand over ${path}.`,
    hint: 'It may have ended, or its kernel stands at a breakpoint.',
    retry: 'later',
  })
}
