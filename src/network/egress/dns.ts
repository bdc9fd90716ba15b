/**
 * The little of DNS that a resolver for one instance needs: reads one question, writes one answer. Pure.
 *
 * Invariants: whatever bytes come in, reading ends within them and never throws; an answer fits into 512 bytes, so that
 * it is never cut short.
 */

export const recordTypes = { a: 1, aaaa: 28 } as const
const optType = 41
const internet = 1
const headerBytes = 12
const nameBytesMax = 255
/** A declared limit of what we take in one datagram; what we send is always less. */
const datagramBytes = 1232
/** Addresses in one answer: as many as fit beside the longest name. */
export const answersMax = 12

export const answerCodes = { ok: 0, malformed: 1, failed: 2, noSuchName: 3, notImplemented: 4, refused: 5 } as const

/** Extended DNS errors (RFC 8914): why a name was not answered, for tools that show it. */
const prohibited = 18
const reasonOption = 15

export interface Question {
  readonly id: number
  /** Lower case, without the last dot. Bytes that no host name has are shown as `?`. */
  readonly name: string
  readonly type: number
  /** Whether this is an ordinary question: of the internet class, opcode QUERY, and a name that a host can have. */
  readonly kind: 'ordinary' | 'odd'
  /** As it was asked, to be repeated in the answer. */
  readonly bytes: Uint8Array
  readonly recursionDesired: boolean
  /** Whether the asker speaks the extension that carries reasons. */
  readonly extended: boolean
}

export interface Answer {
  readonly code: number
  readonly addresses: readonly { readonly address: string; readonly ttlSeconds: number }[]
  /** Why there is none, for a person. */
  readonly reason?: string
}

/** Reads a query. Null for what deserves no answer at all; a question without a name when the rest cannot be read. */
export function readQuestion(packet: Uint8Array): Question | null {
  if (packet.length < headerBytes) return null
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
  const flags = view.getUint16(2)
  // A response is never answered: two resolvers could keep each other busy for ever.
  if ((flags & 0x8000) !== 0) return null
  const id = view.getUint16(0)
  const recursionDesired = (flags & 0x0100) !== 0
  const odd = {
    id,
    name: '',
    type: 0,
    kind: 'odd',
    bytes: new Uint8Array(0),
    recursionDesired,
    extended: false,
  } as const
  if ((flags & 0x7800) !== 0 || view.getUint16(4) !== 1) return odd
  const labels: string[] = []
  let at = headerBytes
  for (;;) {
    const length = packet[at]
    if (length === undefined || length > 63 || at - headerBytes > nameBytesMax) return odd
    at += 1
    if (length === 0) break
    labels.push(Buffer.from(packet.subarray(at, at + length)).toString('latin1'))
    at += length
  }
  if (at + 4 > packet.length || at - headerBytes > nameBytesMax) return odd
  const type = view.getUint16(at)
  const plain = labels.length > 0 && labels.every((label) => /^[A-Za-z0-9_-]+$/.test(label))
  return {
    id,
    name: labels.map((label) => label.toLowerCase().replace(/[^a-z0-9_-]/g, '?')).join('.'),
    type,
    kind: plain && view.getUint16(at + 2) === internet ? 'ordinary' : 'odd',
    bytes: packet.slice(headerBytes, at + 4),
    recursionDesired,
    // The extension is a record of the root: an empty name, then its type.
    extended: view.getUint16(10) > 0 && packet[at + 4] === 0 && packet[at + 5] === 0 && packet[at + 6] === optType,
  }
}

/** The bytes of an answer. */
export function writeAnswer(question: Question, { code, addresses, reason }: Answer): Uint8Array {
  const given = addresses.slice(0, answersMax)
  const head = Buffer.alloc(headerBytes)
  head.writeUInt16BE(question.id, 0)
  head.writeUInt16BE(0x8080 | (question.recursionDesired ? 0x0100 : 0) | code, 2)
  head.writeUInt16BE(question.bytes.length > 0 ? 1 : 0, 4)
  head.writeUInt16BE(given.length, 6)
  head.writeUInt16BE(question.extended ? 1 : 0, 10)
  const records = given.map(({ address, ttlSeconds }) => {
    const record = Buffer.alloc(16)
    // A pointer to the name in the question.
    record.writeUInt16BE(0xc000 | headerBytes, 0)
    record.writeUInt16BE(recordTypes.a, 2)
    record.writeUInt16BE(internet, 4)
    record.writeUInt32BE(ttlSeconds, 6)
    record.writeUInt16BE(4, 10)
    record.set(address.split('.').map(Number), 12)
    return record
  })
  return Buffer.concat([head, question.bytes, ...records, ...(question.extended ? [extension(reason)] : [])])
}

function extension(reason: string | undefined): Uint8Array {
  const text = Buffer.from(reason ?? '', 'latin1').subarray(0, 100)
  const option = Buffer.alloc(6)
  option.writeUInt16BE(reasonOption, 0)
  option.writeUInt16BE(2 + text.length, 2)
  option.writeUInt16BE(prohibited, 4)
  const options = reason === undefined ? [] : [option, text]
  const record = Buffer.alloc(11)
  record.writeUInt16BE(optType, 1)
  record.writeUInt16BE(datagramBytes, 3)
  record.writeUInt16BE(
    options.reduce((sum, part) => sum + part.length, 0),
    9,
  )
  return Buffer.concat([record, ...options])
}
