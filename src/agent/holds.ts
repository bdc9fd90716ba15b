/**
 * Whether somebody may stop a program for as long as he likes, as a debugger does. Invariant: a hold ends once, with whoever
 * took it; while there is one, no time that the program must keep runs out.
 */

export class Holds {
  readonly #later: (delayMs: number, run: () => void) => void
  #count = 0

  constructor(later: (delayMs: number, run: () => void) => void) {
    this.#later = later
  }

  /** Whether there is one. */
  get any(): boolean {
    return this.#count > 0
  }

  take(): Disposable {
    this.#count++
    let taken = true
    return {
      [Symbol.dispose]: () => {
        if (taken) this.#count--
        taken = false
      },
    }
  }

  /** Runs something when the time is over; while it is held, the time begins anew. */
  due(delayMs: number, run: () => void): void {
    this.#later(delayMs, () => (this.any ? this.due(delayMs, run) : run()))
  }
}
