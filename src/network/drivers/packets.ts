/**
 * What is read of packets that instances send outside: filters that let only first packets pass, and where they went. Pure.
 */
import type { Attempt } from '../network.ts'

export const tcp = 6 as const
export const udp = 17 as const

/** Operations of classic BPF. */
const loadHeaderLength = 0xb1
const loadByteAt = 0x50
const and = 0x54
const ifEqual = 0x15
const end = 0x06

const flagsOffset = 13
const synAndAck = 0x12
const syn = 0x02
/** Enough of a packet for its addresses. */
const keptBytes = 128

/** Operation, value, and how many instructions are left out when it holds and when it does not. */
export type Instruction = readonly [op: number, k: number, onTrue?: number, onFalse?: number]

/** A filter (struct sock_filter, encoded). */
export function filterOf(program: readonly Instruction[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(program.map((one) => instruction(...one))))
}

function instruction(op: number, k: number, onTrue = 0, onFalse = 0): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt16LE(op, 0)
  bytes.writeUInt8(onTrue, 2)
  bytes.writeUInt8(onFalse, 3)
  bytes.writeUInt32LE(k, 4)
  return bytes
}

/** The filter for a protocol: of TCP what opens a stream, of UDP everything. The packet begins with its IP header. */
export function firstPackets(protocol: typeof tcp | typeof udp): Uint8Array {
  if (protocol === udp) return filterOf([[end, keptBytes]])
  return filterOf([
    [loadHeaderLength, 0],
    [loadByteAt, flagsOffset],
    [and, synAndAck],
    [ifEqual, syn, 0, 1],
    [end, keptBytes],
    [end, 0],
  ])
}

/** Where a packet went; null for what is none of ours. */
export function readAttempt(packet: Uint8Array): Attempt | null {
  const headerBytes = ((packet[0] ?? 0) & 0xf) * 4
  const protocol = packet[9] === tcp ? 'tcp' : packet[9] === udp ? 'udp' : null
  if (protocol === null || headerBytes < 20 || packet.length < headerBytes + 4) return null
  const port = ((packet[headerBytes + 2] ?? 0) << 8) | (packet[headerBytes + 3] ?? 0)
  return { protocol, address: packet.subarray(16, 20).join('.'), port }
}
