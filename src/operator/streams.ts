/**
 * Streams over HTTP: a request that asks for an upgrade to `stead-stream` becomes frames both ways on its socket. The
 * server's end and the client's end of it.
 *
 * Invariant: the stream behind the socket is closed when the socket is, and neither end reads faster than it can write.
 */
import { request } from 'node:http'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { z } from 'zod'
import { isSteadError, messageOf, SteadError } from '../base/index.ts'
import {
  captureBounds,
  debugLookSchema,
  type RemoteStream,
  machineWays,
  resumeSchema,
  snapshotDeeds,
  type StreamEnd,
  streamEndSchema,
  type StreamPiece,
  terminalSizeSchema,
  traceBounds,
} from '../protocol/index.ts'
import { encodeFrame, type Frame, FrameDecoder, type FrameKind, jsonBytes } from './frames.ts'
import { drained } from './drained.ts'
import type { StreamOrder } from './operations.ts'

export const streamProtocol = 'stead-stream'

const orderSchema: z.ZodType<StreamOrder> = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('exec'),
    argv: z.array(z.string()).min(1).max(1000),
    env: z.record(z.string(), z.string()),
    terminal: terminalSizeSchema.nullable(),
    resume: resumeSchema.exactOptional(),
  }),
  z.object({
    kind: z.literal('connect'),
    port: z.int().min(1).max(65_535).nullable(),
    resume: resumeSchema.exactOptional(),
  }),
  z.object({
    kind: z.literal('debug'),
    instance: z.string().max(200).nullable(),
    look: debugLookSchema,
    traffic: z.enum(['drain', 'keep']).exactOptional(),
    resume: resumeSchema.exactOptional(),
  }),
  z.object({ kind: z.literal('capture'), instance: z.string().max(200).nullable(), ...captureBounds }),
  z.object({ kind: z.literal('core'), instance: z.string().max(200).nullable() }),
  z.discriminatedUnion('what', [
    z.object({ kind: z.literal('machine'), what: z.enum(machineWays).exclude(['debugger']) }),
    z.object({ kind: z.literal('machine'), what: z.literal('debugger'), resume: resumeSchema.exactOptional() }),
    z.object({ kind: z.literal('machine'), what: z.enum(snapshotDeeds), name: z.string().max(63) }),
    z.object({ kind: z.literal('machine'), what: z.literal('snapshots') }),
  ]),
  z.object({ kind: z.literal('trace'), ...traceBounds }),
])

const countSchema = z.int().min(0)

type Open = (order: StreamOrder) => RemoteStream | Promise<RemoteStream>

/**
 * Serves a socket that has been upgraded: the first frame says what is asked for. `mayBeLost`: whether a socket that closes without
 * a word may only be the line of somebody who is still there.
 */
export async function serveStream(socket: Duplex, head: Buffer, open: Open, mayBeLost: () => boolean): Promise<void> {
  const frames = framesOf(socket, head)
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${streamProtocol}\r\n\r\n`)
  let stream: RemoteStream | null = null
  try {
    const first = await frames.next()
    const order = first.done === true ? null : orderSchema.safeParse(jsonOf(first.value))
    if (order?.success !== true)
      throw new SteadError({ code: 'operator.bad-request', message: 'the stream does not say what it is to' })
    stream = await open(order.data)
    const opened = stream
    const listening = listen(frames, opened).then(
      (said) => opened.close(said === 'gone' && mayBeLost() ? 'lost' : undefined),
      () => opened.close(),
    )
    listening.catch(() => {})
    for await (const { to, bytes, took } of opened.pieces) {
      if (took !== undefined) await send(socket, 'took', jsonBytes(took))
      await send(socket, to, bytes)
    }
    await send(socket, 'ended', jsonBytes(await opened.ended))
  } catch (error) {
    await send(socket, 'refused', jsonBytes(refusalOf(error)))
  } finally {
    stream?.close()
    socket.end()
  }
}

/** What the asker sends goes into the stream, until he has closed it or is gone without a word. */
async function listen(frames: AsyncIterable<Frame>, stream: RemoteStream): Promise<'closed' | 'gone'> {
  for await (const frame of frames) {
    const { kind, bytes } = frame
    if (kind === 'input') await stream.write(bytes)
    else if (kind === 'end') stream.end()
    else if (kind === 'resize') stream.resize(terminalSizeSchema.parse(JSON.parse(bytes.toString())))
    else if (kind === 'seen') stream.seen(countSchema.parse(jsonOf(frame)))
    else if (kind === 'close') return 'closed'
  }
  return 'gone'
}

/** Opens a stream through a socket. Throws what the platform refuses with, and `operator.not-running`. */
export async function openStream(
  { socketPath, token }: { readonly socketPath: string; readonly token: string | null },
  path: string,
  order: StreamOrder,
  notRunning: (cause: NodeJS.ErrnoException) => Error,
): Promise<RemoteStream> {
  const { promise, resolve, reject } = Promise.withResolvers<{ socket: Duplex; head: Buffer }>()
  const known = token === null ? {} : { authorization: `bearer ${token}` }
  const headers = { connection: 'upgrade', upgrade: streamProtocol, ...known }
  const question = request({ socketPath, method: 'POST', path, headers })
  question.on('upgrade', (_answer, socket, head) => resolve({ socket, head }))
  question.on('response', (answer) => {
    text(answer).then((body) => reject(new SteadError(JSON.parse(body) as { code: string; message: string })), reject)
  })
  question.on('error', (cause: NodeJS.ErrnoException) => reject(notRunning(cause)))
  question.end()
  const { socket, head } = await promise
  socket.write(encodeFrame('open', jsonBytes(order)))
  return new ClientStream(socket, framesOf(socket, head))
}

class ClientStream implements RemoteStream {
  readonly pieces: RemoteStream['pieces']
  readonly ended: Promise<StreamEnd>
  readonly #socket: Duplex
  readonly #end = Promise.withResolvers<StreamEnd>()

  constructor(socket: Duplex, frames: AsyncIterable<Frame>) {
    this.#socket = socket
    this.ended = this.#end.promise
    this.ended.catch(() => {})
    this.pieces = this.#read(frames)
  }

  async *#read(frames: AsyncIterable<Frame>): AsyncIterable<StreamPiece> {
    let took: { readonly took?: number } = {}
    try {
      for await (const frame of frames) {
        if (frame.kind === 'took') took = { took: countSchema.parse(jsonOf(frame)) }
        else if (frame.kind === 'out' || frame.kind === 'err') {
          yield { to: frame.kind, bytes: frame.bytes, ...took }
          took = {}
        } else if (frame.kind === 'ended') this.#end.resolve(streamEndSchema.parse(jsonOf(frame)))
        else if (frame.kind === 'refused')
          this.#end.reject(new SteadError(jsonOf(frame) as { code: string; message: string }))
      }
    } finally {
      this.#socket.destroy()
      const message = 'the platform went away, and the stream with it'
      this.#end.reject(new SteadError({ code: 'operator.not-running', message, retry: 'later' }))
    }
  }

  write(bytes: Uint8Array): Promise<void> {
    return send(this.#socket, 'input', bytes)
  }

  end(): void {
    void send(this.#socket, 'end', new Uint8Array())
  }

  resize(size: { columns: number; rows: number }): void {
    void send(this.#socket, 'resize', jsonBytes(size))
  }

  seen(bytes: number): void {
    void send(this.#socket, 'seen', jsonBytes(bytes))
  }

  close(lost?: 'lost'): void {
    if (lost === 'lost' || !this.#socket.writable) return void this.#socket.destroy()
    // Whoever goes without a word may be waited for.
    this.#socket.end(encodeFrame('close'), () => this.#socket.destroy())
  }
}

/** The frames on a socket, read as they are asked for, until it ends. */
async function* framesOf(socket: Duplex, head: Buffer): AsyncGenerator<Frame, void> {
  // Whoever writes hears of it by the end of the frames.
  socket.on('error', () => {})
  const decoder = new FrameDecoder()
  yield* decoder.push(head)
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) yield* decoder.push(chunk)
  } catch (error) {
    // The other side went away.
    if (isSteadError(error)) throw error
  }
}

/** Resolves when the other side can take more, or is gone. */
async function send(socket: Duplex, kind: FrameKind, bytes: Uint8Array): Promise<void> {
  if (!socket.writable || socket.write(encodeFrame(kind, bytes))) return
  await drained(socket)
}

function jsonOf(frame: Frame): unknown {
  try {
    return JSON.parse(frame.bytes.toString())
  } catch {
    return null
  }
}

/** An error as it is told to another process. */
function refusalOf(error: unknown): object {
  if (!isSteadError(error)) return { code: 'operator.internal', message: messageOf(error) }
  const { code, message, hint, retry } = error
  return { code, message, hint, retry }
}
