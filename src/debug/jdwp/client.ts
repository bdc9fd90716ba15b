/**
 * A conversation with a Java machine: requests, answers, events.
 *
 * Invariants: every request settles, at the latest with its time or with the connection. When the connection ends the machine
 * itself forgets breakpoints and lets every thread run: nothing of ours is needed for that.
 */
import type { Duplex } from 'node:stream'
import { type Clock, messageOf } from '../../base/index.ts'
import { connectionLost, didNotAnswer } from '../refusals.ts'
import { Requests } from '../requests.ts'
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

const answerMs = 30_000
const shakeMs = 10_000

export class Jdwp {
  /** Settles when the connection has ended, with the reason. */
  readonly lost: Promise<string>
  readonly #stream: Duplex
  readonly #requests: Requests<keyof typeof commands, JdwpReader>
  #events: (body: JdwpReader) => void = () => undefined
  #lastId = 0

  private constructor(stream: Duplex, clock: Clock) {
    this.#stream = stream
    this.#requests = new Requests(clock, (command) => `the Java machine, asked for ${command},`)
    this.lost = this.#requests.lost
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
    stream.on('error', (error) => jdwp.#requests.end(messageOf(error)))
    stream.on('end', () => jdwp.#requests.end('the machine closed it'))
    stream.on('close', () => jdwp.#requests.end('it was closed'))
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
    if (this.#requests.ended !== null) return Promise.reject(connectionLost(this.#requests.ended))
    const id = ++this.#lastId
    const answer = this.#requests.wait(id, command, timeoutMs)
    const writer = new JdwpWriter()
    write(writer)
    const [set, number] = commands[command]
    this.#stream.write(encodeJdwp(id, set, number, writer.bytes))
    return answer
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
    this.#requests.answered(id, (command) => {
      if (errorCode === 0) return new JdwpReader(body)
      throw new JdwpFault(command, errorCode)
    })
  }
}
