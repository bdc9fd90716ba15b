/**
 * A client of the Chrome DevTools Protocol over whatever carries its messages.
 *
 * Invariants: every call settles: with its answer, with `debug.no-answer` after its time, or with `debug.lost` when the
 * connection ends. What the process says is not trusted: what is no answer or known event is dropped.
 */
import { type Clock, messageOf } from '../../base/index.ts'
import { connectionLost, didNotAnswer, targetSays } from '../refusals.ts'
import { Requests } from '../requests.ts'
import type { Commands, Events } from './protocol.ts'

/** What carries the messages, each one JSON text. */
export interface Wire {
  send(text: string): void
  close(): void
}

/** Longest wait for an answer, unless the caller knows better. A busy process answers between two of its statements. */
export const answerMs = 10_000
/** Most calls under way. */
const callsMax = 1000

type Listener = (params: never) => void

export class Cdp {
  readonly #wire: Wire
  readonly #requests: Requests<string, unknown>
  readonly #listeners = new Map<string, Set<Listener>>()
  #lastId = 0

  constructor(wire: Wire, clock: Clock) {
    this.#wire = wire
    this.#requests = new Requests(clock, (method) => `the process (${method})`)
  }

  /** Settles with the reason when the connection has ended. */
  get lost(): Promise<string> {
    return this.#requests.lost
  }

  async call<M extends keyof Commands>(
    method: M,
    params: Commands[M][0],
    timeoutMs: number = answerMs,
  ): Promise<Commands[M][1]> {
    if (this.#requests.ended !== null) throw connectionLost(this.#requests.ended)
    if (this.#requests.count >= callsMax) throw didNotAnswer('the process', 0)
    const id = ++this.#lastId
    const answer = this.#requests.wait(id, method, timeoutMs)
    try {
      this.#wire.send(JSON.stringify({ id, method, params }))
    } catch (error) {
      this.#requests.answered(id, () => {
        throw error
      })
    }
    // The answer belongs to the method it was asked with: the one place where the protocol's types are believed.
    return (await answer) as Commands[M][1]
  }

  on<E extends keyof Events>(method: E, listener: (params: Events[E]) => void): Disposable {
    const listeners = this.#listeners.get(method) ?? new Set()
    this.#listeners.set(method, listeners)
    listeners.add(listener)
    return { [Symbol.dispose]: () => void listeners.delete(listener) }
  }

  /** Takes a message that came in. */
  receive(text: string): void {
    const message = parse(text)
    if (message === null) return
    if (typeof message['id'] === 'number') return this.#answered(message['id'], message)
    const { method, params } = message
    if (typeof method !== 'string') return
    for (const listener of this.#listeners.get(method) ?? []) listener(params as never)
  }

  /** The connection has ended, by whoever. */
  end(reason: string): void {
    if (!this.#requests.end(reason)) return
    this.#listeners.clear()
    this.#wire.close()
  }

  #answered(id: number, message: Readonly<Record<string, unknown>>): void {
    this.#requests.answered(id, (method) => {
      const { error, result } = message
      if (error === undefined) return result
      const said = typeof error === 'object' && error !== null && 'message' in error ? error.message : error
      throw targetSays(method, messageOf(said))
    })
  }
}

function parse(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : null
  } catch {
    return null
  }
}
