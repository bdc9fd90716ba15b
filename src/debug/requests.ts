/**
 * The requests of a conversation that wait for their answers, by number. Invariant: each settles: with its answer, with
 * `debug.no-answer` after its time, or with `debug.lost` when the conversation ends.
 */
import type { Clock } from '../base/index.ts'
import { connectionLost, didNotAnswer } from './refusals.ts'

interface Waiting<W, T> {
  readonly what: W
  readonly resolve: (answer: T) => void
  readonly reject: (error: Error) => void
  readonly timer: Disposable
}

/** `W`: what is asked, as its answer needs to know it. */
export class Requests<W, T> {
  readonly #clock: Clock
  /** Of whom nothing was heard in time. */
  readonly #whom: (what: W) => string
  readonly #waiting = new Map<number, Waiting<W, T>>()
  readonly #lost = Promise.withResolvers<string>()
  #ended: string | null = null

  constructor(clock: Clock, whom: (what: W) => string) {
    this.#clock = clock
    this.#whom = whom
  }

  /** Settles when the conversation has ended, with the reason. */
  get lost(): Promise<string> {
    return this.#lost.promise
  }

  /** Why the conversation has ended; null while it goes on. */
  get ended(): string | null {
    return this.#ended
  }

  get count(): number {
    return this.#waiting.size
  }

  /** Waits for the answer of that number. Throws `debug.no-answer`, `debug.lost`, and what it is answered with. */
  wait(id: number, what: W, timeoutMs: number): Promise<T> {
    if (this.#ended !== null) return Promise.reject(connectionLost(this.#ended))
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const timer = this.#clock.after(timeoutMs, () => {
      this.#waiting.delete(id)
      reject(didNotAnswer(this.#whom(what), timeoutMs))
    })
    this.#waiting.set(id, { what, resolve, reject, timer })
    return promise
  }

  /** An answer has come; one that nobody waits for is dropped. `take` makes of it what is answered, or throws what is. */
  answered(id: number, take: (what: W) => T): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    this.#waiting.delete(id)
    waiting.timer[Symbol.dispose]()
    try {
      waiting.resolve(take(waiting.what))
    } catch (error) {
      waiting.reject(error instanceof Error ? error : new Error(String(error)))
    }
  }

  /** Answers whether this was the end: it ends once. */
  end(why: string): boolean {
    if (this.#ended !== null) return false
    this.#ended = why
    for (const { reject, timer } of this.#waiting.values()) {
      timer[Symbol.dispose]()
      reject(connectionLost(why))
    }
    this.#waiting.clear()
    this.#lost.resolve(why)
    return true
  }
}
