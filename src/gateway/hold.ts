/**
 * A request that waits for its route to have instances again, while a release takes the place of another. Invariants: a route
 * holds at most `heldMax`; each waits once, however often the table changes, and at most as long as the route says.
 */
import type { Core } from './core.ts'
import type { RouteState } from './route-state.ts'

export class Hold {
  readonly #core: Core
  readonly #state: RouteState
  #untilMs = -1
  #timer: Disposable | null = null
  #wake: (() => void) | null = null

  constructor(core: Core, state: RouteState) {
    this.#core = core
    this.#state = state
  }

  /**
   * Calls `again` when the route has instances, or does not hold any more; `late` when its time is over. Answers false, and
   * calls neither, when this one is not to wait.
   */
  wait(again: () => void, late: () => void): boolean {
    const { clock, limits } = this.#core
    const { held, route } = this.#state
    if (route.holdMs === undefined || held.size >= limits.heldMax || this.#core.closing) return false
    const nowMs = clock.monotonicMs()
    if (this.#untilMs < 0) this.#untilMs = nowMs + route.holdMs
    if (nowMs >= this.#untilMs) return false
    this.stop()
    this.#wake = () => {
      this.stop()
      again()
    }
    held.add(this.#wake)
    this.#timer = clock.after(this.#untilMs - nowMs, () => {
      this.stop()
      late()
    })
    return true
  }

  /** Whether it has waited at all. */
  get hasWaited(): boolean {
    return this.#untilMs >= 0
  }

  /** It waits no more: its client has left. */
  stop(): void {
    if (this.#wake !== null) this.#state.held.delete(this.#wake)
    this.#wake = null
    this.#timer?.[Symbol.dispose]()
    this.#timer = null
  }
}
