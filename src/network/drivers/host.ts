/**
 * No isolation: instances share the host's network. Edges are free loopback ports, and an instance must serve on the port
 * it is told. For machines where namespaces cannot be had; says so.
 */
import { createServer, Socket } from 'node:net'
import type { Endpoint, NetworkDriver, Place } from '../network.ts'
import { listenOn } from './listen.ts'
import { connectUnix } from './unix-socket.ts'

/** `reason` says why nothing stronger was chosen; it is shown to the user. */
export function createHostDriver(reason: string): NetworkDriver {
  return {
    name: 'host',
    capabilities: {
      isolation: 'refused',
      egress: 'refused',
      rates: 'refused',
      weaker: [
        `network: parts can reach the host's network and each other, and egress is not held (${reason}); run as root on Linux with Node 26 to isolate them`,
      ],
    },
    place: async (name) => hostPlace(name),
    adopt: async (name) => hostPlace(name),
    connect,
    async [Symbol.asyncDispose]() {},
  }
}

function hostPlace(name: string): Place {
  return {
    name,
    outside: null,
    enter: (run) => run(),
    async listen(_address, _port, server) {
      await listenOn(server, { host: '127.0.0.1', port: 0 })
      const bound = server.address()
      return { address: '127.0.0.1', port: typeof bound === 'object' && bound !== null ? bound.port : 0 }
    },
    tap: () => null,
    endpoint: (_pid, port) => ({ kind: 'tcp', host: '127.0.0.1', port }),
    async servePort() {
      const probe = createServer()
      await listenOn(probe, { host: '127.0.0.1', port: 0 })
      const bound = probe.address()
      await new Promise((resolve) => probe.close(resolve))
      return typeof bound === 'object' && bound !== null ? bound.port : 0
    },
    [Symbol.dispose]() {},
  }
}

function connect(endpoint: Endpoint): Socket {
  switch (endpoint.kind) {
    case 'unix':
      return connectUnix(endpoint.path)
    case 'tcp':
      return new Socket().connect(endpoint.port, endpoint.host)
    case 'instance':
      return new Socket().connect(endpoint.port, '127.0.0.1')
  }
}
