/**
 * Durations in fixed exponential buckets, eight for each doubling from 50 microseconds to above 5 minutes, pure. Every
 * histogram has the same buckets, so merging is adding, and a quantile is off by at most 4.5 % within that range.
 */

const perDoubling = 8
const firstMs = 0.05
const doublings = 23
const bucketCount = doublings * perDoubling + 2

/** The largest relative error of a quantile between 50 microseconds and 7 minutes: half a bucket, on a log scale. */
export const quantileErrorMax: number = 2 ** (1 / (2 * perDoubling)) - 1

/** A histogram as plain data. `counts[0]` holds what took at most 50 microseconds, the last what took longer than all. */
export interface Histogram {
  readonly counts: number[]
  count: number
  sumMs: number
}

export function emptyHistogram(): Histogram {
  return { counts: Array.from({ length: bucketCount }, () => 0), count: 0, sumMs: 0 }
}

/** The upper bound of a bucket, milliseconds; the last one has none. */
export function bucketUpToMs(index: number): number {
  return index >= bucketCount - 1 ? Number.POSITIVE_INFINITY : firstMs * 2 ** (index / perDoubling)
}

/** Counts one duration. */
export function observe(histogram: Histogram, durationMs: number): void {
  const index = durationMs <= firstMs ? 0 : Math.ceil(Math.log2(durationMs / firstMs) * perDoubling)
  const bucket = Math.min(index, bucketCount - 1)
  histogram.counts[bucket] = (histogram.counts[bucket] ?? 0) + 1
  histogram.count += 1
  histogram.sumMs += durationMs
}

/** Both together. */
export function mergeHistograms(a: Histogram, b: Histogram): Histogram {
  return {
    counts: a.counts.map((count, index) => count + (b.counts[index] ?? 0)),
    count: a.count + b.count,
    sumMs: a.sumMs + b.sumMs,
  }
}

/** The duration that the share `q` (0 to 1) of all did not exceed, milliseconds; null when nothing was counted. */
export function quantileMs(histogram: Histogram, q: number): number | null {
  if (histogram.count === 0) return null
  const rank = Math.max(1, Math.ceil(q * histogram.count))
  let seen = 0
  let index = 0
  for (const [bucket, count] of histogram.counts.entries()) {
    seen += count
    index = bucket
    if (seen >= rank) break
  }
  if (index === 0) return firstMs
  return bucketUpToMs(Math.min(index, bucketCount - 2)) / 2 ** (1 / (2 * perDoubling))
}

/** Cumulative counts at each doubling, for formats that list buckets: an eighth of the buckets, each count still exact. */
export function cumulativeByDoubling(histogram: Histogram): { readonly upToMs: number; readonly count: number }[] {
  const lines: { upToMs: number; count: number }[] = []
  let seen = 0
  for (const [index, count] of histogram.counts.entries()) {
    seen += count
    if (index % perDoubling === 0 && index < bucketCount - 1) lines.push({ upToMs: bucketUpToMs(index), count: seen })
  }
  return lines
}
