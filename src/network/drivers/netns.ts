/**
 * A network namespace for each instance, with a loopback and a pair of links to its own outside, which leads nowhere.
 * There is no interface, route or bridge to the rest of the world, so what was not given is refused by the kernel at
 * once; what was given is a listening socket that this process opened, inside or outside. A few are kept ready.
 */
import { closeSync, statSync } from 'node:fs'
import { Socket } from 'node:net'
import { messageOf, SteadError } from '../../base/index.ts'
import { edgeNetwork, type Endpoint, type NetworkDriver, type Place } from '../network.ts'
import { type Libc, openNamespaceOf } from './libc.ts'
import { listenOn } from './listen.ts'
import { linkUp, loopbackIndex, newAddress } from './netlink.ts'
import { createOutsideNamespace, linkOutside, OutsideNamespace, removeOutside, writeSetting } from './outside.ts'
import { whyNoRates } from './shape.ts'
import { openTap } from './tap.ts'
import { connectUnix } from './unix-socket.ts'

export interface NetnsOptions {
  readonly libc: Libc
  /** Namespaces kept ready. */
  readonly poolSize?: number
}

/** The descriptors of a place: its namespace, and that of its outside; null where the machine has no pairs of links. */
interface Ready {
  readonly inside: number
  readonly outside: number | null
}

/** Needs root, Linux and node:ffi: `openLibc` tells. Throws `network.system-call` where the machine forbids namespaces. */
export function createNetnsDriver({ libc, poolSize = 4 }: NetnsOptions): NetworkDriver {
  const pool: Ready[] = []
  let closed = false
  const create = (withOutside: boolean): Ready => {
    const inside = libc.createNamespace(() => {
      const { address, prefixBits } = edgeNetwork
      libc.route('raising the loopback', [linkUp(loopbackIndex), newAddress(loopbackIndex, address, prefixBits)])
      // All ports of it are the instance's own; programs of images often serve on 80.
      writeSetting('ipv4/ip_unprivileged_port_start', '0')
    })
    return { inside, outside: withOutside ? createOutsideNamespace(libc, inside) : null }
  }

  /** The first is made at once, so that a machine that forbids it says so here; and why it has no outside, if it has none. */
  const first = (): string | null => {
    try {
      pool.push(create(true))
      return null
    } catch (error) {
      // Without an outside, places still keep everything apart: nothing leaves them at all.
      pool.push(create(false))
      return messageOf(error)
    }
  }
  const lacking = first()
  const hasOutside = lacking === null
  const [warm] = pool
  const noRates =
    warm === undefined || !hasOutside
      ? 'nothing outside can be reached'
      : whyNoRates(linkOutside, (run) => libc.inside(warm.inside, run))

  const refill = (): void => {
    // One at a time, between other work: each takes about two milliseconds of the event loop.
    setImmediate(() => {
      if (closed || pool.length >= poolSize) return
      try {
        pool.push(create(hasOutside))
      } catch {
        // Whoever needs the next place makes it itself, and is told why it cannot be made.
        return
      }
      refill()
    }).unref()
  }
  refill()

  return {
    name: 'netns',
    capabilities: {
      isolation: 'native',
      egress: hasOutside ? 'native' : 'refused',
      rates: noRates === null ? 'native' : 'refused',
      weaker: hasOutside
        ? noRates === null
          ? []
          : [`network: rates are not held (${noRates})`]
        : [`network: nothing outside can be reached, egress is refused (${lacking}); load the kernel module veth`],
    },
    async place(name) {
      const ready = pool.pop() ?? create(hasOutside)
      refill()
      return netnsPlace(libc, name, ready)
    },
    async adopt(name, pid) {
      const namespace = openNamespaceOf(pid)
      if (namespace === null) return null
      try {
        if (hasOutside) removeOutside(libc, namespace.fd)
        const outside = hasOutside ? createOutsideNamespace(libc, namespace.fd) : null
        return netnsPlace(libc, name, { inside: namespace.fd, outside })
      } catch (error) {
        closeSync(namespace.fd)
        throw error
      }
    },
    connect: (endpoint) => connect(libc, endpoint),
    async [Symbol.asyncDispose]() {
      closed = true
      for (const { inside, outside } of pool.splice(0)) {
        closeSync(inside)
        if (outside !== null) closeSync(outside)
      }
    },
  }
}

function netnsPlace(libc: Libc, name: string, { inside: fd, outside: outsideFd }: Ready): Place {
  const outside = outsideFd === null ? null : new OutsideNamespace(libc, outsideFd, fd)
  let open = true
  return {
    name,
    outside,
    enter: (run) => libc.inside(fd, run),
    async listen(address, port, server) {
      const socketFd = libc.inside(fd, () => libc.listeningSocket(address, port))
      await listenOn(server, { fd: socketFd })
      return { address, port }
    },
    tap: () => openTap(libc, fd),
    endpoint: (pid, port) => ({ kind: 'instance', pid, netns: inodeOf(pid), port }),
    servePort: async (wanted) => wanted,
    [Symbol.dispose]() {
      if (open) closeSync(fd)
      open = false
      outside?.[Symbol.dispose]()
    },
  }
}

/** The namespace of a process; 0, which no namespace has, when it cannot be told. */
function inodeOf(pid: number): number {
  try {
    return statSync(`/proc/${pid}/ns/net`).ino
  } catch {
    return 0
  }
}

/** Opens a stream to an endpoint from this process, entering the instance's namespace where it is one. */
function connect(libc: Libc, endpoint: Endpoint): Socket {
  switch (endpoint.kind) {
    case 'unix':
      return connectUnix(endpoint.path)
    case 'tcp':
      return new Socket().connect(endpoint.port, endpoint.host)
    case 'instance':
      return connectInside(libc, endpoint)
  }
}

/**
 * Opens a stream to a port inside the network of a process. Never throws: a machine out of descriptors refuses one stream,
 * as an instance that is gone does.
 */
export function connectInside(libc: Libc, endpoint: Extract<Endpoint, { kind: 'instance' }>): Socket {
  let namespace: ReturnType<typeof openNamespaceOf> = null
  try {
    namespace = openNamespaceOf(endpoint.pid)
    if (namespace === null || namespace.inode !== endpoint.netns) return refused(endpoint)
    const fd = libc.inside(namespace.fd, () => libc.plainSocket())
    return new Socket({ fd, readable: true, writable: true }).connect(endpoint.port, '127.0.0.1')
  } catch (cause) {
    return refused(endpoint, cause)
  } finally {
    if (namespace !== null) closeSync(namespace.fd)
  }
}

/** A socket that fails as a refused connection does: the instance is gone. */
function refused(endpoint: { readonly pid: number }, cause?: unknown): Socket {
  const socket = new Socket()
  const error = new SteadError({
    code: 'network.instance-gone',
    message: cause === undefined ? `the instance with process ${endpoint.pid} is gone` : messageOf(cause),
    retry: 'later',
    cause,
  })
  setImmediate(() => socket.destroy(Object.assign(error, { syscall: 'connect' })))
  return socket
}
