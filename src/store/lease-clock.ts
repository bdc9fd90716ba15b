/**
 * The clock that leases expire by where the store is in this process: the wall clock as it was at the start, and durations
 * from there. Setting the machine's clock does not end or stretch a lease.
 */
import type { Clock } from '../base/index.ts'

/** Milliseconds since 1970, in whole ones, never stepping back. */
export function leaseClock(clock: Clock): () => number {
  const startMs = clock.nowMs() - clock.monotonicMs()
  return () => Math.floor(startMs + clock.monotonicMs())
}
