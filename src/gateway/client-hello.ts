/**
 * The first message of TLS, read without ending the TLS, without I/O: which server the client asks for (SNI, RFC 6066). It may come
 * in several records and in any pieces. Invariant: no length that is written in it is believed beyond the bytes that are
 * there; no byte is read twice, however small the pieces; and what is not a ClientHello by the letter is `bad`, never
 * guessed at.
 */

/** What the bytes so far say. */
export type HelloReading =
  /** They are the beginning of one; it takes `bytes` in all to know more, so that reading again earlier is in vain. */
  | { readonly kind: 'more'; readonly bytes: number }
  | { readonly kind: 'bad' }
  /** `serverName` is lower case, without a closing dot; null when the client names none, as for an IP address. */
  | { readonly kind: 'hello'; readonly serverName: string | null }

const handshakeRecord = 0x16
const recordBytesMax = 16_384
const clientHello = 1
const serverNameExtension = 0
const hostNameType = 0
const namePattern = /^(?=.{1,253}$)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/

const bad: HelloReading = { kind: 'bad' }

/** Reads what one client sends, from where it got to before. */
export class HelloReader {
  readonly #message: number[] = []
  #at = 0
  /** Bytes of the record at hand that are still to come. */
  #left = 0

  /** Takes all that came so far: it begins with what was taken before. */
  read(bytes: Uint8Array): HelloReading {
    while (this.#message.length < this.#wanted()) {
      if (this.#left === 0) {
        const at = this.#at
        if (bytes.length - at < 5) {
          return at < bytes.length && bytes[at] !== handshakeRecord ? bad : { kind: 'more', bytes: at + 5 }
        }
        const length = number(bytes, at + 3, 2)
        if (bytes[at] !== handshakeRecord || bytes[at + 1] !== 3 || length === 0 || length > recordBytesMax) return bad
        this.#at += 5
        this.#left = length
      }
      const piece = bytes.subarray(this.#at, this.#at + this.#left)
      for (const byte of piece) this.#message.push(byte)
      this.#at += piece.length
      this.#left -= piece.length
      if (this.#message.length > 0 && this.#message[0] !== clientHello) return bad
      if (this.#left > 0 && this.#message.length < this.#wanted()) return { kind: 'more', bytes: this.#at + this.#left }
    }
    return readMessage(this.#message.slice(4, this.#wanted()))
  }

  /** The length of the message, as far as it is known. */
  #wanted(): number {
    return this.#message.length < 4 ? 4 : 4 + number(this.#message, 1, 3)
  }
}

function readMessage(body: readonly number[]): HelloReading {
  // Version and random, then three lists that say nothing here: session id, cipher suites, compression methods.
  let at = 34
  for (const lengthBytes of [1, 2, 1]) {
    if (body.length < at + lengthBytes) return bad
    at += lengthBytes + number(body, at, lengthBytes)
  }
  if (at === body.length) return { kind: 'hello', serverName: null }
  if (body.length < at + 2 || body.length !== at + 2 + number(body, at, 2)) return bad
  at += 2
  let name: HelloReading = { kind: 'hello', serverName: null }
  let seen = false
  while (at < body.length) {
    if (body.length < at + 4) return bad
    const type = number(body, at, 2)
    const end = at + 4 + number(body, at + 2, 2)
    if (end > body.length) return bad
    if (type === serverNameExtension) {
      if (seen) return bad
      seen = true
      name = readServerName(body.slice(at + 4, end))
      if (name.kind === 'bad') return bad
    }
    at = end
  }
  return name
}

/** A list of one name: RFC 6066 knows one kind, and forbids two of a kind. */
function readServerName(list: readonly number[]): HelloReading {
  if (list.length < 5 || number(list, 0, 2) !== list.length - 2) return bad
  if (list[2] !== hostNameType || number(list, 3, 2) !== list.length - 5) return bad
  const name = Buffer.from(list.slice(5)).toString('latin1').toLowerCase().replace(/\.$/, '')
  return namePattern.test(name) ? { kind: 'hello', serverName: name } : bad
}

function number(bytes: Uint8Array | readonly number[], at: number, length: number): number {
  let value = 0
  for (let i = at; i < at + length; i += 1) value = value * 256 + (bytes[i] ?? 0)
  return value
}

/** A fatal alert, as it stands before anything is encrypted. */
export function tlsAlert(description: keyof typeof alerts): Buffer {
  return Buffer.from([0x15, 3, 3, 0, 2, 2, alerts[description]])
}

const alerts = { 'internal-error': 80, 'unrecognized-name': 112, 'decode-error': 50 } as const
