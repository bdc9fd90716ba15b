/**
 * A conversation with a Java machine: requests, answers, events.
 *
 * Invariants: every request settles, at the latest with its time or with the connection. When the connection ends the machine
 * itself forgets breakpoints and lets every thread run: nothing of ours is needed for that.
 */
import type { Duplex } from 'node:stream'
import { type Clock, messageOf } from '../../base/index.ts'
import { connectionLost, didNotAnswer } from '../refusals.ts'
import { encodeJdwp, handshake, JdwpDecoder, JdwpReader, JdwpWriter } from './codec.ts'
import { commands, faultText } from './protocol.ts'

/** The machine answered with an error of its own. */
export class JdwpFault extends Error {
  readonly code: number

  constructor(command: string, code: number) {
    super(`${command}: ${faultText(code)}`)
    this.code = code
  }
}

interface Waiting {
  readonly command: keyof typeof commands
  readonly resolve: (body: JdwpReader) => void
  readonly reject: (error: Error) => void
  readonly timer: Disposable
}

const answerMs = 30_000
const shakeMs = 10_000

export class Jdwp {
  /** Settles when the connection has ended, with the reason. */
  readonly lost: Promise<string>
  readonly #stream: Duplex
  readonly #clock: Clock
  readonly #waiting = new Map<number, Waiting>()
  readonly #lost = Promise.withResolvers<string>()
  #events: (body: JdwpReader) => void = () => undefined
  #lastId = 0
  #ended: string | null = null

  private constructor(stream: Duplex, clock: Clock) {
    this.#stream = stream
    this.#clock = clock
    this.lost = this.#lost.promise
  }

  /** Shakes hands. Throws `debug.lost`, `debug.no-answer`: a machine serves one debugger and lets others wait. */
  static async open(stream: Duplex, clock: Clock): Promise<Jdwp> {
    const jdwp = new Jdwp(stream, clock)
    const shaken = Promise.withResolvers<void>()
    const decoder = new JdwpDecoder()
    let greeting = Buffer.alloc(0)
    let greeted = false
    const hear = (piece: Buffer): void => {
      let rest = piece
      if (!greeted) {
        greeting = Buffer.concat([greeting, piece])
        if (greeting.length < handshake.length) return
        if (greeting.toString('latin1', 0, handshake.length) !== handshake) {
          return void stream.destroy(new Error('what answers there is no Java debugger'))
        }
        greeted = true
        shaken.resolve()
        rest = greeting.subarray(handshake.length)
      }
      for (const { id, errorCode, body } of decoder.push(rest)) jdwp.#hear(id, errorCode, body)
    }
    stream.on('data', (piece: Buffer) => {
      try {
        hear(piece)
      } catch (error) {
        stream.destroy(error instanceof Error ? error : new Error(messageOf(error)))
      }
    })
    stream.on('error', (error) => jdwp.#end(messageOf(error)))
    stream.on('end', () => jdwp.#end('the machine closed it'))
    stream.on('close', () => jdwp.#end('it was closed'))
    void jdwp.lost.then((why) => shaken.reject(connectionLost(why)))
    using _timer = clock.after(shakeMs, () => shaken.reject(didNotAnswer('the Java machine', shakeMs)))
    try {
      stream.write(handshake)
      await shaken.promise
      return jdwp
    } catch (error) {
      stream.destroy()
      throw error
    }
  }

  /** The body of the answer. Throws `JdwpFault`, `debug.no-answer`, `debug.lost`. */
  call(
    command: keyof typeof commands,
    write: (writer: JdwpWriter) => unknown = () => undefined,
    timeoutMs: number = answerMs,
  ): Promise<JdwpReader> {
    if (this.#ended !== null) return Promise.reject(connectionLost(this.#ended))
    const { promise, resolve, reject } = Promise.withResolvers<JdwpReader>()
    const id = ++this.#lastId
    const timer = this.#clock.after(timeoutMs, () => {
      this.#waiting.delete(id)
      reject(didNotAnswer(`the Java machine, asked for ${command},`, timeoutMs))
    })
    this.#waiting.set(id, { command, resolve, reject, timer })
    const writer = new JdwpWriter()
    write(writer)
    const [set, number] = commands[command]
    this.#stream.write(encodeJdwp(id, set, number, writer.bytes))
    return promise
  }

  /** Hears the body of each packet of events from now on, alone. */
  listen(events: (body: JdwpReader) => void): void {
    this.#events = events
  }

  close(): void {
    this.#stream.destroy()
  }

  #hear(id: number, errorCode: number | null, body: Buffer): void {
    if (errorCode === null) return this.#events(new JdwpReader(body))
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    this.#waiting.delete(id)
    waiting.timer[Symbol.dispose]()
    if (errorCode === 0) waiting.resolve(new JdwpReader(body))
    else waiting.reject(new JdwpFault(waiting.command, errorCode))
  }

  #end(why: string): void {
    if (this.#ended !== null) return
    this.#ended = why
    for (const { reject, timer } of this.#waiting.values()) {
      timer[Symbol.dispose]()
      reject(connectionLost(why))
    }
    this.#waiting.clear()
    this.#lost.resolve(why)
  }
}
