/**
 * When to renew, and when to try again after a failure: pure. A certificate is renewed when two thirds of its life are over,
 * each a little earlier than that by lot, so that many do not come due together; what is left is the time for failures.
 */
import type { Random } from '../base/index.ts'

const renewShare = 2 / 3
/** Up to this share of its life earlier. */
const jitterShare = 0.05

/** Waits after the first, second, third... failure in a row; the last one stays. Authorities count failures by the hour. */
const retryMs = [60_000, 5 * 60_000, 15 * 60_000, 60 * 60_000, 6 * 60 * 60_000] as const
const retryJitterShare = 0.2

/** When to renew a certificate, milliseconds since 1970. */
export function renewAtMs(
  { fromMs, untilMs }: { readonly fromMs: number; readonly untilMs: number },
  random: Random,
): number {
  return fromMs + (untilMs - fromMs) * (renewShare - jitterShare * fraction(random))
}

/** How long to wait after that many failures in a row (at least 1). */
export function retryAfterMs(failures: number, random: Random): number {
  const base = retryMs[Math.min(failures, retryMs.length) - 1] ?? 0
  return base * (1 + retryJitterShare * fraction(random))
}

/** From 0 up to, not including, 1. */
function fraction(random: Random): number {
  const [high = 0, low = 0] = random.bytes(2)
  return (high * 256 + low) / 65_536
}
