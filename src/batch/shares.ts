/**
 * What accounts have used of the past, kept for the next control. Invariant: it is written now and then, as one record of
 * bounded size, and never because nothing but time has passed; what is lost of it is `everyMs` of use.
 */
import type { Scheduler } from '../scheduler/index.ts'
import type { Ledger } from './ledger.ts'
import { accountsKeptMax } from './limits.ts'

const everyMs = 30_000

export class Shares {
  #moved = false
  #keptMs = -Infinity

  /** A task has begun or ended. */
  moved(): void {
    this.#moved = true
  }

  keep(nowMs: number, scheduler: Scheduler, ledger: Ledger): void {
    if (!this.#moved || nowMs - this.#keptMs < everyMs) return
    this.#moved = false
    this.#keptMs = nowMs
    ledger.setUsed(scheduler.used().slice(0, accountsKeptMax))
  }
}
