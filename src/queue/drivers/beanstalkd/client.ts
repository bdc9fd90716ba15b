/**
 * One connection to Beanstalkd and its text protocol: commands go out in order, answers come back in order. A connection that
 * breaks answers everything that waits, once, and is not used again. Bodies are bytes.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'

/** The words of an answer, and its body where it has one. */
export interface Reply {
  readonly words: readonly string[]
  readonly body: Buffer | null
}

/** Answers that are followed by as many bytes as their last word says. */
const withBody = new Set(['RESERVED', 'FOUND', 'OK'])
/** An answer's line cannot be longer. */
const lineBytesMax = 1024

interface Waiting {
  resolve(reply: Reply): void
  reject(error: Error): void
}

export class BeanstalkdConnection {
  readonly #socket: Socket
  readonly #waiting: Waiting[] = []
  /** What goes out at the end of this turn, in one piece. */
  #outgoing: (string | Buffer)[] = []
  #received: Buffer = Buffer.alloc(0)
  #broken: Error | undefined

  /** Connects within `timeoutMs`, or throws what the system says. */
  static open(host: string, port: number, timeoutMs: number): Promise<BeanstalkdConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true, keepAlive: true })
      socket.setTimeout(timeoutMs, () =>
        socket.destroy(new Error(`no answer from ${host}:${port} within ${timeoutMs} ms`)),
      )
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        socket.setTimeout(0)
        resolve(new BeanstalkdConnection(socket))
      })
    })
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (bytes: Buffer) => this.#hear(bytes))
    socket.on('error', (error) => this.#break(error))
    socket.on('close', () => this.#break(new Error('the connection was closed')))
  }

  get broken(): boolean {
    return this.#broken !== undefined
  }

  /** Sends a command, with a body where it takes one. Rejects when the connection breaks before the answer. */
  command(line: string, body?: string | Buffer): Promise<Reply> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken)
    const { promise, resolve, reject } = Promise.withResolvers<Reply>()
    this.#waiting.push({ resolve, reject })
    if (this.#outgoing.length === 0) process.nextTick(() => this.#flush())
    this.#outgoing.push(`${line}\r\n`)
    if (body !== undefined) this.#outgoing.push(body, '\r\n')
    return promise
  }

  #flush(): void {
    const pieces = this.#outgoing
    this.#outgoing = []
    if (pieces.every((piece) => typeof piece === 'string')) this.#socket.write(pieces.join(''))
    else
      this.#socket.write(Buffer.concat(pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece))))
  }

  close(): void {
    this.#socket.destroy()
  }

  #hear(bytes: Buffer): void {
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes])
    let from = 0
    for (;;) {
      const end = this.#received.indexOf('\r\n', from)
      if (end === -1) {
        if (this.#received.length - from > lineBytesMax) this.#socket.destroy(new Error('this is not Beanstalkd'))
        break
      }
      const words = this.#received.toString('latin1', from, end).split(' ')
      let next = end + 2
      let body: Buffer | null = null
      if (withBody.has(words[0] ?? '')) {
        const size = Number(words.at(-1))
        if (this.#received.length < next + size + 2) break
        body = Buffer.from(this.#received.subarray(next, next + size))
        next += size + 2
      }
      from = next
      this.#waiting.shift()?.resolve({ words, body })
    }
    this.#received = this.#received.subarray(from)
  }

  #break(error: Error): void {
    if (this.#broken !== undefined) return
    this.#broken = error
    this.#socket.destroy()
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error)
  }
}
