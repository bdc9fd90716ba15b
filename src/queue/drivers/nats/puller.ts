/**
 * Takes messages of one queue on NATS for those who wait in this process. The server gives what a pull asks for even when
 * nobody wants it any more, so one pull for one message is the bell for all who wait, and what it brings too late is kept for
 * the next who asks, or given back. What is taken is exactly what was asked for.
 */
import type { Clock } from '../../../base/index.ts'

/** How long one bell waits; and how long what it brought too late waits for somebody to ask. */
const bellMs = 5000
const keepMs = 500

/** How messages come and go. */
export interface PullerWork<Taken> {
  /** Those that wait now (`expiresMs` 0), or the first that comes. */
  pull(max: number, expiresMs: number): Promise<readonly Taken[]>
  /** To the server, without having counted. */
  giveBack(taken: Taken): Promise<void>
}

type Waiter<Taken> = (outcome: Taken | null | { readonly failed: unknown }) => boolean

export class Puller<Taken extends object> {
  readonly #work: PullerWork<Taken>
  readonly #clock: Clock
  readonly #waiters = new Set<Waiter<Taken>>()
  #late: Taken[] = []
  #lateTimer: Disposable | undefined
  #listening = false

  constructor(work: PullerWork<Taken>, clock: Clock) {
    this.#work = work
    this.#clock = clock
  }

  /** Up to `max`, as soon as there is one; none when the wait or the signal ends it. */
  async take(max: number, waitMs: number, signal: AbortSignal): Promise<readonly Taken[]> {
    const now = this.#late.splice(0, max)
    if (now.length < max) now.push(...(await this.#more(max - now.length, now.length > 0)))
    if (now.length > 0 || waitMs === 0 || signal.aborted) return now
    const first = await this.#ring(waitMs, signal)
    if (first === null) return []
    return max === 1 ? [first] : [first, ...(await this.#more(max - 1, true))]
  }

  /** Gives back what nobody asked for. */
  async close(): Promise<void> {
    this.#lateTimer?.[Symbol.dispose]()
    await Promise.all(this.#late.splice(0).map((taken) => this.#work.giveBack(taken)))
  }

  async #more(max: number, some: boolean): Promise<readonly Taken[]> {
    try {
      return await this.#work.pull(max, 0)
    } catch (error) {
      // Those that were taken already are not held up by a failure.
      if (some) return []
      throw error
    }
  }

  async #ring(waitMs: number, signal: AbortSignal): Promise<Taken | null> {
    const { promise, resolve } = Promise.withResolvers<Taken | null | { readonly failed: unknown }>()
    const waiter: Waiter<Taken> = (outcome) => {
      if (!this.#waiters.delete(waiter)) return false
      resolve(outcome)
      return true
    }
    this.#waiters.add(waiter)
    const stop = (): void => void waiter(null)
    signal.addEventListener('abort', stop, { once: true })
    using _late = this.#clock.after(waitMs, stop)
    void this.#listen()
    try {
      const outcome = await promise
      if (outcome !== null && 'failed' in outcome) throw outcome.failed
      return outcome
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  async #listen(): Promise<void> {
    if (this.#listening) return
    this.#listening = true
    try {
      while (this.#waiters.size > 0) {
        const [taken] = await this.#work.pull(1, bellMs)
        const [waiter] = this.#waiters
        if (taken !== undefined && (waiter === undefined || !waiter(taken))) this.#keep(taken)
      }
    } catch (error) {
      for (const waiter of this.#waiters) waiter({ failed: error })
    } finally {
      this.#listening = false
    }
  }

  #keep(taken: Taken): void {
    this.#late.push(taken)
    this.#lateTimer ??= this.#clock.after(keepMs, () => {
      this.#lateTimer = undefined
      // What cannot be given back comes again when the server's time for it is over.
      for (const late of this.#late.splice(0)) this.#work.giveBack(late).catch(() => {})
    })
  }
}
