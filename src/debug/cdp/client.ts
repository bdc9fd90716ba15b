/**
 * A client of the Chrome DevTools Protocol over whatever carries its messages.
 *
 * Invariants: every call settles: with its answer, with `debug.no-answer` after its time, or with `debug.lost` when the
 * connection ends. What the process says is not trusted: what is no answer or known event is dropped.
 */
import { type Clock, messageOf } from '../../base/index.ts'
import { connectionLost, didNotAnswer, targetSays } from '../refusals.ts'
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

interface Waiting {
  readonly method: string
  readonly settle: (result: unknown) => void
  readonly fail: (error: Error) => void
  readonly timer: Disposable
}

export class Cdp {
  readonly #wire: Wire
  readonly #clock: Clock
  readonly #waiting = new Map<number, Waiting>()
  readonly #listeners = new Map<string, Set<Listener>>()
  readonly #lost = Promise.withResolvers<string>()
  #lastId = 0
  #ended: string | null = null

  constructor(wire: Wire, clock: Clock) {
    this.#wire = wire
    this.#clock = clock
  }

  /** Settles with the reason when the connection has ended. */
  get lost(): Promise<string> {
    return this.#lost.promise
  }

  call<M extends keyof Commands>(
    method: M,
    params: Commands[M][0],
    timeoutMs: number = answerMs,
  ): Promise<Commands[M][1]> {
    if (this.#ended !== null) return Promise.reject(connectionLost(this.#ended))
    if (this.#waiting.size >= callsMax) return Promise.reject(didNotAnswer('the process', 0))
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(timeoutMs, () => {
        this.#waiting.delete(id)
        reject(didNotAnswer(`the process (${method})`, timeoutMs))
      })
      // The answer belongs to the method it was asked with: the one place where the protocol's types are believed.
      const settle = (result: unknown): void => resolve(result as Commands[M][1])
      this.#waiting.set(id, { method, settle, fail: reject, timer })
      this.#wire.send(JSON.stringify({ id, method, params }))
    })
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
    if (this.#ended !== null) return
    this.#ended = reason
    for (const { fail, timer } of this.#waiting.values()) {
      timer[Symbol.dispose]()
      fail(connectionLost(reason))
    }
    this.#waiting.clear()
    this.#listeners.clear()
    this.#wire.close()
    this.#lost.resolve(reason)
  }

  #answered(id: number, message: Readonly<Record<string, unknown>>): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    this.#waiting.delete(id)
    waiting.timer[Symbol.dispose]()
    const { error, result } = message
    if (error === undefined) return waiting.settle(result)
    const said = typeof error === 'object' && error !== null && 'message' in error ? error.message : error
    waiting.fail(targetSays(waiting.method, messageOf(said)))
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
