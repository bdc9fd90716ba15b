/**
 * Whose debuggers are in a program, each of which may stop it for as long as he likes. Invariant: a hold ends once, with whoever
 * took it; while there is one, no time that the program must keep runs out.
 */
import { type AssignmentStatus, type DebuggerOf, type DebuggerStatus, statusDebuggersMax } from '../protocol/index.ts'

/** One debugger in it. */
export interface Hold extends Disposable {
  /** Whether the program stands at a breakpoint of it. */
  stands(now: boolean): void
}

export class Holds {
  readonly #nowMs: () => number
  readonly #later: (delayMs: number, run: () => void) => void
  readonly #onChange: () => void
  readonly #held = new Set<{ status: DebuggerStatus }>()

  constructor(nowMs: () => number, later: (delayMs: number, run: () => void) => void, onChange: () => void) {
    this.#nowMs = nowMs
    this.#later = later
    this.#onChange = onChange
  }

  /** Since when there is one, by the clock that was given; null when there is none. */
  get sinceMs(): number | null {
    return this.debuggers[0]?.sinceMs ?? null
  }

  /** Whether there is one. */
  get any(): boolean {
    return this.#held.size > 0
  }

  /** All of them, the first first. */
  get debuggers(): readonly DebuggerStatus[] {
    return [...this.#held].map(({ status }) => status)
  }

  /** As it is told. */
  get status(): Pick<AssignmentStatus, 'heldSinceMs' | 'debuggers'> {
    const { sinceMs, debuggers } = this
    return sinceMs === null ? {} : { heldSinceMs: sinceMs, debuggers: debuggers.slice(0, statusDebuggersMax) }
  }

  /** `whose` is null where nobody has said. */
  take(whose: DebuggerOf | null): Hold {
    const { by, traffic } = whose ?? { by: 'somebody', traffic: 'keep' }
    const held = { status: { by, traffic, sinceMs: this.#nowMs(), stands: false } }
    this.#held.add(held)
    this.#onChange()
    return {
      stands: (now) => {
        if (held.status.stands === now || !this.#held.has(held)) return
        held.status = { ...held.status, stands: now }
        this.#onChange()
      },
      [Symbol.dispose]: () => {
        if (this.#held.delete(held)) this.#onChange()
      },
    }
  }

  /** Runs something when the time is over; while it is held, the time begins anew. */
  due(delayMs: number, run: () => void): void {
    this.#later(delayMs, () => (this.any ? this.due(delayMs, run) : run()))
  }
}
