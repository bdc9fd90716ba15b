/**
 * Wishes that a server stands still for a while, so that its data can be copied where a copy needs that.
 * Invariant: at most one at a time, and whoever wished lets it go on by disposing of what he got.
 */
import { type Clock, sleep, SteadError } from '../base/index.ts'

/** How long somebody waits for a server to stand still. */
const haltMs = 60_000

export interface Halt {
  /** For a person who looks meanwhile. */
  readonly reason: string
  /** Settled by whoever runs the server, when it has stopped. */
  readonly standing: PromiseWithResolvers<void>
  /** Settles when it may go on. */
  readonly over: PromiseWithResolvers<void>
}

export class Halts {
  readonly #clock: Clock
  #wanted: Halt | null = null

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The wish that is to be fulfilled; null: the server may run. */
  get wanted(): Halt | null {
    return this.#wanted
  }

  /**
   * Wishes it; resolves when the server stands, or is `gone` for good. Throws `agent.data-busy` when it does not come about in
   * time, or somebody else has wished it.
   */
  async want(reason: string, gone: Promise<void>): Promise<Disposable> {
    if (this.#wanted !== null) throw busy('it stands still already')
    const halt: Halt = { reason, standing: Promise.withResolvers(), over: Promise.withResolvers() }
    this.#wanted = halt
    const over = {
      [Symbol.dispose]: () => {
        this.#wanted = null
        halt.over.resolve()
      },
    }
    try {
      await within(this.#clock, haltMs, Promise.race([halt.standing.promise, gone]), () =>
        busy(`the server does not come to stand still within ${haltMs} ms`),
      )
      return over
    } catch (error) {
      over[Symbol.dispose]()
      throw error
    }
  }
}

/** As the work, or throws what `late` makes when it takes longer. */
export async function within<T>(clock: Clock, limitMs: number, work: Promise<T>, late: () => Error): Promise<T> {
  const done = new AbortController()
  const limit = sleep(clock, limitMs, done.signal).then(() => Promise.reject(late()))
  limit.catch(() => {})
  try {
    return await Promise.race([work, limit])
  } finally {
    done.abort(new Error('done'))
  }
}

function busy(message: string): SteadError {
  return new SteadError({ code: 'agent.data-busy', message, hint: 'Try again in a moment.', retry: 'later' })
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
