/**
 * Messages on a byte stream: one JSON text a line; an empty line is a heartbeat. Pure: bytes in, texts out.
 * Invariant: never holds more than `frameBytesMax` of an unfinished line.
 */
import { SteadError } from '../base/index.ts'

/** Longest message. A plan of a thousand instances is about two megabytes. */
export const frameBytesMax: number = 32 * 1024 * 1024

/** Cuts a stream into lines. Throws `transport.too-large` when a line does not end in time. */
export class FrameReader {
  #parts: Buffer[] = []
  #held = 0

  /** Adds received bytes and answers the texts that are complete now; heartbeats are left out. */
  push(chunk: Buffer): string[] {
    const texts: string[] = []
    let from = 0
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
      const text = Buffer.concat([...this.#parts, chunk.subarray(from, end)]).toString('utf8')
      this.#parts = []
      this.#held = 0
      if (text !== '') texts.push(text)
      from = end + 1
    }
    const rest = chunk.subarray(from)
    this.#held += rest.length
    if (this.#held > frameBytesMax) {
      throw new SteadError({
        code: 'transport.too-large',
        message: `the peer sent a message of more than ${frameBytesMax} bytes`,
        hint: 'Is something else speaking on this socket?',
      })
    }
    if (rest.length > 0) this.#parts.push(rest)
    return texts
  }
}

/** One message as bytes. */
export function frame(message: unknown): string {
  return `${JSON.stringify(message)}\n`
}
