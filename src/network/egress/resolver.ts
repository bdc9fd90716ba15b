/**
 * The name server of one instance, by UDP and TCP. It decides nothing: each question goes to `answer`.
 *
 * Invariants: every question that can be read is answered, at once when there are too many; nothing an instance sends
 * makes it keep more than a bounded number of sockets, bytes or questions.
 */
import { createServer, type Socket } from 'node:net'
import type { Clock } from '../../base/index.ts'
import type { Outside } from '../network.ts'
import { type Answer, answerCodes, type Question, readQuestion, writeAnswer } from './dns.ts'

/** Where instances find their name server: an address of the outside. */
export const resolverAddress = '10.65.0.53' as const
const port = 53

/** Questions answered in a second; as many may come at once. */
export const questionsPerSecondMax: number = 100
/** Questions that may wait for an answer from the host's name servers. */
const waitingMax = 100
const connectionsMax = 16
const idleMs = 10_000
const questionBytesMax = 1024

export interface ResolverOptions {
  readonly outside: Outside
  readonly clock: Clock
  readonly answer: (question: Question) => Promise<Answer>
}

/** Opens the name server until disposed. */
export async function openResolver({ outside, clock, answer }: ResolverOptions): Promise<AsyncDisposable> {
  let left = questionsPerSecondMax
  let filledMs = clock.monotonicMs()
  let waiting = 0

  const mayAnswer = (): boolean => {
    const nowMs = clock.monotonicMs()
    left = Math.min(questionsPerSecondMax, left + ((nowMs - filledMs) / 1000) * questionsPerSecondMax)
    filledMs = nowMs
    if (left < 1 || waiting >= waitingMax) return false
    left -= 1
    return true
  }

  const respond = async (packet: Uint8Array): Promise<Uint8Array | null> => {
    const question = readQuestion(packet)
    if (question === null) return null
    if (!mayAnswer()) {
      return writeAnswer(question, { code: answerCodes.refused, addresses: [], reason: 'too many questions' })
    }
    waiting += 1
    try {
      return writeAnswer(question, await answer(question))
    } catch {
      return writeAnswer(question, { code: answerCodes.failed, addresses: [] })
    } finally {
      waiting -= 1
    }
  }

  const datagrams = await outside.datagrams(resolverAddress, port)
  let open = true
  datagrams.on('error', () => {})
  datagrams.on('message', (packet, from) => {
    void respond(packet).then((bytes) => {
      if (bytes !== null && open) datagrams.send(bytes, from.port, from.address, () => {})
    })
  })

  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    socket.on('error', () => {})
    if (sockets.size >= connectionsMax) return void socket.resetAndDestroy()
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.setTimeout(idleMs, () => socket.destroy())
    serve(socket, respond)
  })
  await outside.listen(resolverAddress, port, server)

  return {
    async [Symbol.asyncDispose]() {
      open = false
      for (const socket of sockets) socket.destroy()
      await Promise.all([
        new Promise((resolve) => server.close(resolve)),
        new Promise<void>((resolve) => datagrams.close(resolve)),
      ])
    },
  }
}

/** Questions over a stream, each after its length, answered one after another. */
function serve(socket: Socket, respond: (packet: Uint8Array) => Promise<Uint8Array | null>): void {
  let buffer: Buffer = Buffer.alloc(0)
  let busy = false
  const next = (): void => {
    if (busy || buffer.length < 2) return
    const length = buffer.readUInt16BE(0)
    if (length > questionBytesMax) return void socket.destroy()
    if (buffer.length < 2 + length) return
    const packet = Uint8Array.from(buffer.subarray(2, 2 + length))
    buffer = buffer.subarray(2 + length)
    busy = true
    socket.pause()
    void respond(packet).then((bytes) => {
      busy = false
      if (socket.destroyed) return
      if (bytes === null) return void socket.destroy()
      const head = Buffer.alloc(2)
      head.writeUInt16BE(bytes.length)
      socket.write(Buffer.concat([head, bytes]))
      socket.resume()
      next()
    })
  }
  socket.on('data', (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk])
    next()
  })
}
