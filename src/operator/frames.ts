/**
 * A stream on a socket: frames of one byte of kind, four of length and the bytes. Pure.
 * Invariant: never holds more than one frame that is not complete, of at most `frameBytesMax`.
 */
import { SteadError } from '../base/index.ts'

/**
 * open: what is asked for, as JSON, the first of all. input, end, resize: from the asker. out, err: what comes. ended: how it
 * ended, refused: why it did not go on, as JSON, the last of all. Of a stream with a name: took, how many bytes of input have
 * been taken; seen: how many bytes of output have, as JSON both; close: the asker wants no more of it.
 */
export const frameKinds = [
  'open',
  'input',
  'end',
  'resize',
  'out',
  'err',
  'ended',
  'refused',
  'took',
  'seen',
  'close',
] as const
export type FrameKind = (typeof frameKinds)[number]

export interface Frame {
  readonly kind: FrameKind
  readonly bytes: Buffer
}

const headBytes = 5
const frameBytesMax = 1024 * 1024

export function encodeFrame(kind: FrameKind, bytes: Uint8Array = new Uint8Array()): Buffer {
  const head = Buffer.alloc(headBytes)
  head.writeUInt8(frameKinds.indexOf(kind), 0)
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

export class FrameDecoder {
  #held = Buffer.alloc(0)

  /** Adds what was received and answers the frames that are complete. Throws `operator.bad-request`. */
  push(chunk: Uint8Array): Frame[] {
    this.#held = Buffer.concat([this.#held, chunk])
    const frames: Frame[] = []
    while (this.#held.length >= headBytes) {
      const kind = frameKinds[this.#held.readUInt8(0)]
      const length = this.#held.readUInt32BE(1)
      if (kind === undefined || length > frameBytesMax) {
        throw new SteadError({
          code: 'operator.bad-request',
          message: 'the stream is damaged',
          hint: 'Is something else speaking on this socket?',
        })
      }
      if (this.#held.length < headBytes + length) break
      frames.push({ kind, bytes: this.#held.subarray(headBytes, headBytes + length) })
      this.#held = this.#held.subarray(headBytes + length)
    }
    return frames
  }
}

/** A value as the bytes of a frame. */
export function jsonBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}
