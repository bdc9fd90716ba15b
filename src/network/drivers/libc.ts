/**
 * The few C library calls that network namespaces need, through node:ffi: no helper binary, no process per namespace.
 *
 * Invariant: a thread that enters a namespace is back in its own before control returns to the event loop; when the way
 * back fails the process ends at once, because everything it opened afterwards would be in the wrong network.
 */
import { closeSync, fstatSync, openSync } from 'node:fs'
import { getSystemErrorMessage } from 'node:util'
import { SteadError, systemCodeOf } from '../../base/index.ts'

const CLONE_NEWNET = 0x40000000
const AF_INET = 2
const AF_INET6 = 10
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0o2000000
const SOCK_NONBLOCK = 0o4000
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_REUSEPORT = 15
const SIOCSIFFLAGS = 0x8914n
const SIOCSIFADDR = 0x8916n
const SIOCSIFNETMASK = 0x891cn
const IFF_UP = 0x1
const IFF_RUNNING = 0x40
const LISTEN_BACKLOG = 511

const THREAD_NETNS = '/proc/thread-self/ns/net'

/** What this file offers once the C library is open. Errors are `network.system-call`. */
export interface Libc {
  /** Runs `run` with the calling thread in the namespace behind the descriptor. `run` must be synchronous. */
  inside<T>(netnsFd: number, run: () => T): T
  /** A new namespace whose loopback is up and owns `prefix` (an address with its mask, such as 10.64.0.1/16). Answers an open descriptor. */
  createNamespace(address: string, mask: string): number
  /** A listening TCP socket in the calling thread's namespace, as a descriptor. `::` takes IPv4 too where the machine allows it. */
  listeningSocket(address: string, port: number): number
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
    ioctl: { return: 'i32', arguments: ['i32', 'u64', 'pointer'] },
    __errno_location: { return: 'pointer', arguments: [] },
  })
  const home = openSync(THREAD_NETNS, 'r')

  const check = (what: string, result: number): number => {
    if (result >= 0) return result
    const errno = ffi.getInt32(c.__errno_location())
    throw new SteadError({
      code: 'network.system-call',
      message: `${what} failed: ${getSystemErrorMessage(-errno)}`,
      hint: 'The machine may forbid network namespaces: see `stead doctor`.',
      cause: errno,
    })
  }

  const goHome = (): void => {
    if (c.setns(home, CLONE_NEWNET) !== 0) process.abort()
  }

  /** Makes a socket and gives it to `prepare`; closes it when that fails. */
  const withSocket = (flags: number, prepare: (fd: number) => void, family = AF_INET): number => {
    const fd = check('socket', c.socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0))
    try {
      prepare(fd)
      return fd
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  const raiseLoopback = (address: string, mask: string): void => {
    const fd = withSocket(0, (socket) => {
      const request = (name: string, fill: (bytes: Uint8Array, view: DataView) => void): ArrayBuffer => {
        const bytes = new Uint8Array(40)
        bytes.set(Buffer.from(name))
        fill(bytes, new DataView(bytes.buffer))
        return bytes.buffer
      }
      const inet = (text: string): ArrayBuffer =>
        request('lo:0', (bytes, view) => {
          view.setUint16(16, AF_INET, true)
          bytes.set(text.split('.').map(Number), 20)
        })
      const flags = request('lo', (_bytes, view) => view.setUint16(16, IFF_UP | IFF_RUNNING, true))
      check('raising the loopback', c.ioctl(socket, SIOCSIFFLAGS, flags))
      check('giving the loopback an address', c.ioctl(socket, SIOCSIFADDR, inet(address)))
      check('giving the loopback a mask', c.ioctl(socket, SIOCSIFNETMASK, inet(mask)))
    })
    closeSync(fd)
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
    createNamespace(address, mask) {
      check('making a network namespace', c.unshare(CLONE_NEWNET))
      try {
        raiseLoopback(address, mask)
        return openSync(THREAD_NETNS, 'r')
      } finally {
        goHome()
      }
    },
    listeningSocket(address, port) {
      const six = address.includes(':')
      const where = six ? socketAddress6(address, port) : socketAddress(address, port)
      const prepare = (fd: number): void => {
        const on = new Int32Array([1]).buffer
        check('setsockopt', c.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, on, 4))
        // A successor listens beside us before we let go.
        check('setsockopt', c.setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, on, 4))
        check(`binding ${address} port ${port}`, c.bind(fd, where, where.byteLength))
        check('listen', c.listen(fd, LISTEN_BACKLOG))
      }
      return withSocket(SOCK_NONBLOCK, prepare, six ? AF_INET6 : AF_INET)
    },
    plainSocket() {
      return withSocket(SOCK_NONBLOCK, () => {})
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
