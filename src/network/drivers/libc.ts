/**
 * The few C library calls that network namespaces need, through node:ffi: no helper binary, no process per namespace.
 *
 * Invariant: a thread that enters a namespace is back in its own before control returns to the event loop; when the way
 * back fails the process ends at once, because everything it opened afterwards would be in the wrong network.
 */
import { closeSync, fstatSync, openSync } from 'node:fs'
import { getSystemErrorMessage } from 'node:util'
import { isSteadError, SteadError, systemCodeOf } from '../../base/index.ts'
import { breakOff, families, listStreams, readStreams, type Stream } from './diagnose.ts'
import { readAnswers } from './netlink.ts'

const CLONE_NEWNET = 0x40000000
const AF_INET = 2
const AF_INET6 = 10
const AF_NETLINK = 16
const AF_PACKET = 17
/** All protocols, in the order of the network. */
const ETH_P_ALL = 0x0300
const SOL_PACKET = 263
const PACKET_STATISTICS = 6
const NETLINK_ROUTE = 0
const NETLINK_SOCK_DIAG = 4
const SOCK_STREAM = 1
const SOCK_DGRAM = 2
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const SOCK_NONBLOCK = 0o4000
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_REUSEPORT = 15
const SO_ATTACH_FILTER = 26
const SO_RCVBUFFORCE = 33
const SO_TIMESTAMPNS = 35
const IPPROTO_IP = 0
const IP_FREEBIND = 15
const MSG_TRUNC = 0x20
const MSG_DONTWAIT = 0x40
const LISTEN_BACKLOG = 511

const THREAD_NETNS = '/proc/thread-self/ns/net'

/** What this file offers once the C library is open. Errors are `network.system-call`. */
export interface Libc {
  /** Runs `run` with the calling thread in the namespace behind the descriptor. `run` must be synchronous. */
  inside<T>(netnsFd: number, run: () => T): T
  /** A new namespace, in which `prepare` has run. Answers an open descriptor. */
  createNamespace(prepare: () => void): number
  /** Sends messages (see netlink.ts) to the kernel's routing socket of the calling thread's namespace. Throws for the first that is refused. */
  route(what: string, messages: readonly Uint8Array[]): void
  /** Breaks off the TCP streams of the calling thread's namespace that `which` picks. Does nothing where the kernel cannot. */
  breakOff(which: (stream: Stream) => boolean): void
  /** A listening TCP socket in the calling thread's namespace, as a descriptor. `::` takes IPv4 too where the machine allows it. `foreign`: the address need not be its own. */
  listeningSocket(address: string, port: number, foreign?: 'foreign'): number
  /** A UDP socket in the calling thread's namespace at an address that need not be its own, as a descriptor. */
  datagramSocket(address: string, port: number, bufferBytes: number): number
  /** A socket that gets a copy of every packet of an IP protocol that arrives in the calling thread's namespace and that the filter (struct sock_filter, encoded) lets pass. */
  packetSocket(protocol: number, filter: Uint8Array, bufferBytes: number): number
  /** A socket that gets a copy of every packet of the calling thread's namespace which the filter lets pass, from its IP header on, with the time. */
  tapSocket(filter: Uint8Array, bufferBytes: number): number
  /** Takes one packet of a `tapSocket`, with its whole length and its time in nanoseconds since 1970; null when there is none. Never waits. */
  receiveStamped(fd: number, into: ArrayBuffer): { readonly length: number; readonly timeNs: bigint } | null
  /** Packets that a `tapSocket` had no room for since this was last asked. */
  dropped(fd: number): number
  /** Takes one packet from a socket; answers its length, or null when there is none. Never waits. */
  receive(fd: number, into: ArrayBuffer): number | null
  /** An unconnected TCP socket in the calling thread's namespace, as a descriptor. */
  plainSocket(): number
}

/** Opens the C library, or says why it cannot: not Linux, no node:ffi, no right to change namespaces. */
export function openLibc(): Libc | { readonly reason: string } {
  if (process.platform !== 'linux') return { reason: `network namespaces need Linux, this is ${process.platform}` }
  if (process.getuid?.() !== 0) return { reason: 'network namespaces need root' }
  const ffi = loadFfi()
  if (ffi === null) return { reason: `network namespaces need Node 26 (node:ffi), this is ${process.version}` }

  const { functions: c } = ffi.dlopen('libc.so.6', {
    setns: { return: 'i32', arguments: ['i32', 'i32'] },
    unshare: { return: 'i32', arguments: ['i32'] },
    socket: { return: 'i32', arguments: ['i32', 'i32', 'i32'] },
    bind: { return: 'i32', arguments: ['i32', 'pointer', 'u32'] },
    listen: { return: 'i32', arguments: ['i32', 'i32'] },
    setsockopt: { return: 'i32', arguments: ['i32', 'i32', 'i32', 'pointer', 'u32'] },
    send: { return: 'i64', arguments: ['i32', 'pointer', 'u64', 'i32'] },
    recv: { return: 'i64', arguments: ['i32', 'pointer', 'u64', 'i32'] },
    recvmsg: { return: 'i64', arguments: ['i32', 'pointer', 'i32'] },
    getsockopt: { return: 'i32', arguments: ['i32', 'i32', 'i32', 'pointer', 'pointer'] },
    __errno_location: { return: 'pointer', arguments: [] },
  })
  const home = openSync(THREAD_NETNS, 'r')

  const refuse = (what: string, errno: number): never => {
    throw new SteadError({
      code: 'network.system-call',
      message: `${what} failed: ${getSystemErrorMessage(-errno)}`,
      hint: 'The machine may forbid network namespaces: see `stead doctor`.',
      cause: errno,
    })
  }

  const check = (what: string, result: number): number =>
    result >= 0 ? result : refuse(what, ffi.getInt32(c.__errno_location()))

  const goHome = (): void => {
    if (c.setns(home, CLONE_NEWNET) !== 0) process.abort()
  }

  /** Makes a socket and gives it to `prepare`; closes it when that fails. */
  const withSocket = (type: number, prepare: (fd: number) => void, family = AF_INET, protocol = 0): number => {
    const fd = check('socket', c.socket(family, type | SOCK_CLOEXEC, protocol))
    try {
      prepare(fd)
      return fd
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  const setNumber = (fd: number, level: number, option: number, value: number): void => {
    check('setsockopt', c.setsockopt(fd, level, option, new Int32Array([value]).buffer, 4))
  }

  const bindTo = (fd: number, address: string, port: number): void => {
    const where = address.includes(':') ? socketAddress6(address, port) : socketAddress(address, port)
    check(`binding ${address} port ${port}`, c.bind(fd, where, where.byteLength))
  }

  const setFilter = (fd: number, filter: Uint8Array): void => {
    // struct sock_fprog: the number of instructions, and where they are.
    const program = new DataView(new ArrayBuffer(16))
    program.setUint16(0, filter.length / 8, true)
    program.setBigUint64(8, ffi.getRawPointer(filter), true)
    check('filtering packets', c.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program.buffer, 16))
  }

  const exchange = (fd: number, what: string, messages: readonly Uint8Array[]): void => {
    const bytes = Uint8Array.from(Buffer.concat(messages))
    check(what, Number(c.send(fd, bytes.buffer, BigInt(bytes.length), 0)))
    const answer = new Uint8Array(8192)
    for (let left = messages.length; left > 0;) {
      // The kernel has answered by the time it has taken the messages: this does not wait.
      const length = check(what, Number(c.recv(fd, answer.buffer, BigInt(answer.length), MSG_DONTWAIT)))
      const { answered, errors } = readAnswers(answer.subarray(0, length))
      const [error] = errors
      if (error !== undefined) refuse(what, error)
      left -= answered
    }
  }

  const streamsOf = (fd: number, family: number): Stream[] => {
    const question = Uint8Array.from(listStreams(family))
    check('asking for streams', Number(c.send(fd, question.buffer, BigInt(question.length), 0)))
    const piece = new Uint8Array(32_768)
    const found: Stream[] = []
    for (;;) {
      const length = check('listing streams', Number(c.recv(fd, piece.buffer, BigInt(piece.length), MSG_DONTWAIT)))
      const { streams, done } = readStreams(piece.subarray(0, length))
      found.push(...streams)
      if (done) return found
    }
  }

  return {
    inside(netnsFd, run) {
      check('entering a network namespace', c.setns(netnsFd, CLONE_NEWNET))
      try {
        return run()
      } finally {
        goHome()
      }
    },
    createNamespace(prepare) {
      check('making a network namespace', c.unshare(CLONE_NEWNET))
      try {
        prepare()
        return openSync(THREAD_NETNS, 'r')
      } finally {
        goHome()
      }
    },
    route(what, messages) {
      closeSync(withSocket(SOCK_RAW, (fd) => exchange(fd, what, messages), AF_NETLINK, NETLINK_ROUTE))
    },
    breakOff(which) {
      // Not built into every kernel, and a stream may have ended by itself meanwhile.
      const attempt = (work: () => void): void => {
        try {
          work()
        } catch (error) {
          if (!isSteadError(error)) throw error
        }
      }
      const work = (fd: number): void => {
        const found = [families.ip4, families.ip6].flatMap((family) => streamsOf(fd, family)).filter(which)
        for (const stream of found) attempt(() => exchange(fd, 'breaking a stream off', [breakOff(stream)]))
      }
      attempt(() => closeSync(withSocket(SOCK_RAW, work, AF_NETLINK, NETLINK_SOCK_DIAG)))
    },
    listeningSocket(address, port, foreign) {
      const prepare = (fd: number): void => {
        setNumber(fd, SOL_SOCKET, SO_REUSEADDR, 1)
        // A successor listens beside us before we let go.
        setNumber(fd, SOL_SOCKET, SO_REUSEPORT, 1)
        if (foreign !== undefined) setNumber(fd, IPPROTO_IP, IP_FREEBIND, 1)
        bindTo(fd, address, port)
        check('listen', c.listen(fd, LISTEN_BACKLOG))
      }
      return withSocket(SOCK_STREAM | SOCK_NONBLOCK, prepare, address.includes(':') ? AF_INET6 : AF_INET)
    },
    datagramSocket(address, port, bufferBytes) {
      return withSocket(SOCK_DGRAM | SOCK_NONBLOCK, (fd) => {
        setNumber(fd, IPPROTO_IP, IP_FREEBIND, 1)
        setNumber(fd, SOL_SOCKET, SO_RCVBUFFORCE, bufferBytes)
        bindTo(fd, address, port)
      })
    },
    packetSocket(protocol, filter, bufferBytes) {
      const prepare = (fd: number): void => {
        setNumber(fd, SOL_SOCKET, SO_RCVBUFFORCE, bufferBytes)
        setFilter(fd, filter)
      }
      return withSocket(SOCK_RAW | SOCK_NONBLOCK, prepare, AF_INET, protocol)
    },
    tapSocket(filter, bufferBytes) {
      const prepare = (fd: number): void => {
        setNumber(fd, SOL_SOCKET, SO_RCVBUFFORCE, bufferBytes)
        setNumber(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1)
        setFilter(fd, filter)
        // Only now does it get any: what came before the filter would pass.
        check('watching packets', c.bind(fd, everyInterface(), everyInterface().byteLength))
      }
      return withSocket(SOCK_DGRAM | SOCK_NONBLOCK, prepare, AF_PACKET)
    },
    receiveStamped(fd, into) {
      // struct msghdr: no address, one place for the packet (struct iovec), and one for what is said beside it.
      const [place, beside, head] = [new BigUint64Array(2), new ArrayBuffer(64), new BigUint64Array(7)]
      place[0] = ffi.getRawPointer(into)
      place[1] = BigInt(into.byteLength)
      head[2] = ffi.getRawPointer(place)
      head[3] = 1n
      head[4] = ffi.getRawPointer(beside)
      head[5] = BigInt(beside.byteLength)
      const length = Number(c.recvmsg(fd, head.buffer, MSG_DONTWAIT | MSG_TRUNC))
      return length < 0 ? null : { length, timeNs: timeIn(beside) }
    },
    dropped(fd) {
      const [counts, size] = [new Uint32Array(2), new Uint32Array([8])]
      check('counting packets', c.getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, counts.buffer, size.buffer))
      return counts[1] ?? 0
    },
    receive(fd, into) {
      const length = Number(c.recv(fd, into, BigInt(into.byteLength), MSG_DONTWAIT))
      return length < 0 ? null : length
    },
    plainSocket() {
      return withSocket(SOCK_STREAM | SOCK_NONBLOCK, () => {})
    },
  }
}

/** The network namespace of a process as an open descriptor with its inode, or null when the process is gone. */
export function openNamespaceOf(pid: number): { fd: number; inode: number } | null {
  try {
    const fd = openSync(`/proc/${pid}/ns/net`, 'r')
    return { fd, inode: fstatSync(fd).ino }
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ESRCH') return null
    throw error
  }
}

function loadFfi(): typeof import('node:ffi') | null {
  // Absent before Node 26, and there a static import would keep the whole program from starting.
  return process.getBuiltinModule('node:ffi') ?? null
}

/** struct sockaddr_ll of no interface in particular, and of all protocols. */
function everyInterface(): ArrayBuffer {
  const view = new DataView(new ArrayBuffer(20))
  view.setUint16(0, AF_PACKET, true)
  view.setUint16(2, ETH_P_ALL, true)
  return view.buffer
}

/** The time beside a packet: struct cmsghdr, then seconds and nanoseconds. */
function timeIn(beside: ArrayBuffer): bigint {
  const view = new DataView(beside)
  const isTime = view.getInt32(8, true) === SOL_SOCKET && view.getInt32(12, true) === SO_TIMESTAMPNS
  return isTime ? view.getBigInt64(16, true) * 1_000_000_000n + view.getBigInt64(24, true) : 0n
}

/** struct sockaddr_in. */
function socketAddress(address: string, port: number): ArrayBuffer {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, AF_INET, true)
  view.setUint16(2, port, false)
  bytes.set(address.split('.').map(Number), 4)
  return bytes.buffer
}

/** struct sockaddr_in6. Takes `::` and `::1`, all that is listened on. */
function socketAddress6(address: string, port: number): ArrayBuffer {
  const bytes = new Uint8Array(28)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, AF_INET6, true)
  view.setUint16(2, port, false)
  if (address === '::1') bytes[23] = 1
  return bytes.buffer
}
