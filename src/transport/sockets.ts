/**
 * Where channels come from: a listener on the control side, a dialler on the side of agents and gateways that never gives
 * up. On one machine this is a Unix socket whose permissions are the identity; between machines it is TLS with a key that
 * both sides hold, so neither side talks to a stranger.
 */
import { rmSync } from 'node:fs'
import { connect as connectPlain, createServer, type Server, Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import type { z } from 'zod'
import { type Clock, type Random, sleep, SteadError, systemCodeOf } from '../base/index.ts'
import { type Channel, openChannel } from './channel.ts'

export type TransportAddress =
  | { readonly kind: 'unix'; readonly path: string }
  /** `key`: 32 bytes shared by control and this node; `identity` names whose. */
  | {
      readonly kind: 'tls'
      readonly host: string
      readonly port: number
      readonly identity: string
      readonly key: Uint8Array
    }

/** Pre-shared keys are TLS 1.2 in Node; this suite is forward secret and authenticated. */
const pskCiphers = 'ECDHE-PSK-CHACHA20-POLY1305'
const pskOptions = { ciphers: pskCiphers, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const

export interface ListenOptions<In> {
  readonly clock: Clock
  readonly schema: z.ZodType<In>
  /** The key of an identity, or null for a stranger. Only asked for TLS. */
  readonly keyOf: (identity: string) => Uint8Array | null
}

/** A peer that has not proven its key by then is turned away. */
const handshakeMs = 5000
/** Most peers at once; more are turned away. */
const peersMax = 10_000

/** Listens for agents and gateways. Throws `transport.address-taken`. */
export async function listenForPeers<Out, In>(
  address: TransportAddress,
  options: ListenOptions<In>,
  onPeer: (channel: Channel<Out>) => (message: In) => void,
): Promise<AsyncDisposable & { readonly port: number | null }> {
  const channels = new Set<Channel<Out>>()
  const identities = new WeakMap<Socket, string>()
  const keyFor = (socket: Socket, identity: string): Uint8Array | null => {
    const key = options.keyOf(identity)
    if (key !== null) identities.set(socket, identity)
    return key
  }
  let closing = false
  const accept = (socket: Socket): void => {
    // Who was greeting while this ended would keep it from ending.
    if (closing) return void socket.destroy()
    let receive: (message: In) => void = () => {}
    const channel = openChannel<Out, In>({
      socket,
      identity: identities.get(socket) ?? null,
      clock: options.clock,
      schema: options.schema,
      onMessage: (message) => receive(message),
    })
    channels.add(channel)
    void channel.closed.then(() => channels.delete(channel))
    receive = onPeer(channel)
  }
  const server: Server =
    address.kind === 'unix'
      ? createServer(accept)
      : createTlsServer(
          { ...pskOptions, handshakeTimeout: handshakeMs, pskCallback: keyFor, pskIdentityHint: 'stead' },
          accept,
        )
  server.maxConnections = peersMax
  server.on('tlsClientError', () => {})
  if (address.kind === 'unix') rmSync(address.path, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(addressTaken(address, error)))
    if (address.kind === 'unix') listenAsOwnerOnly(server, address.path, resolve)
    else server.listen({ host: address.host, port: address.port }, resolve)
  })
  const bound = server.address()
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : null,
    async [Symbol.asyncDispose]() {
      closing = true
      const closed = new Promise((resolve) => server.close(resolve))
      for (const channel of channels) channel.close()
      await closed
    },
  }
}

/** Listens on a Unix socket that is its owner's alone from the first moment: binding happens before `listen` returns. */
export function listenAsOwnerOnly(server: Server, path: string, onListening: () => void): void {
  const before = process.umask(0o177)
  try {
    server.listen(path, onListening)
  } finally {
    process.umask(before)
  }
}

function addressTaken(address: TransportAddress, error: Error): Error {
  if (systemCodeOf(error) !== 'EADDRINUSE') return error
  const where = address.kind === 'unix' ? address.path : `${address.host}:${address.port}`
  return new SteadError({
    code: 'transport.address-taken',
    message: `${where} is in use by another program`,
    hint: 'Stop it, or choose another address.',
    cause: error,
  })
}

export interface DialOptions<Out, In> {
  readonly clock: Clock
  readonly random: Random
  readonly schema: z.ZodType<In>
  /** Called for every new channel: say hello here. */
  readonly onOpen: (channel: Channel<Out>) => void
  readonly onMessage: (message: In) => void
  /** Called when a channel ended or could not be opened; the next try follows by itself. */
  readonly onDown: (reason: SteadError) => void
}

const retryMinMs = 100
const retryMaxMs = 5000
/** A channel that lasted this long was a good one: the pauses begin anew. One that is refused over and over is not. */
const steadyMs = 5000

/** Keeps a channel to control open, dialling again for ever with growing pauses, until disposed. */
export function dialForever<Out, In>(address: TransportAddress, options: DialOptions<Out, In>): AsyncDisposable {
  const stop = new AbortController()
  const loop = async (): Promise<void> => {
    let pauseMs = retryMinMs
    while (!stop.signal.aborted) {
      let openedMs = Infinity
      const reason = await oneChannel(address, options, stop.signal, () => (openedMs = options.clock.monotonicMs()))
      if (options.clock.monotonicMs() - openedMs >= steadyMs) pauseMs = retryMinMs
      if (stop.signal.aborted) return
      options.onDown(reason)
      // Half fixed, half random, so that many nodes do not come back in step.
      const jitter = (options.random.bytes(1)[0] ?? 0) / 255
      await sleep(options.clock, pauseMs * (0.5 + jitter / 2), stop.signal).catch(() => {})
      pauseMs = Math.min(pauseMs * 2, retryMaxMs)
    }
  }
  const done = loop()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('stopped'))
      await done
    },
  }
}

/** Opens one channel and resolves with the reason of its end. */
async function oneChannel<Out, In>(
  address: TransportAddress,
  options: DialOptions<Out, In>,
  stop: AbortSignal,
  onOpened: () => void,
): Promise<SteadError> {
  const socket = dial(address)
  let close = (): void => void socket.destroy()
  const abort = (): void => close()
  stop.addEventListener('abort', abort)
  try {
    const opened = await new Promise<Error | null>((resolve) => {
      socket.once(address.kind === 'tls' ? 'secureConnect' : 'connect', () => resolve(null))
      socket.once('error', resolve)
      socket.once('close', () => resolve(new Error('closed while connecting')))
    })
    if (opened !== null) {
      return new SteadError({
        code: 'transport.unreachable',
        message: `control cannot be reached: ${opened.message}`,
        retry: 'later',
        cause: opened,
      })
    }
    onOpened()
    const channel = openChannel<Out, In>({
      socket,
      identity: null,
      clock: options.clock,
      schema: options.schema,
      onMessage: options.onMessage,
    })
    close = () => channel.close()
    options.onOpen(channel)
    return await channel.closed
  } finally {
    stop.removeEventListener('abort', abort)
  }
}

function dial(address: TransportAddress): Socket {
  if (address.kind === 'unix') return connectPlain(address.path)
  const socket = connectTls({
    host: address.host,
    port: address.port,
    ...pskOptions,
    timeout: handshakeMs,
    // The shared key is the identity: there is no certificate to check.
    checkServerIdentity: () => undefined,
    pskCallback: () => ({ identity: address.identity, psk: address.key }),
  })
  socket.once('timeout', () => socket.destroy(new Error(`no answer within ${handshakeMs / 1000} s`)))
  socket.once('secureConnect', () => socket.setTimeout(0))
  return socket
}
