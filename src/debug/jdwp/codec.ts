/**
 * The packets of the Java Debug Wire Protocol: a head of eleven bytes, and a body of numbers, ids and texts. Pure.
 *
 * Invariant: a machine that sends what is no packet, or too long a one, or less than it says, is told so by an error; it cannot
 * make us keep more than the limits. Ids have eight bytes, as on every 64-bit machine: `ids` of a machine that has others is
 * refused by whoever asks for its sizes.
 */
import { targetSays } from '../refusals.ts'

export const handshake = 'JDWP-Handshake'

const headBytes = 11
const packetBytesMax = 64_000_000
/** Answers and what is sent by the machine itself differ in this bit. */
const answerFlag = 0x80

export interface JdwpPacket {
  readonly id: number
  /** Null for what the machine sends of itself: events. */
  readonly errorCode: number | null
  readonly body: Buffer
}

export function encodeJdwp(id: number, set: number, command: number, body: Buffer): Buffer {
  const head = Buffer.alloc(headBytes)
  head.writeUInt32BE(headBytes + body.length, 0)
  head.writeUInt32BE(id, 4)
  head[9] = set
  head[10] = command
  return Buffer.concat([head, body])
}

/** Puts packets together from pieces as they arrive, after the handshake. */
export class JdwpDecoder {
  #pieces: Buffer[] = []
  #held = 0

  /** The packets that are whole now. Throws `debug.target-refused`. */
  push(piece: Buffer): readonly JdwpPacket[] {
    this.#pieces.push(piece)
    this.#held += piece.length
    if (this.#held > packetBytesMax) throw targetSays('JDWP', `a packet longer than ${packetBytesMax} bytes`)
    const packets: JdwpPacket[] = []
    while (this.#held >= headBytes) {
      const [first = Buffer.alloc(0), ...more] = this.#pieces
      // Pieces of a long packet are put together once, when it is whole.
      const start = first.length >= headBytes ? first : this.#joined()
      const length = start.readUInt32BE(0)
      if (length < headBytes || length > packetBytesMax) throw targetSays('JDWP', `no packet has ${length} bytes`)
      if (this.#held < length) break
      const whole = more.length === 0 || start !== first ? start : this.#joined()
      const isAnswer = ((whole[8] ?? 0) & answerFlag) !== 0
      packets.push({
        id: whole.readUInt32BE(4),
        errorCode: isAnswer ? whole.readUInt16BE(9) : null,
        body: whole.subarray(headBytes, length),
      })
      const rest = whole.subarray(length)
      this.#pieces = rest.length === 0 ? [] : [rest]
      this.#held = rest.length
    }
    return packets
  }

  #joined(): Buffer {
    const whole = Buffer.concat(this.#pieces)
    this.#pieces = [whole]
    return whole
  }
}

/** Writes the body of a request. */
export class JdwpWriter {
  readonly #parts: Buffer[] = []

  get bytes(): Buffer {
    return Buffer.concat(this.#parts)
  }

  byte(value: number): this {
    this.#parts.push(Buffer.from([value]))
    return this
  }

  int(value: number): this {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32BE(value)
    this.#parts.push(bytes)
    return this
  }

  id(value: bigint): this {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64BE(value)
    this.#parts.push(bytes)
    return this
  }

  text(value: string): this {
    const bytes = Buffer.from(value)
    this.int(bytes.length)
    this.#parts.push(bytes)
    return this
  }
}

/** Reads the body of an answer. Each throws `debug.target-refused` where the body has ended. */
export class JdwpReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  byte(): number {
    return this.#take(1).readUInt8()
  }

  signedByte(): number {
    return this.#take(1).readInt8()
  }

  short(): number {
    return this.#take(2).readInt16BE()
  }

  char(): number {
    return this.#take(2).readUInt16BE()
  }

  int(): number {
    return this.#take(4).readInt32BE()
  }

  long(): bigint {
    return this.#take(8).readBigInt64BE()
  }

  float(): number {
    return this.#take(4).readFloatBE()
  }

  double(): number {
    return this.#take(8).readDoubleBE()
  }

  id(): bigint {
    return this.#take(8).readBigUInt64BE()
  }

  text(): string {
    return this.#take(this.int()).toString()
  }

  /** As many of something as a number before them says. */
  list<T>(read: (reader: this) => T): readonly T[] {
    const count = this.int()
    // Each has a byte at least: more than there are bytes is no count.
    if (count < 0 || count > this.#bytes.length) throw targetSays('JDWP', `a list of ${count}`)
    return Array.from({ length: count }, () => read(this))
  }

  #take(length: number): Buffer {
    if (length < 0 || this.#at + length > this.#bytes.length) throw targetSays('JDWP', 'an answer that ends too early')
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
}
