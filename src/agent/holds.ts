/**
 * Whether somebody may stop a program for as long as he likes, as a debugger does. Invariant: a hold ends once, with whoever
 * took it; while there is one, no time that the program must keep runs out.
 */

export class Holds {
  readonly #nowMs: () => number
  readonly #later: (delayMs: number, run: () => void) => void
  readonly #onChange: () => void
  #count = 0
  #sinceMs: number | null = null

  constructor(nowMs: () => number, later: (delayMs: number, run: () => void) => void, onChange: () => void) {
    this.#nowMs = nowMs
    this.#later = later
    this.#onChange = onChange
  }

  /** Since when there is one, by the clock that was given; null when there is none. */
  get sinceMs(): number | null {
    return this.#sinceMs
  }

  /** Whether there is one. */
  get any(): boolean {
    return this.#count > 0
  }

  take(): Disposable {
    this.#sinceMs ??= this.#nowMs()
    if (this.#count++ === 0) this.#onChange()
    let taken = true
    return {
      [Symbol.dispose]: () => {
        if (!taken) return
        taken = false
        if (--this.#count > 0) return
        this.#sinceMs = null
        this.#onChange()
      },
    }
  }

  /** Runs something when the time is over; while it is held, the time begins anew. */
  due(delayMs: number, run: () => void): void {
    this.#later(delayMs, () => (this.any ? this.due(delayMs, run) : run()))
  }
}
