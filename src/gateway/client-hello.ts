/**
 * The first message of TLS, read without ending the TLS, pure: which server the client asks for (SNI, RFC 6066). It may come
 * in several records and in any pieces. Invariant: no length that is written in it is believed beyond the bytes that are
 * there, and what is not a ClientHello by the letter is `bad`, never guessed at.
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

/** Reads what a client has sent so far. */
export function readClientHello(bytes: Uint8Array): HelloReading {
  const message: number[] = []
  let at = 0
  let wanted = 4
  while (message.length < wanted) {
    if (bytes.length - at < 5) {
      return at < bytes.length && bytes[at] !== handshakeRecord ? bad : { kind: 'more', bytes: at + 5 }
    }
    const length = number(bytes, at + 3, 2)
    if (bytes[at] !== handshakeRecord || bytes[at + 1] !== 3 || length === 0 || length > recordBytesMax) return bad
    const end = at + 5 + length
    for (const byte of bytes.subarray(at + 5, end)) message.push(byte)
    if (message.length > 0 && message[0] !== clientHello) return bad
    if (message.length >= 4) wanted = 4 + number(message, 1, 3)
    if (bytes.length < end && message.length < wanted) return { kind: 'more', bytes: end }
    at = end
  }
  return readMessage(message.slice(4, wanted))
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
