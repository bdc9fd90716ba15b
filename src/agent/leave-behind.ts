/** The last that is asked of data that is left behind. Invariant: it is asked for a limited time. */
import type { Clock } from '../base/index.ts'
import type { Provider, ProviderContext } from '../provider/index.ts'
import { within } from './halts.ts'

/**
 * How long the data of the older generation is tried to be asked for what must outlive it. Somebody may be going back because
 * it does not answer any more.
 */
export const abandonMs: number = 10_000

/** As the work, or throws when the server has ended or the resource is to stop. */
export type OrEnded = <T>(work: Promise<T>) => Promise<T>

/** Has the provider write into `dir` what must outlive the data of the context. */
export async function abandon(
  context: ProviderContext,
  provider: Provider,
  dir: string,
  orEnded: OrEnded,
): Promise<void> {
  const work = orEnded(provider.abandon?.(context, dir) ?? Promise.resolve())
  await within(context.clock, abandonMs, work, () => {
    return new Error(`${context.name} did not say within ${abandonMs} ms what must outlive its data`)
  })
}

/** For which generation data is to be left behind, and since when it is tried to be asked. */
export class Patience {
  readonly #clock: Clock
  #began: { readonly generation: number; readonly sinceMs: number } | null = null

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Data is to be left behind for this generation from now on, or since before; null: none is. */
  look(generation: number | null): void {
    if (generation === null) this.#began = null
    else if (this.#began?.generation !== generation) this.#began = { generation, sinceMs: this.#clock.monotonicMs() }
  }

  /** Others were waited for since `fromMs`, which is not the fault of the data. */
  excuse(generation: number, fromMs: number): void {
    const sinceMs = this.#began?.generation === generation ? this.#began.sinceMs : fromMs
    this.#began = { generation, sinceMs: sinceMs + this.#clock.monotonicMs() - fromMs }
  }

  /** Whether data is to be left behind for this generation, and, unless it failed for good, was asked for long enough. */
  isOver(generation: number, forGood: boolean): boolean {
    if (this.#began?.generation !== generation) return false
    return forGood || this.#clock.monotonicMs() - this.#began.sinceMs >= abandonMs
  }
}
