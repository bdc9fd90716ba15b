/**
 * Time as a value that is passed in, so that cores can be tested in virtual time. No code outside this file and the
 * process entries reads the machine's clock.
 */

export interface Clock {
  /** Wall clock, milliseconds since 1970. May step; only for what a person reads and for schedules. */
  nowMs(): number
  /** Milliseconds from an arbitrary start; never steps back. For durations and deadlines. */
  monotonicMs(): number
  /** Calls `run` once after `delayMs`; the handle cancels it. A pending timer does not keep the process alive. */
  after(delayMs: number, run: () => void): Disposable
}

/** The machine's own clock. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs)
    timer.unref()
    return { [Symbol.dispose]: () => clearTimeout(timer) }
  },
}

/** Resolves after `delayMs` on `clock`; rejects with the signal's reason when aborted first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error)
    const onAbort = (): void => {
      timer[Symbol.dispose]()
      reject(signal?.reason as Error)
    }
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** A clock that moves only when told to; timers fire in order while it advances. */
export class ManualClock implements Clock {
  #nowMs: number
  #sequence = 0
  readonly #timers = new Map<number, { atMs: number; run: () => void }>()

  constructor(startMs = 0) {
    this.#nowMs = startMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  after(delayMs: number, run: () => void): Disposable {
    const id = this.#sequence++
    this.#timers.set(id, { atMs: this.#nowMs + delayMs, run })
    return { [Symbol.dispose]: () => void this.#timers.delete(id) }
  }

  /** Moves time forward and fires what falls due, earliest first. */
  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.atMs <= untilMs)
      const next = due.sort(([a, x], [b, y]) => x.atMs - y.atMs || a - b)[0]
      if (next === undefined) break
      this.#timers.delete(next[0])
      this.#nowMs = next[1].atMs
      next[1].run()
    }
    this.#nowMs = untilMs
  }
}
