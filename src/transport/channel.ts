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

export interface Channel<Out> extends Disposable {
  send(message: Out): void
  /** Settles once, with why the channel ended. */
  readonly closed: Promise<SteadError>
  close(): void
}

export interface ChannelOptions<In> {
  readonly socket: Socket
  readonly clock: Clock
  readonly schema: z.ZodType<In>
  readonly onMessage: (message: In) => void
}

/** Makes a channel of a connected socket. An error thrown by `onMessage` closes the channel with it as the reason. */
export function openChannel<Out, In>({ socket, clock, schema, onMessage }: ChannelOptions<In>): Channel<Out> {
  const reader = new FrameReader()
  const { promise: closed, resolve } = Promise.withResolvers<SteadError>()
  let heardMs = clock.monotonicMs()
  let timer: Disposable | null = null

  const end = (message: string, cause?: unknown): void => {
    timer?.[Symbol.dispose]()
    socket.destroy()
    resolve(new SteadError({ code: 'transport.closed', message, retry: 'later', cause }))
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
        const message = schema.safeParse(JSON.parse(text))
        if (!message.success)
          return end(`the peer sent a message that is not valid: ${message.error.issues[0]?.message ?? ''}`)
        onMessage(message.data)
      }
    } catch (error) {
      end(messageOf(error), error)
    }
  })
  socket.on('error', (error) => end(error.message, error))
  socket.on('close', () => end('the peer closed the connection'))

  const close = (): void => {
    timer?.[Symbol.dispose]()
    socket.end()
    resolve(new SteadError({ code: 'transport.closed', message: 'closed here', retry: 'later' }))
    clock.after(1000, () => socket.destroy())
  }

  return {
    send(message) {
      if (socket.writableLength > unsentBytesMax) return end('the peer reads too slowly')
      if (socket.writable) socket.write(frame(message))
    },
    closed,
    close,
    [Symbol.dispose]: close,
  }
}
