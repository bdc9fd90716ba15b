/** `stead forward`: a local port that leads to a service or a database. */
import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { messageOf, SteadError, systemCodeOf } from '../../base/index.ts'
import type { OperatorBinding } from '../../operator/index.ts'
import type { RemoteStream } from '../../protocol/index.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { needTarget, type Target } from '../target.ts'
import { note, print } from '../terminal.ts'

const host = '127.0.0.1'
/** A connection waits for a platform that starts anew, so long and in such steps. */
const reconnectMs = { total: 15_000, step: 500 }

export const forwardCommand: Command = {
  name: 'forward',
  usage: 'PART[:PORT] [LOCALPORT] [APP]',
  summary: 'a local port that leads to a service or a database',
  help: `  --json        one JSON object with what it prints
  PORT is one that the part listens on; the one it serves on when it is left out. LOCALPORT is a free one when it is
  left out. For a database the URL is printed whole, with a role of your own that may read and write the app's data; it
  stays until the database is gone. The port stays when the platform starts anew. Ctrl-C ends it.
  Example: stead forward db 5433`,
  options: {},
  argumentsMax: 3,
  async run({ arguments: [what, ...rest], json }) {
    if (what === undefined) throw usage('stead forward needs the name of a part', helpOf(forwardCommand))
    const [part = '', portText] = what.split(':')
    const [first, second] = rest
    const localText = first !== undefined && /^\d+$/.test(first) ? first : undefined
    const word = (localText === undefined ? first : second) ?? null
    if (localText === undefined && second !== undefined) throw usage(`${first} is no port`, helpOf(forwardCommand))
    const port = portText === undefined ? null : portOf(portText)
    const found = await needTarget(word)
    await using server = await listen(localText === undefined ? 0 : portOf(localText), (caller) =>
      serve(caller, found, word, part, port),
    )
    const binding = await found.operator.bind(found.app, part, host, server.port)
    if (binding === null) await reachable(found, part, port)
    tell(part, binding, server.port, json)
    await new Promise<void>((resolve) => {
      process.once('SIGINT', () => resolve())
      process.once('SIGTERM', () => resolve())
    })
    return exitCodes.ok
  },
}

function tell(part: string, binding: OperatorBinding | null, port: number, json: boolean): void {
  const env = binding?.env ?? {}
  const url = env['DATABASE_URL'] ?? env['QUEUE_URL'] ?? `http://${host}:${port}`
  if (json) return print(JSON.stringify({ part, host, port, url, env }))
  print(url)
  note(`${host}:${port} leads to ${part}. Ctrl-C ends it.`)
}

function portOf(text: string): number {
  const port = Number(text)
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port
  throw usage(`a port is a number from 1 to 65535, not '${text}'`, helpOf(forwardCommand))
}

/** Whether the part can be reached now: said here, and not to the first who connects. */
async function reachable({ operator, app }: Target, part: string, port: number | null): Promise<void> {
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
    server.listen(port, host, resolve)
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
async function serve(
  caller: Socket,
  target: Target,
  word: string | null,
  part: string,
  port: number | null,
): Promise<void> {
  const { stream, pieces } = await openAgain(target, word, part, port)
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
async function openAgain(
  target: Target,
  word: string | null,
  part: string,
  port: number | null,
): Promise<{ stream: RemoteStream; pieces: AsyncIterator<{ bytes: Uint8Array }> }> {
  let current = target
  for (const endMs = performance.now() + reconnectMs.total; ;) {
    try {
      const stream = await current.operator.open(current.app, part, { kind: 'connect', port })
      return { stream, pieces: await opened(stream) }
    } catch (error) {
      if (performance.now() >= endMs) throw error
      await pause(reconnectMs.step)
      current = await needTarget(word).catch(() => current)
    }
  }
}
