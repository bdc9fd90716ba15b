/**
 * The outside of one place: a second namespace, joined to the first by a pair of links, in which every address there is
 * has arrived. It has no other link, so nothing leads on from it; this process listens in it for what was given.
 *
 * Why a second one: listeners in the instance's own would take ports from its program, and a program would meet itself
 * at every foreign address.
 *
 * Invariant: it lives as long as this process holds it open. When this process dies the pair is gone, and the instance
 * has no route to anywhere until it is made anew.
 */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram'
import { once } from 'node:events'
import { closeSync, readFileSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:net'
import { isSteadError } from '../../base/index.ts'
import { type Attempt, type Carried, edgeNetwork, type Outside } from '../network.ts'
import type { Libc } from './libc.ts'
import { listenOn } from './listen.ts'
import { linkGone, linkUp, loopbackIndex, newPair, newRoute, pairIndex } from './netlink.ts'
import { shapeLink } from './shape.ts'
import { firstPackets, readAttempt, tcp, udp } from './packets.ts'

/** Packets that may wait to be looked at; what comes faster is not seen. */
const bufferBytes = 128 * 1024
/** Datagrams that may wait to be answered: about a thousand small ones, so that even a burst is answered at once. */
const datagramsBytes = 1024 * 1024
/** Attempts taken at once. */
const attemptsMax = 256
const packetBytes = 128

const ENODEV = 19

/** Makes the outside of the namespace behind a descriptor, and answers its own descriptor. Throws `network.system-call`. */
export function createOutsideNamespace(libc: Libc, insideFd: number): number {
  const fd = libc.createNamespace(() => {
    withoutIpv6()
    // Refusals of datagrams are to come at once and always, not a few each second.
    writeSetting('ipv4/icmp_ratelimit', '0')
    libc.route('raising the loopback', [linkUp(loopbackIndex)])
  })
  try {
    libc.inside(insideFd, () => {
      withoutIpv6()
      libc.route('making a pair of links', [newPair(ends.inside, ends.outside, fd)])
      const route = newRoute({ destination: null, index: pairIndex.here, kind: 'unicast', source: edgeNetwork.address })
      libc.route('opening the way to the outside', [linkUp(pairIndex.here), route])
    })
    libc.inside(fd, () => {
      const everything = newRoute({ destination: null, index: loopbackIndex, kind: 'local' })
      const back = newRoute({ destination: edgeNetwork.address, index: pairIndex.there, kind: 'unicast' })
      libc.route('making the outside', [linkUp(pairIndex.there), everything, back])
    })
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/**
 * Takes away what an earlier supervisor left of an outside, if the kernel has not done so yet, and breaks off the streams
 * that led there.
 */
export function removeOutside(libc: Libc, insideFd: number): void {
  libc.inside(insideFd, () => libc.breakOff(({ remote }) => remote !== null && !isInside(remote)))
  try {
    libc.inside(insideFd, () => libc.route('taking a pair of links away', [linkGone(pairIndex.here)]))
  } catch (error) {
    if (!isSteadError(error) || error.cause !== ENODEV) throw error
  }
}

/** The names of the two ends: inside, of the link that leads outside, and the other way round. */
const ends = { inside: 'outside', outside: 'inside' } as const

/** The link to the outside, as it is called inside. */
export const linkOutside: string = ends.inside

/** The outside in the namespace behind a descriptor, which it closes; `insideFd` is another's. */
export class OutsideNamespace implements Outside, Disposable {
  readonly #libc: Libc
  readonly #fd: number
  readonly #insideFd: number
  #shaped = false
  readonly #packet = new ArrayBuffer(packetBytes)
  #watchers: readonly number[] | null = null
  #open = true

  constructor(libc: Libc, fd: number, insideFd: number) {
    this.#libc = libc
    this.#fd = fd
    this.#insideFd = insideFd
  }

  async listen(address: string, port: number, server: Server): Promise<void> {
    const fd = this.#libc.inside(this.#fd, () => this.#libc.listeningSocket(address, port, 'foreign'))
    await listenOn(server, { fd })
  }

  async datagrams(address: string, port: number): Promise<DatagramSocket> {
    const fd = this.#libc.inside(this.#fd, () => this.#libc.datagramSocket(address, port, datagramsBytes))
    const socket = createSocket('udp4')
    const listening = once(socket, 'listening')
    socket.bind({ fd })
    await listening
    return socket
  }

  attempts(): readonly Attempt[] {
    if (!this.#open) return []
    this.#watchers ??= this.#libc.inside(this.#fd, () =>
      ([tcp, udp] as const).map((protocol) => this.#libc.packetSocket(protocol, firstPackets(protocol), bufferBytes)),
    )
    const found: Attempt[] = []
    for (const watcher of this.#watchers) {
      for (let looks = 0; looks < attemptsMax; looks += 1) {
        const length = this.#libc.receive(watcher, this.#packet)
        if (length === null) break
        const attempt = readAttempt(new Uint8Array(this.#packet, 0, Math.min(length, packetBytes)))
        if (attempt !== null) found.push(attempt)
      }
    }
    return found
  }

  carried(): Carried {
    if (!this.#open) return { sentBytes: 0, receivedBytes: 0 }
    return carriedBy(
      ends.inside,
      this.#libc.inside(this.#insideFd, () => readFileSync(linksFile, 'latin1')),
    )
  }

  async shape(bitsPerSecond: number | null): Promise<void> {
    if (!this.#open || (bitsPerSecond === null && !this.#shaped)) return
    this.#shaped = bitsPerSecond !== null
    await shapeLink(ends.inside, bitsPerSecond, (run) => this.#libc.inside(this.#insideFd, run))
    if (this.#open) await shapeLink(ends.outside, bitsPerSecond, (run) => this.#libc.inside(this.#fd, run))
  }

  [Symbol.dispose](): void {
    if (!this.#open) return
    this.#open = false
    for (const fd of [this.#fd, ...(this.#watchers ?? [])]) closeSync(fd)
  }
}

/** Of the thread that reads it: what each of its links has carried. */
const linksFile = '/proc/thread-self/net/dev'

/** What a link has carried, by a table of the kernel; nothing where there is no such link. */
function carriedBy(link: string, table: string): Carried {
  const line = table.split('\n').find((one) => one.trimStart().startsWith(`${link}:`)) ?? ''
  const numbers = line
    .slice(line.indexOf(':') + 1)
    .trim()
    .split(/ +/)
    .map(Number)
  return { sentBytes: numbers[8] ?? 0, receivedBytes: numbers[0] ?? 0 }
}

/** Whether an address is the instance's own: of its loopback, or of an edge. */
function isInside(address: string): boolean {
  const edges = edgeNetwork.address.split('.').slice(0, 2).join('.')
  return address.startsWith('127.') || address.startsWith(`${edges}.`)
}

/** Only IPv4 is spoken with the outside: links made from now on in this namespace get no IPv6 address. */
function withoutIpv6(): void {
  writeSetting('ipv6/conf/default/disable_ipv6', '1')
}

/** A setting of the calling thread's namespace. One that the kernel does not have, or holds closed, stays as it is. */
export function writeSetting(name: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/net/${name}`, value)
  } catch {
    // None of them is what keeps anything apart.
  }
}
