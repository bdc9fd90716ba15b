/**
 * Looks at the platform for all pages at once: on every change it is told of, and every second for the plots. Invariant:
 * what it remembers is of apps that are there; a page that goes takes nothing with it, and what goes wrong here ends
 * nothing of the platform: whoever asks next is told.
 */
import { type Clock, isSteadError } from '../base/index.ts'
import type { Operations, PlatformInfo } from '../operator/index.ts'
import { History } from './history.ts'
import { cardOf, stateOf } from './state.ts'
import type { AppCard, AppState, Sample } from './wire.ts'

/** Shortest time between two looks, and the longest. */
const lookMs = 250
const idleMs = 1000

export class Observer implements Disposable {
  readonly #operations: Operations
  readonly #clock: Clock
  readonly #histories = new Map<string, History>()
  readonly #listeners = new Set<() => void>()
  readonly #stop = new AbortController()
  readonly #startedMs: number
  #timer: Disposable | null = null

  constructor(operations: Operations, clock: Clock) {
    this.#operations = operations
    this.#clock = clock
    this.#startedMs = clock.nowMs() - clock.monotonicMs()
    // Without it there is still a look every second.
    this.#follow().catch(() => {})
    this.#tick()
  }

  /** Wall clock that never goes back. */
  nowMs(): number {
    return Math.round(this.#startedMs + this.#clock.monotonicMs())
  }

  /** Calls `run` when there may be something new. */
  onChange(run: () => void): Disposable {
    this.#listeners.add(run)
    return { [Symbol.dispose]: () => void this.#listeners.delete(run) }
  }

  platform(): PlatformInfo {
    return this.#operations.platform()
  }

  cards(): AppCard[] {
    return this.platform().apps.map((summary) => {
      const status = this.#ifThere(() => this.#operations.status(summary.app))
      return cardOf(summary, status)
    })
  }

  /** Everything of an app; null when it is not there, or has only begun to start. */
  state(app: string): AppState | null {
    return this.#ifThere(() => {
      const status = this.#operations.status(app)
      return stateOf(this.#operations.graph(app), status, this.#history(app))
    })
  }

  samples(app: string): readonly Sample[] {
    return this.#histories.get(app)?.samples() ?? []
  }

  [Symbol.dispose](): void {
    this.#stop.abort()
    this.#timer?.[Symbol.dispose]()
    this.#listeners.clear()
  }

  async #follow(): Promise<void> {
    for await (const _ of this.#operations.changes(lookMs, this.#stop.signal)) this.#look()
  }

  #tick(): void {
    try {
      this.#look()
    } catch {
      // A page that asks meets the same, and is told.
    }
    this.#timer = this.#clock.after(idleMs, () => this.#tick())
  }

  #look(): void {
    const apps = this.platform().apps.map(({ app }) => app)
    for (const app of this.#histories.keys()) if (!apps.includes(app)) this.#histories.delete(app)
    for (const app of apps) {
      const status = this.#ifThere(() => this.#operations.status(app))
      if (status !== null) this.#history(app).observe(status, this.nowMs())
    }
    for (const listener of this.#listeners) listener()
  }

  #history(app: string): History {
    const known = this.#histories.get(app) ?? new History()
    this.#histories.set(app, known)
    return known
  }

  #ifThere<T>(ask: () => T): T | null {
    try {
      return ask()
    } catch (error) {
      if (isSteadError(error)) return null
      throw error
    }
  }
}
