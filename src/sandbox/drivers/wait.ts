/** Bounded waiting for what the kernel does not announce. Invariant: never longer than asked. */
import { sleep } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'

/** Looks until `done` or the time is over, with growing pauses of 1 to 50 ms; answers whether it was done. */
export async function waitUntil(clock: Clock, timeoutMs: number, done: () => boolean): Promise<boolean> {
  const deadlineMs = clock.monotonicMs() + timeoutMs
  for (let pauseMs = 1; !done(); pauseMs = Math.min(50, pauseMs * 2)) {
    if (clock.monotonicMs() >= deadlineMs) return false
    await sleep(clock, pauseMs)
  }
  return true
}
