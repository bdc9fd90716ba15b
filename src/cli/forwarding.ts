/** A local port that leads to a part of a running app, for as long as a command needs it. */
import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { messageOf, SteadError, systemCodeOf } from '../base/index.ts'
import type { RemoteStream } from '../protocol/index.ts'
import { openLasting } from './lasting.ts'
import { needTarget, type Target } from './target.ts'
import { note } from './terminal.ts'

/** Where such ports listen. */
export const localHost = '127.0.0.1'
/** A connection waits for a platform that starts anew, so long and in such steps. */
const reconnectMs = { total: 15_000, step: 500 }

/** What a port leads to. */
export interface Forwarded {
  readonly target: Target
  /** The word that named the app, to find it again; null: the one here. */
  readonly word: string | null
  readonly part: string
  /** A port of the part; null: the one that it serves on. */
  readonly port: number | null
}

/** Opens the port; 0 takes a free one. Throws `cli.port-taken`. */
export function forwardPort(localPort: number, forwarded: Forwarded): Promise<AsyncDisposable & { port: number }> {
  return listen(localPort, (caller) => serve(caller, forwarded))
}

/** Whether the part can be reached now: said here, and not to the first who connects. */
export async function reachable({ target: { operator, app }, part, port }: Forwarded): Promise<void> {
  const stream = await operator.open(app, part, { kind: 'connect', port })
  await opened(stream)
  stream.close()
}

/** Waits until a stream leads somewhere; answers what comes from then on. Throws why it does not. */
async function opened(stream: RemoteStream): Promise<AsyncIterator<{ bytes: Uint8Array }>> {
  const pieces = stream.pieces[Symbol.asyncIterator]()
  const first = await pieces.next()
  if (first.done === true) await stream.ended
  return pieces
}

async function listen(
  port: number,
  serveCaller: (caller: Socket) => Promise<void>,
): Promise<AsyncDisposable & { port: number }> {
  const callers = new Set<Socket>()
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (caller) => {
    callers.add(caller)
    caller.on('close', () => callers.delete(caller))
    // Who goes away ends his stream.
    caller.on('error', () => {})
    serveCaller(caller).catch((error: unknown) => {
      note(`a connection ended: ${messageOf(error)}`)
      caller.destroy()
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(systemCodeOf(cause) === 'EADDRINUSE' ? portTaken(port, cause) : cause))
    server.listen(port, localHost, resolve)
  })
  const bound = server.address()
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : port,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const caller of callers) caller.destroy()
      await closed
    },
  }
}

function portTaken(port: number, cause: Error): SteadError {
  return new SteadError({
    code: 'cli.port-taken',
    message: `port ${port} is taken by another program`,
    hint: 'Name another one, or none for a free one.',
    cause,
  })
}

/** Carries one connection. */
async function serve(caller: Socket, forwarded: Forwarded): Promise<void> {
  const { stream, pieces } = await openAgain(forwarded)
  caller.on('close', () => stream.close())
  const asking = (async () => {
    for await (const chunk of caller as AsyncIterable<Buffer>) await stream.write(chunk)
    stream.end()
  })()
  asking.catch(() => stream.close())
  for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) {
    if (!caller.write(next.value.bytes)) {
      await new Promise<void>((resolve) => {
        caller.once('drain', resolve)
        caller.once('close', resolve)
      })
    }
  }
  caller.end()
  if (!caller.destroyed) await stream.ended
}

/** Opens the stream; a platform, or a part, that starts anew is waited for. */
async function openAgain({
  target,
  word,
  part,
  port,
}: Forwarded): Promise<{ stream: RemoteStream; pieces: AsyncIterator<{ bytes: Uint8Array }> }> {
  let current = target
  for (const endMs = performance.now() + reconnectMs.total; ;) {
    try {
      const stream = await openLasting({ target: current, word, part }, { kind: 'connect', port })
      return { stream, pieces: await opened(stream) }
    } catch (error) {
      if (performance.now() >= endMs) throw error
      await pause(reconnectMs.step)
      current = await needTarget(word).catch(() => current)
    }
  }
}
