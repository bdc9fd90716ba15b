/**
 * Just enough of WebSocket framing (RFC 6455) to stop a stream politely: where one frame ends and the next begins, and
 * what a Close frame looks like. A frame put in at any other place would be read as somebody's payload.
 */

/** Follows the frames of one direction; payloads are skipped, never kept. */
export class FrameTracker {
  #payloadLeft = 0
  #header: number[] = []

  /** Whether what was seen so far ends with a whole frame. */
  get atBoundary(): boolean {
    return this.#payloadLeft === 0 && this.#header.length === 0
  }

  /**
   * Takes the next bytes. With `stop` it takes only up to the first frame boundary; answers how many bytes it took, or -1
   * when it saw no boundary and `stop` was asked for.
   */
  take(chunk: Uint8Array, stop: boolean): number {
    let at = 0
    while (at < chunk.length) {
      if (this.#payloadLeft > 0) {
        const skip = Math.min(this.#payloadLeft, chunk.length - at)
        this.#payloadLeft -= skip
        at += skip
      } else {
        this.#header.push(chunk[at] ?? 0)
        at += 1
        const length = payloadLength(this.#header)
        if (length !== null) {
          this.#payloadLeft = length
          this.#header = []
        }
      }
      if (stop && this.atBoundary) return at
    }
    return stop ? -1 : at
  }
}

/** Bytes after a frame's header (payload), or null while the header is not whole. */
function payloadLength(header: readonly number[]): number | null {
  const second = header[1]
  if (second === undefined) return null
  const short = second & 0x7f
  const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0
  const maskBytes = (second & 0x80) === 0 ? 0 : 4
  if (header.length < 2 + lengthBytes + maskBytes) return null
  return lengthBytes === 0 ? short : header.slice(2, 2 + lengthBytes).reduce((sum, byte) => sum * 256 + byte, 0)
}

/**
 * A Close frame with a code and a short reason (at most 123 bytes). Clients must mask what they send: towards a server a
 * mask of zeros does, because the text is the gateway's own.
 */
export function closeFrame(code: number, reason: string, masked: boolean): Buffer {
  const text = Buffer.from(reason).subarray(0, 123)
  const head = masked ? [0x88, 0x80 | (text.length + 2), 0, 0, 0, 0] : [0x88, text.length + 2]
  return Buffer.concat([Buffer.from([...head, code >> 8, code & 0xff]), text])
}
