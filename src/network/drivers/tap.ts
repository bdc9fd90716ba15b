/**
 * Everything that passes the interfaces of one network namespace, as the kernel hands it to whoever watches: an AF_PACKET socket
 * of our own, so that nothing has to be installed. Invariant: watching changes nothing; what there was no room for is counted.
 */
import { closeSync } from 'node:fs'
import type { Tap } from '../network.ts'
import type { Libc } from './libc.ts'
import { loopbackIndex } from './netlink.ts'
import { filterOf, type Instruction } from './packets.ts'

/** Bytes of packets that the kernel keeps for us. */
const bufferBytes = 16 * 1024 * 1024
/** Longest packet that is taken whole: the loopback carries some of 64 KiB and their headers. */
const packetBytesMax = 70_000
/** Packets that are taken in one go. */
const packetsMax = 2000

/** Operations of classic BPF, and the places at which the kernel says more of a packet than is in it. */
const loadWord = 0x20
const ifEqual = 0x15
const end = 0x06
const extra = 0xffff_f000
const kindOfPacket = extra + 4
const interfaceOfPacket = extra + 8
/** Of a packet on its way out. */
const outgoing = 4

/** On the loopback each packet goes out and comes in: once is enough. */
const onceOnLoopback: readonly Instruction[] = [
  [loadWord, interfaceOfPacket],
  [ifEqual, loopbackIndex, 0, 2],
  [loadWord, kindOfPacket],
  [ifEqual, outgoing, 1, 0],
  [end, packetBytesMax],
  [end, 0],
]

/** Watches the namespace behind a descriptor from now on. Throws `network.system-call`. */
export function openTap(libc: Libc, netnsFd: number): Tap {
  const fd = libc.inside(netnsFd, () => libc.tapSocket(filterOf(onceOnLoopback), bufferBytes))
  const into = new ArrayBuffer(packetBytesMax)
  let open = true
  return {
    take() {
      const packets = []
      while (open && packets.length < packetsMax) {
        const got = libc.receiveStamped(fd, into)
        if (got === null) break
        const bytes = new Uint8Array(into.slice(0, Math.min(got.length, packetBytesMax)))
        packets.push({ timeNs: got.timeNs, bytes, length: got.length })
      }
      return packets
    },
    dropped: () => (open ? libc.dropped(fd) : 0),
    [Symbol.dispose]() {
      if (open) closeSync(fd)
      open = false
    },
  }
}
