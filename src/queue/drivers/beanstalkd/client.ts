/**
 * One connection to Beanstalkd and its text protocol: commands go out in order, answers come back in order. A connection that
 * breaks answers everything that waits, once, and is not used again. Bodies are bytes.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'

export interface Command {
  readonly line: string
  readonly body?: string | Buffer
}

/** The line of an answer, and its body where it has one. */
export interface Reply {
  readonly line: string
  readonly body: Buffer | null
}

/** What an answer says, in one word. */
export function saidBy({ line }: Reply): string {
  return wordOf(line, 0)
}

/** The job that an answer names. */
export function jobOf({ line }: Reply): string {
  const before = line.indexOf(' ')
  return before === -1 ? '' : wordOf(line, before + 1)
}

function wordOf(line: string, from: number): string {
  const end = line.indexOf(' ', from)
  return end === -1 ? line.slice(from) : line.slice(from, end)
}

/** An answer's line cannot be longer. */
const lineBytesMax = 1024
/** What is read at once. */
const readBytes: number = 64 * 1024
/**
 * The server writes each answer by itself, and a read costs more than most answers: those to so many commands are read after a moment,
 * in which it has answered many.
 */
const manyCommands = 16
const momentMs = 1

const nothing: Buffer = Buffer.alloc(0)

interface Waiting {
  /** Answers that have come; all of them when there are `count`. */
  readonly replies: (Reply | Error)[]
  readonly count: number
  resolve(replies: readonly (Reply | Error)[]): void
}

export class BeanstalkdConnection {
  readonly #socket: Socket
  readonly #waiting: Waiting[] = []
  /** What goes out at the end of this turn, in one piece. */
  #outgoing: (string | Buffer)[] = []
  /** The beginning of an answer whose rest has not come. */
  #rest: Buffer = nothing
  #moment: NodeJS.Timeout | undefined
  #broken: Error | undefined

  /** Connects within `timeoutMs`, or throws what the system says. */
  static open(host: string, port: number, timeoutMs: number): Promise<BeanstalkdConnection> {
    return new Promise((resolve, reject) => {
      let hear: (bytes: Buffer) => void = () => {}
      const onread = {
        buffer: Buffer.alloc(readBytes),
        callback(count: number, buffer: Uint8Array) {
          hear(Buffer.from(buffer.buffer, buffer.byteOffset, count))
          return true
        },
      }
      const socket = connect({ host, port, noDelay: true, keepAlive: true, onread })
      socket.setTimeout(timeoutMs, () =>
        socket.destroy(new Error(`no answer from ${host}:${port} within ${timeoutMs} ms`)),
      )
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        socket.setTimeout(0)
        const connection = new BeanstalkdConnection(socket)
        hear = (bytes) => connection.#hear(bytes)
        resolve(connection)
      })
    })
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', (error) => this.#break(error))
    socket.on('close', () => this.#break(new Error('the connection was closed')))
  }

  get broken(): boolean {
    return this.#broken !== undefined
  }

  /** Sends a command, with a body where it takes one. Rejects when the connection breaks before the answer. */
  command(line: string, body?: string | Buffer): Promise<Reply> {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>()
    this.#enter([body === undefined ? { line } : { line, body }], ([reply]) => {
      if (reply instanceof Error) reject(reply)
      else if (reply !== undefined) resolve(reply)
    })
    return promise
  }

  /** Sends commands together. Resolves with one answer for each, or the error of those before whose answer the connection broke. */
  all(commands: readonly Command[]): Promise<readonly (Reply | Error)[]> {
    if (commands.length === 0) return Promise.resolve([])
    return new Promise((resolve) => this.#enter(commands, resolve))
  }

  #enter(commands: readonly Command[], resolve: Waiting['resolve']): void {
    if (this.#broken !== undefined) return resolve(commands.map(() => this.#broken ?? new Error('broken')))
    this.#waiting.push({ replies: [], count: commands.length, resolve })
    if (this.#outgoing.length === 0) process.nextTick(() => this.#flush())
    for (const { line, body } of commands) {
      this.#outgoing.push(`${line}\r\n`)
      if (body !== undefined) this.#outgoing.push(body, '\r\n')
    }
    if (commands.length >= manyCommands) this.#wait()
  }

  #flush(): void {
    const pieces = this.#outgoing
    this.#outgoing = []
    if (pieces.every((piece) => typeof piece === 'string')) this.#socket.write(pieces.join(''))
    else
      this.#socket.write(Buffer.concat(pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece))))
  }

  /** Reads nothing for a moment. */
  #wait(): void {
    if (this.#moment !== undefined) return
    this.#socket.pause()
    this.#moment = setTimeout(() => {
      this.#moment = undefined
      this.#socket.resume()
    }, momentMs)
  }

  close(): void {
    this.#socket.destroy()
  }

  /** `chunk` is read into again afterwards: what is kept of it is copied. */
  #hear(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let from = 0
    for (;;) {
      const end = bytes.indexOf(0x0a, from)
      if (end === -1) {
        if (bytes.length - from > lineBytesMax) this.#socket.destroy(new Error('this is not Beanstalkd'))
        break
      }
      const line = bytes.toString('latin1', from, end - 1)
      let next = end + 1
      let body: Buffer | null = null
      if (hasBody(line)) {
        const size = Number(line.slice(line.lastIndexOf(' ') + 1))
        if (bytes.length < next + size + 2) break
        body = Buffer.from(bytes.subarray(next, next + size))
        next += size + 2
      }
      from = next
      this.#answer({ line, body })
    }
    this.#rest = from === bytes.length ? nothing : Buffer.from(bytes.subarray(from))
  }

  #answer(reply: Reply): void {
    const [first] = this.#waiting
    if (first === undefined) return
    first.replies.push(reply)
    if (first.replies.length < first.count) return
    this.#waiting.shift()
    first.resolve(first.replies)
  }

  #break(error: Error): void {
    if (this.#broken !== undefined) return
    this.#broken = error
    clearTimeout(this.#moment)
    this.#socket.destroy()
    for (const waiting of this.#waiting.splice(0)) {
      while (waiting.replies.length < waiting.count) waiting.replies.push(error)
      waiting.resolve(waiting.replies)
    }
  }
}

/** Whether a line is followed by as many bytes as its last word says. */
function hasBody(line: string): boolean {
  return line.startsWith('RESERVED ') || line.startsWith('OK ') || line.startsWith('FOUND ')
}
