/**
 * The interface of network drivers: where instances' sockets live, and how streams get in and out.
 *
 * Every instance has a place of its own. Nothing leaves a place but through listeners that the agent opened inside it,
 * one for each edge the instance was given: what was not given is refused at once, because there is no route to it.
 * The agent carries the bytes from the listener to the target, so that draining, counting and encryption have a seat.
 */
import type { Socket as DatagramSocket } from 'node:dgram'
import type { Server, Socket } from 'node:net'
import type { Packet } from './packet-file.ts'

/** Where a stream can be opened to. Plain data: it travels in messages. */
export type Endpoint =
  /** A port inside the place of an instance on this node. `netns` is the inode of its network namespace, to notice a reused pid. */
  | { readonly kind: 'instance'; readonly pid: number; readonly netns: number; readonly port: number }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

export interface NetworkCapabilities {
  /** native: own namespace per instance; refused: instances share the host's network. */
  readonly isolation: 'native' | 'refused'
  /** native: what leaves an instance is told apart by name, and the rest is refused and seen; refused: it is not. */
  readonly egress: 'native' | 'refused'
  /** native: the rate at which an instance speaks with the outside can be held; refused: it cannot. */
  readonly rates: 'native' | 'refused'
  readonly weaker: readonly string[]
}

/** What was tried at an address outside: the first packet of a stream, or a datagram. */
export interface Attempt {
  readonly protocol: 'tcp' | 'udp'
  readonly address: string
  readonly port: number
}

/** What a link has carried. */
export interface Carried {
  readonly sentBytes: number
  readonly receivedBytes: number
}

/**
 * Every address that is not the instance's own, and nothing behind them: there this process answers for what the instance
 * was given outside. What nobody listens for is refused by the kernel at once.
 */
export interface Outside {
  /** Opens a listener at an address of the outside; `0.0.0.0` answers at all of them. A stream's local address is what the instance dialled. */
  listen(address: string, port: number, server: Server): Promise<void>
  /** Opens a datagram socket at an address of the outside. */
  datagrams(address: string, port: number): Promise<DatagramSocket>
  /** What was tried since the last call, also where somebody listens; of a flood only a part. */
  attempts(): readonly Attempt[]
  /** Bytes that went there and came from there since it was made. */
  carried(): Carried
  /** Holds what goes there, and what comes, to so many bits per second each; null: to none. Throws `network.no-rate`. */
  shape(bitsPerSecond: number | null): Promise<void>
}

/** What passes in a place, seen from now on. */
export interface Tap extends Disposable {
  /** What has passed since the last call; of a flood as much as is taken in one go. Never waits. */
  take(): readonly Packet[]
  /** Packets since the last call that there was no room for. */
  dropped(): number
}

/** The place of one instance. */
export interface Place extends Disposable {
  readonly name: string
  /** Null where the driver cannot tell what leaves. */
  readonly outside: Outside | null
  /** Runs a synchronous function with this place as the network of whatever it starts or opens. */
  enter<T>(run: () => T): T
  /** Opens a listener inside. `address` and `port` are what the instance dials; answers what it really is (drivers without isolation choose a free loopback port). */
  listen(address: string, port: number, server: Server): Promise<{ readonly address: string; readonly port: number }>
  /** How to reach `port` of the instance with process id `pid` that runs here. */
  endpoint(pid: number, port: number): Endpoint
  /** Watches everything that passes inside; null where the place shares the network of others, whose packets those are too. */
  tap(): Tap | null
  /** A port the instance should serve on: `wanted` where it has its own network, a free one where it does not. */
  servePort(wanted: number): Promise<number>
}

export interface NetworkDriver extends AsyncDisposable {
  readonly name: string
  readonly capabilities: NetworkCapabilities
  /** A fresh place, from the warm pool where there is one. */
  place(name: string): Promise<Place>
  /** The place of a running instance that an earlier supervisor made. Null when the process is gone. */
  adopt(name: string, pid: number): Promise<Place | null>
  /** Opens a stream to an endpoint. The socket connects as any Node socket does. */
  connect(endpoint: Endpoint): Socket
}

/** The addresses of edges inside every place: a prefix that belongs to the loopback of each namespace and to nobody outside. */
export const edgeNetwork: { readonly address: string; readonly prefixBits: number } = {
  address: '10.64.0.1',
  prefixBits: 16,
}

/** Address of the edge with the given number, from 1 to 65,000. Stable for a part of an app as long as the app lives. */
export function edgeAddress(number: number): string {
  const host = number + 1
  return `10.64.${host >> 8}.${host & 255}`
}
