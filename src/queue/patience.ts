/** Bounded waiting for what may pass: tries again with growing pauses, until it works, cannot pass, or the time is over. */
import { isSteadError, sleep } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import { mayPass } from './errors.ts'

const firstPauseMs = 20
const pauseMsMax = 2000

/** The pause before the next try, after so many in a row have failed (1 for the first). */
export function pauseMs(failures: number): number {
  return Math.min(firstPauseMs * 2 ** Math.min(failures - 1, 20), pauseMsMax)
}

/** The answer of `call`, tried again while `mayTry` allows and until `untilMs` on the monotonic clock. */
export async function patiently<T>(
  clock: Clock,
  untilMs: number,
  mayTry: (error: unknown) => boolean,
  call: () => Promise<T>,
): Promise<T> {
  for (let failures = 1; ; failures += 1) {
    try {
      return await call()
    } catch (error) {
      const waitMs = pauseMs(failures)
      if (!mayTry(error) || clock.monotonicMs() + waitMs > untilMs) throw error
      await sleep(clock, waitMs)
    }
  }
}

/** Sending again is right whenever it can help: at worst the message comes twice, under the same id. */
export function maySendAgain(error: unknown): boolean {
  return mayPass(error)
}

/** Settling again is right only when nothing was done: after a lost answer the second try could not tell whose it was. */
export function maySettleAgain(error: unknown): boolean {
  return isSteadError(error) && error.code === 'queue.unavailable'
}
