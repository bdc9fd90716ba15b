/**
 * One client of the Debug Adapter Protocol: its requests in order, answers and events to it.
 *
 * Invariant: every request is answered once, a failed one with its sentence; a client that reads nothing is let go of.
 */
import type { Duplex } from 'node:stream'
import { isSteadError, messageOf } from '../../base/index.ts'
import { mapTexts } from '../redact.ts'
import { DapDecoder, encodeDap } from './codec.ts'

export type Arguments = Readonly<Record<string, unknown>>

/** Answers the body of the response. */
export type Handler = (args: Arguments) => Promise<Readonly<Record<string, unknown>> | void>

/** Bytes that a client has not read. */
const unreadBytesMax = 32_000_000
/** Requests under way. */
const pendingMax = 1000

export class DapPeer {
  readonly #client: Duplex
  readonly #hide: (text: string) => string
  #sequence = 0

  /** `hide` takes texts that are known to be secret out of whatever the client is told. */
  constructor(client: Duplex, hide: (text: string) => string) {
    this.#client = client
    this.#hide = hide
  }

  event(event: string, body: Readonly<Record<string, unknown>> = {}): void {
    this.#send({ type: 'event', event, body })
  }

  /** Serves until the client disconnects (answers true) or its stream ends (false). */
  async serve(handlers: Readonly<Record<string, Handler>>): Promise<boolean> {
    const decoder = new DapDecoder()
    let pending = 0
    // In order, because an answer may depend on what was asked before. Only an evaluation is not waited for: it may not
    // end before the program is told to go on.
    let last: Promise<void> = Promise.resolve()
    try {
      for await (const piece of this.#client.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
        for (const message of decoder.push(piece)) {
          if (message['type'] !== 'request' || typeof message['command'] !== 'string') continue
          if (pending >= pendingMax) return false
          pending++
          const answered = last.then(() => this.#answer(message, handlers)).finally(() => pending--)
          if (message['command'] !== 'evaluate') last = answered
          if (message['command'] === 'disconnect') {
            await answered
            this.#client.end()
            return true
          }
        }
      }
    } catch (error) {
      // A stream that broke is one that ended; what is no protocol gets the sentence, and the end.
      if (isSteadError(error)) this.event('output', { category: 'stderr', output: `${error.message}\n` })
    }
    await last
    this.#client.destroy()
    return false
  }

  async #answer(request: Arguments, handlers: Readonly<Record<string, Handler>>): Promise<void> {
    const command = String(request['command'])
    const given = request['arguments']
    const head = { type: 'response', request_seq: request['seq'], command }
    try {
      const handler = handlers[command]
      if (handler === undefined) throw new Error(`there is no '${command}' here`)
      const body = await handler(typeof given === 'object' && given !== null ? { ...given } : {})
      this.#send({ ...head, success: true, ...(body === undefined ? {} : { body }) })
    } catch (error) {
      const hint = isSteadError(error) && error.hint !== undefined ? ` ${error.hint}` : ''
      const format = `${messageOf(error)}${hint}`
      this.#send({ ...head, success: false, message: format, body: { error: { id: 1, format, showUser: true } } })
    }
  }

  #send(message: Readonly<Record<string, unknown>>): void {
    if (this.#client.destroyed || this.#client.writableEnded) return
    const shown = Object.entries(message).map(([name, value]) => [name, mapTexts(value, this.#hide)])
    this.#client.write(encodeDap({ seq: ++this.#sequence, ...Object.fromEntries(shown) }))
    if (this.#client.writableLength > unreadBytesMax) this.#client.destroy()
  }
}

export function textIn(args: Arguments, name: string): string {
  const value = args[name]
  return typeof value === 'string' ? value : ''
}

export function numberIn(args: Arguments, name: string): number {
  const value = args[name]
  return typeof value === 'number' ? value : 0
}

export function objectsIn(args: Arguments, name: string): readonly Arguments[] {
  const value = args[name]
  if (!Array.isArray(value)) return []
  return value.flatMap((item: unknown) => (typeof item === 'object' && item !== null ? [{ ...item }] : []))
}
