/**
 * A channel: validated messages both ways over one socket, with heartbeats. It ends when either side closes, falls silent,
 * sends something invalid, or reads so slowly that too much waits for it; whoever dialled then dials again and is told
 * everything anew, so nothing has to be kept for a lost peer.
 */
import type { Socket } from 'node:net'
import type { z } from 'zod'
import { type Clock, messageOf, SteadError } from '../base/index.ts'
import { frame, FrameReader } from './frames.ts'

export const heartbeatMs: number = 2000
/** A peer that is silent for this long is gone. */
export const silenceMaxMs: number = 7000
/** Bytes that may wait for a slow peer before the channel is given up. */
const unsentBytesMax = 64 * 1024 * 1024

/** How long a peer has to take what was sent before a close. */
const closeMs = 1000
/** Below this, `drained` does not wait. */
const drainedBytes = 1024 * 1024

export interface Channel<Out> extends Disposable {
  /** Whose key the peer has; null on a Unix socket, where being let in is the proof. */
  readonly identity: string | null
  send(message: Out): void
  /** Resolves when little waits for the peer, or the channel has ended. Whoever sends much awaits it between messages. */
  drained(): Promise<void>
  /** Settles once, with why the channel ended. */
  readonly closed: Promise<SteadError>
  close(): void
}

export interface ChannelOptions<In> {
  readonly socket: Socket
  readonly identity: string | null
  readonly clock: Clock
  readonly schema: z.ZodType<In>
  readonly onMessage: (message: In) => void
}

/** Makes a channel of a connected socket. An error thrown by `onMessage` closes the channel with it as the reason. */
export function openChannel<Out, In>({ socket, identity, clock, schema, onMessage }: ChannelOptions<In>): Channel<Out> {
  const reader = new FrameReader()
  const { promise: closed, resolve } = Promise.withResolvers<SteadError>()
  let heardMs = clock.monotonicMs()
  let timer: Disposable | null = null
  let ended = false

  const settle = (code: 'closed' | 'closed-here', message: string, cause?: unknown): void => {
    ended = true
    timer?.[Symbol.dispose]()
    resolve(new SteadError({ code: `transport.${code}`, message, retry: 'later', cause }))
  }
  const end = (message: string, cause?: unknown): void => {
    settle('closed', message, cause)
    socket.destroy()
  }

  const beat = (): void => {
    if (clock.monotonicMs() - heardMs > silenceMaxMs) return end(`the peer was silent for ${silenceMaxMs / 1000} s`)
    socket.write('\n')
    timer = clock.after(heartbeatMs, beat)
  }
  timer = clock.after(heartbeatMs, beat)

  socket.on('data', (chunk: Buffer) => {
    heardMs = clock.monotonicMs()
    try {
      for (const text of reader.push(chunk)) {
        if (ended) return
        onMessage(parseMessage(text, schema))
      }
    } catch (error) {
      if (!ended) end(messageOf(error), error)
    }
  })
  socket.on('error', (error) => end(error.message, error))
  socket.on('close', () => end('the peer closed the connection'))

  const close = (): void => {
    if (ended) return
    settle('closed-here', 'closed here')
    socket.end()
    clock.after(closeMs, () => socket.destroy())
  }

  return {
    identity,
    send(message) {
      if (ended) return
      if (socket.writableLength > unsentBytesMax) return end('the peer reads too slowly')
      if (socket.writable) socket.write(frame(message))
    },
    async drained() {
      if (ended || socket.writableLength <= drainedBytes) return
      await Promise.race([closed, new Promise<void>((drained) => socket.once('drain', drained))])
    },
    closed,
    close,
    [Symbol.dispose]: close,
  }
}

/** One message of the peer. Throws `transport.invalid-message`, saying what is wrong with it and where. */
function parseMessage<In>(text: string, schema: z.ZodType<In>): In {
  const parsed = schema.safeParse(jsonOf(text))
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const where = issue === undefined || issue.path.length === 0 ? '' : ` at ${issue.path.join('.')}`
  throw invalid(`the peer sent a message that is not valid${where}: ${issue?.message ?? ''}`)
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw invalid('the peer sent something that is not JSON', cause)
  }
}

function invalid(message: string, cause?: unknown): SteadError {
  return new SteadError({
    code: 'transport.invalid-message',
    message,
    hint: 'Is something else speaking on this socket, or another version of Stead?',
    cause,
  })
}
