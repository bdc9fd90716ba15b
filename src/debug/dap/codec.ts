/**
 * The frames of the Debug Adapter Protocol: a head with the length, and a body of JSON. Pure.
 *
 * Invariant: a peer that sends what is no frame, or too long a one, is told so by an error; it cannot make us keep more
 * than the limits.
 */
import { messageOf } from '../../base/index.ts'
import { badRequest } from '../refusals.ts'

const headBytesMax = 1024
const bodyBytesMax = 8_000_000
const headEnd = Buffer.from('\r\n\r\n')

export function encodeDap(message: Readonly<Record<string, unknown>>): Buffer {
  const body = Buffer.from(JSON.stringify(message))
  return Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`), body])
}

/** Puts frames together from pieces as they arrive. */
export class DapDecoder {
  #rest: Buffer = Buffer.alloc(0)

  /** Bytes of a message that is not whole yet. */
  get unfinishedBytes(): number {
    return this.#rest.length
  }

  /** Forgets the message that is not whole yet: it will come once more, from its beginning. */
  forgetUnfinished(): void {
    this.#rest = Buffer.alloc(0)
  }

  /** The messages that are whole now. Throws `debug.bad-request`. */
  push(piece: Uint8Array): readonly Readonly<Record<string, unknown>>[] {
    this.#rest = Buffer.concat([this.#rest, piece])
    const messages: Readonly<Record<string, unknown>>[] = []
    for (;;) {
      const end = this.#rest.indexOf(headEnd)
      if (end === -1) {
        if (this.#rest.length > headBytesMax) throw notDap('its head does not end')
        return messages
      }
      const length = Number(/^content-length: *(\d+)$/im.exec(this.#rest.subarray(0, end).toString('latin1'))?.[1])
      if (!Number.isInteger(length)) throw notDap('it has no Content-Length')
      if (length > bodyBytesMax) throw notDap(`it is longer than ${bodyBytesMax} bytes`)
      const from = end + headEnd.length
      if (this.#rest.length < from + length) return messages
      messages.push(parse(this.#rest.subarray(from, from + length)))
      this.#rest = this.#rest.subarray(from + length)
    }
  }
}

function parse(body: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(body.toString())
    if (typeof value === 'object' && value !== null) return { ...value }
  } catch (error) {
    throw notDap(messageOf(error))
  }
  throw notDap('it is no object')
}

function notDap(why: string): Error {
  return badRequest(
    `what the client sent is no message of the Debug Adapter Protocol: ${why}`,
    'Point an editor at this port.',
  )
}
