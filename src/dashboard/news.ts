/**
 * When a page is told something again: after a change, but no more often than every `intervalMs`; and before silence would be
 * taken for a broken line.
 */
import type { Clock } from '../base/index.ts'
import { beatMs } from './wire.ts'

/** Shortest time between two messages about changes. */
const intervalMs = 500

/** When there is something to say again. */
export class News {
  readonly #clock: Clock
  readonly #signal: AbortSignal
  #changed = false
  #saidMs: number
  #wake: () => void = () => {}

  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock
    this.#signal = signal
    this.#saidMs = clock.monotonicMs()
    signal.addEventListener('abort', () => this.#wake())
  }

  changed(): void {
    this.#changed = true
    this.#wake()
  }

  said(): void {
    this.#saidMs = this.#clock.monotonicMs()
  }

  silentMs(): number {
    return this.#clock.monotonicMs() - this.#saidMs
  }

  /** Waits for a change, but at least `intervalMs` and at most until a beat is due. */
  async next(): Promise<void> {
    await this.#pause(intervalMs, () => false)
    await this.#pause(Math.max(0, beatMs - this.silentMs()), () => this.#changed)
    this.#changed = false
  }

  async #pause(forMs: number, enough: () => boolean): Promise<void> {
    if (forMs === 0) return
    let over = false
    const { promise, resolve } = Promise.withResolvers<void>()
    const look = (): void => {
      if (over || enough() || this.#signal.aborted) resolve()
    }
    this.#wake = look
    using _timer = this.#clock.after(forMs, () => {
      over = true
      look()
    })
    look()
    await promise
  }
}
