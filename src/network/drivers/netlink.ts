/**
 * Messages to the kernel's routing socket (rtnetlink): the few that places are made of. Pure.
 *
 * Invariant: every message asks for an acknowledgement, so that who sends them hears of each refusal.
 */

const NLM_F_REQUEST = 0x1
const NLM_F_ACK = 0x4
const NLM_F_EXCL = 0x200
const NLM_F_CREATE = 0x400
const RTM_NEWLINK = 16
const RTM_DELLINK = 17
const RTM_NEWADDR = 20
const RTM_NEWROUTE = 24
const AF_INET = 2
const IFF_UP = 0x1
const IFF_NOARP = 0x80
const IFLA_ADDRESS = 1
const IFLA_IFNAME = 3
const IFLA_LINKINFO = 18
const IFLA_NET_NS_FD = 28
const IFLA_INFO_KIND = 1
const IFLA_INFO_DATA = 2
const VETH_INFO_PEER = 1
const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const RTA_DST = 1
const RTA_OIF = 4
const RTA_PREFSRC = 7
const RT_TABLE_MAIN = 254
const RTPROT_STATIC = 4
const scopes = { unicast: 253, local: 254 } as const
const routeTypes = { unicast: 1, local: 2 } as const

const headerBytes = 16

/** The number of every namespace's loopback. */
export const loopbackIndex = 1

/**
 * The numbers of the ends of a pair, each in its own namespace: far from those the kernel counts up from. They differ: of an
 * end with the number of its other the kernel takes a second to notice that it is up.
 */
export const pairIndex = { here: 1000, there: 1001 } as const

/** Both ends have this hardware address: then neither has to be asked for, and no answer can be late. */
const pairAddress = Uint8Array.of(2, 0, 0, 0, 0, 1)

function align(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([bytes, new Uint8Array((4 - (bytes.length % 4)) % 4)])
}

function number32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function attribute(type: number, data: Uint8Array): Uint8Array {
  const head = Buffer.alloc(4)
  head.writeUInt16LE(4 + data.length, 0)
  head.writeUInt16LE(type, 2)
  return align(Buffer.concat([head, data]))
}

function message(type: number, flags: number, ...body: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(body)
  const head = Buffer.alloc(headerBytes)
  head.writeUInt32LE(headerBytes + content.length, 0)
  head.writeUInt16LE(type, 4)
  head.writeUInt16LE(NLM_F_REQUEST | NLM_F_ACK | flags, 6)
  return align(Buffer.concat([head, content]))
}

/** struct ifinfomsg. */
function linkHead(index: number, flags: number): Uint8Array {
  const bytes = Buffer.alloc(16)
  bytes.writeInt32LE(index, 4)
  bytes.writeUInt32LE(flags, 8)
  bytes.writeUInt32LE(flags, 12)
  return bytes
}

function octets(address: string): Uint8Array {
  return Uint8Array.from(address.split('.').map(Number))
}

/** Brings a link up. */
export function linkUp(index: number): Uint8Array {
  return message(RTM_NEWLINK, 0, linkHead(index, IFF_UP))
}

/** Takes a link away, with its other end. */
export function linkGone(index: number): Uint8Array {
  return message(RTM_DELLINK, 0, linkHead(index, 0))
}

/** Gives a link an address and the network around it. */
export function newAddress(index: number, address: string, prefixBits: number): Uint8Array {
  const head = Buffer.from([AF_INET, prefixBits, 0, 0, 0, 0, 0, 0])
  head.writeUInt32LE(index, 4)
  const own = octets(address)
  return message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, head, attribute(IFA_LOCAL, own), attribute(IFA_ADDRESS, own))
}

/** A pair of links, one end here, the other in the namespace behind a descriptor; both are still down. */
export function newPair(name: string, peerName: string, peerNamespace: number): Uint8Array {
  const text = (value: string): Uint8Array => Buffer.from(`${value}\0`)
  const address = attribute(IFLA_ADDRESS, pairAddress)
  const peer = Buffer.concat([
    linkHead(pairIndex.there, IFF_NOARP),
    address,
    attribute(IFLA_IFNAME, text(peerName)),
    attribute(IFLA_NET_NS_FD, number32(peerNamespace)),
  ])
  const kind = [attribute(IFLA_INFO_KIND, text('veth')), attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer))]
  return message(
    RTM_NEWLINK,
    NLM_F_CREATE | NLM_F_EXCL,
    linkHead(pairIndex.here, IFF_NOARP),
    address,
    attribute(IFLA_IFNAME, text(name)),
    attribute(IFLA_LINKINFO, Buffer.concat(kind)),
  )
}

export interface NewRoute {
  /** Null: every address that no other route names. */
  readonly destination: string | null
  readonly index: number
  /** local: what is sent there has arrived. */
  readonly kind: keyof typeof routeTypes
  readonly source?: string
}

/** A route to one address, or to all. */
export function newRoute({ destination, index, kind, source }: NewRoute): Uint8Array {
  const prefixBits = destination === null ? 0 : 32
  const head = Uint8Array.of(AF_INET, prefixBits, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scopes[kind], routeTypes[kind])
  return message(
    RTM_NEWROUTE,
    NLM_F_CREATE | NLM_F_EXCL,
    head,
    new Uint8Array(4),
    ...(destination === null ? [] : [attribute(RTA_DST, octets(destination))]),
    attribute(RTA_OIF, number32(index)),
    ...(source === undefined ? [] : [attribute(RTA_PREFSRC, octets(source))]),
  )
}

/** The refusals in what the kernel answered, as errno values, and how many messages it answered. */
export function readAnswers(bytes: Uint8Array): { readonly answered: number; readonly errors: readonly number[] } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const errors: number[] = []
  let answered = 0
  for (let at = 0; at + headerBytes + 4 <= bytes.length;) {
    const error = -view.getInt32(at + headerBytes, true)
    if (error !== 0) errors.push(error)
    answered += 1
    at += Math.max(headerBytes, (view.getUint32(at, true) + 3) & ~3)
  }
  return { answered, errors }
}
