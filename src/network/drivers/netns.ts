/**
 * A network namespace for each instance, holding nothing but a loopback. There is no interface, route or bridge to the
 * rest of the world, so what was not given is refused by the kernel at once; what was given is a listening socket that
 * this process opened inside. A few namespaces are kept ready.
 */
import { closeSync, statSync } from 'node:fs'
import { Socket, type Server } from 'node:net'
import { messageOf, SteadError } from '../../base/index.ts'
import { edgeNetwork, type Endpoint, type NetworkDriver, type Place } from '../network.ts'
import { type Libc, openNamespaceOf } from './libc.ts'

export interface NetnsOptions {
  readonly libc: Libc
  /** Namespaces kept ready. */
  readonly poolSize?: number
}

/** Needs root, Linux and node:ffi: `openLibc` tells. Throws `network.system-call` where the machine forbids namespaces. */
export function createNetnsDriver({ libc, poolSize = 4 }: NetnsOptions): NetworkDriver {
  const pool: number[] = []
  let closed = false

  const create = (): number => libc.createNamespace(edgeNetwork.address, edgeNetwork.mask)

  const refill = (): void => {
    // One at a time, between other work: each takes about a millisecond of the event loop.
    setImmediate(() => {
      if (closed || pool.length >= poolSize) return
      try {
        pool.push(create())
      } catch {
        // Whoever needs the next place makes it itself, and is told why it cannot be made.
        return
      }
      refill()
    }).unref()
  }
  // The first is made at once, so that a machine that forbids it says so here.
  pool.push(create())
  refill()

  return {
    name: 'netns',
    capabilities: { isolation: 'native', weaker: [] },
    async place(name) {
      const fd = pool.pop() ?? create()
      refill()
      return netnsPlace(libc, name, fd)
    },
    async adopt(name, pid) {
      const namespace = openNamespaceOf(pid)
      return namespace === null ? null : netnsPlace(libc, name, namespace.fd)
    },
    connect: (endpoint) => connect(libc, endpoint),
    async [Symbol.asyncDispose]() {
      closed = true
      for (const fd of pool.splice(0)) closeSync(fd)
    },
  }
}

function netnsPlace(libc: Libc, name: string, fd: number): Place {
  let open = true
  return {
    name,
    enter: (run) => libc.inside(fd, run),
    async listen(address, port, server) {
      const socketFd = libc.inside(fd, () => libc.listeningSocket(address, port))
      await listenOn(server, { fd: socketFd })
      return { address, port }
    },
    endpoint: (pid, port) => ({ kind: 'instance', pid, netns: inodeOf(pid), port }),
    servePort: async (wanted) => wanted,
    [Symbol.dispose]() {
      if (open) closeSync(fd)
      open = false
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
      return new Socket().connect(endpoint.path)
    case 'tcp':
      return new Socket().connect(endpoint.port, endpoint.host)
    case 'instance':
      return connectInside(libc, endpoint)
  }
}

/** Never throws: a machine out of descriptors refuses one stream, as an instance that is gone does. */
function connectInside(libc: Libc, endpoint: Extract<Endpoint, { kind: 'instance' }>): Socket {
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

/** Makes a server listen and resolves when it does. */
export function listenOn(server: Server, where: { fd: number } | { port: number; host: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
