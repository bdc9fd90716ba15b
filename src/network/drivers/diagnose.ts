/**
 * Messages to the kernel's diagnosis of sockets (sock_diag): which streams there are in a namespace, and the order to break
 * some of them off. Pure.
 *
 * Why: when the outside of a running program is made anew, its open streams there lead nowhere. One that only waits to
 * read would wait for ever; broken off, it is told at once.
 */

const NLM_F_REQUEST = 0x1
const NLM_F_ACK = 0x4
const NLM_F_DUMP = 0x300
const SOCK_DIAG_BY_FAMILY = 20
const SOCK_DESTROY = 21
const NLMSG_DONE = 3
const IPPROTO_TCP = 6
const headerBytes = 16
/** Where the addresses of a socket begin in a question and in an answer; their shape is the same. */
const questionIdOffset = 8
const answerIdOffset = 4
const idBytes = 48
const questionBytes = questionIdOffset + idBytes
/** All states but that of a listener. */
const streamStates = 0xfff & ~(1 << 10)

export const families = { ip4: 2, ip6: 10 } as const

function message(type: number, flags: number, family: number, id: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(headerBytes + questionBytes)
  bytes.writeUInt32LE(bytes.length, 0)
  bytes.writeUInt16LE(type, 4)
  bytes.writeUInt16LE(NLM_F_REQUEST | flags, 6)
  bytes.writeUInt8(family, headerBytes)
  bytes.writeUInt8(IPPROTO_TCP, headerBytes + 1)
  bytes.writeUInt32LE(streamStates, headerBytes + 4)
  bytes.set(id, headerBytes + questionIdOffset)
  return bytes
}

/** Asks for all TCP streams of a family. */
export function listStreams(family: number): Uint8Array {
  return message(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, family, new Uint8Array(idBytes))
}

/** Breaks a stream off: whoever reads or writes it is told so. */
export function breakOff({ family, id }: Stream): Uint8Array {
  return message(SOCK_DESTROY, NLM_F_ACK, family, id)
}

export interface Stream {
  readonly family: number
  /** The kernel's own words for it. */
  readonly id: Uint8Array
  /** IPv4, also where it was dialled in the clothes of IPv6; null for what is IPv6. */
  readonly remote: string | null
}

/** The streams in a piece of the answer, and whether it was the last. */
export function readStreams(bytes: Uint8Array): { readonly streams: readonly Stream[]; readonly done: boolean } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const streams: Stream[] = []
  for (let at = 0; at + headerBytes <= bytes.length;) {
    const type = view.getUint16(at + 4, true)
    if (type !== SOCK_DIAG_BY_FAMILY) return { streams, done: type === NLMSG_DONE || type === 2 }
    const start = at + headerBytes
    const family = bytes[start] ?? 0
    const id = bytes.slice(start + answerIdOffset, start + answerIdOffset + idBytes)
    streams.push({ family, id, remote: remoteOf(family, id.subarray(20, 36)) })
    at += Math.max(headerBytes, (view.getUint32(at, true) + 3) & ~3)
  }
  return { streams, done: false }
}

function remoteOf(family: number, address: Uint8Array): string | null {
  if (family === families.ip4) return address.subarray(0, 4).join('.')
  const mapped = address.subarray(0, 10).every((byte) => byte === 0) && address[10] === 0xff && address[11] === 0xff
  return mapped ? address.subarray(12, 16).join('.') : null
}
