/** A client of the Debug Adapter Protocol for tests: asks, waits for events, and can vanish. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { systemClock } from '../base/index.ts'
import { DapDecoder, encodeDap } from './dap/codec.ts'

type Body = Readonly<Record<string, unknown>>

const waitMs = 30_000

export class DapClient {
  readonly #stream: Duplex
  readonly #messages: Body[] = []
  readonly #seen = new Set<Body>()
  #sequence = 0

  constructor(stream: Duplex) {
    this.#stream = stream
    const decoder = new DapDecoder()
    stream.on('data', (piece: Uint8Array) => this.#messages.push(...decoder.push(piece)))
    stream.on('error', () => undefined)
  }

  static to(port: number): DapClient {
    return new DapClient(connect({ host: '127.0.0.1', port, noDelay: true }))
  }

  /** The body of the answer. Fails the test with what was answered when it is a refusal. */
  async ask(command: string, args: Body = {}): Promise<Body> {
    const answer = await this.answer(command, args)
    assert.equal(answer['success'], true, `${command}: ${JSON.stringify(answer)}`)
    const body = answer['body']
    return typeof body === 'object' && body !== null ? { ...body } : {}
  }

  /** The answer, refusal or not. */
  async answer(command: string, args: Body = {}): Promise<Body> {
    const seq = ++this.#sequence
    this.#stream.write(encodeDap({ seq, type: 'request', command, arguments: args }))
    return await this.#find((message) => message['request_seq'] === seq, `the answer to ${command}`)
  }

  /** The body of the next event of that name that was not yet asked for. */
  async event(name: string, holds: (body: Body) => boolean = () => true): Promise<Body> {
    const bodyOf = (message: Body): Body => {
      const body = message['body']
      return typeof body === 'object' && body !== null ? { ...body } : {}
    }
    const wanted = (message: Body): boolean =>
      !this.#seen.has(message) && message['event'] === name && holds(bodyOf(message))
    const found = await this.#find(wanted, `the event ${name}`)
    this.#seen.add(found)
    return bodyOf(found)
  }

  /** Goes without a word, as a killed editor does. */
  vanish(): void {
    this.#stream.destroy()
  }

  get closed(): boolean {
    return this.#stream.destroyed || this.#stream.readableEnded
  }

  async #find(holds: (message: Body) => boolean, what: string): Promise<Body> {
    for (const endMs = systemClock.monotonicMs() + waitMs; ;) {
      const found = this.#messages.find(holds)
      if (found !== undefined) return found
      assert.ok(
        systemClock.monotonicMs() < endMs,
        `waited ${waitMs} ms for ${what}: ${JSON.stringify(this.#messages.slice(-5))}`,
      )
      await pause(10)
    }
  }
}

/** A list in a body. */
export function listIn(body: Body, name: string): readonly Body[] {
  const value = body[name]
  assert.ok(Array.isArray(value), `${name} is no list in ${JSON.stringify(body)}`)
  return value.map((item: unknown) => (typeof item === 'object' && item !== null ? { ...item } : {}))
}
