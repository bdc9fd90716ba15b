/**
 * Packets in the form that Wireshark and tcpdump read: the classic file with nanoseconds, of packets that begin with their IP
 * header. Pure.
 */

/** A packet as it was seen. */
export interface Packet {
  /** Since 1970, by the kernel's clock when it passed. */
  readonly timeNs: bigint
  /** From its IP header on; cut short where it is longer than what is kept. */
  readonly bytes: Uint8Array
  /** How long it was. */
  readonly length: number
}

const magicNs = 0xa1b23c4d
const linkTypeRaw = 101
const recordHeadBytes = 16
const secondNs = 1_000_000_000n

/** The beginning of a file; `keptBytesMax` of a packet are kept at most. */
export function packetFileHead(keptBytesMax: number): Uint8Array {
  const head = Buffer.alloc(24)
  head.writeUInt32LE(magicNs, 0)
  head.writeUInt16LE(2, 4)
  head.writeUInt16LE(4, 6)
  head.writeUInt32LE(keptBytesMax, 16)
  head.writeUInt32LE(linkTypeRaw, 20)
  return head
}

/** One packet of a file. */
export function packetRecord({ timeNs, bytes, length }: Packet): Uint8Array {
  const record = Buffer.alloc(recordHeadBytes + bytes.length)
  record.writeUInt32LE(Number(timeNs / secondNs), 0)
  record.writeUInt32LE(Number(timeNs % secondNs), 4)
  record.writeUInt32LE(bytes.length, 8)
  record.writeUInt32LE(Math.max(length, bytes.length), 12)
  record.set(bytes, recordHeadBytes)
  return record
}

/** Whether it comes from a port or goes to it, by TCP or UDP, in IPv4 or IPv6 without extensions. */
export function hasPort(packet: Uint8Array, port: number): boolean {
  const version = (packet[0] ?? 0) >> 4
  if (version !== 4 && version !== 6) return false
  const [protocol, at] = version === 4 ? [packet[9], ((packet[0] ?? 0) & 0xf) * 4] : [packet[6], 40]
  // A later piece of a packet in pieces has no ports.
  if (version === 4 && (((packet[6] ?? 0) & 0x1f) | (packet[7] ?? 0)) !== 0) return false
  if ((protocol !== 6 && protocol !== 17) || packet.length < at + 4) return false
  const portAt = (from: number): number => ((packet[from] ?? 0) << 8) | (packet[from + 1] ?? 0)
  return portAt(at) === port || portAt(at + 2) === port
}

/** Whether it is of IP at all, and not what asks for addresses on a link. */
export function isIp(packet: Uint8Array): boolean {
  const version = (packet[0] ?? 0) >> 4
  return version === 4 || version === 6
}
