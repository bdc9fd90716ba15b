/**
 * Which instance a request goes to, pure. First those that count: an instance whose breaker is open does not, unless so few
 * are left that the breakers themselves would be the outage. Among those, the least in flight, by lot among equals.
 */
import type { Breaker } from './breaker.ts'
import type { IdSource } from './ids.ts'

/** What is looked at. */
export interface Candidate {
  /** Requests and WebSockets in flight. */
  readonly load: number
  readonly requests: { readonly size: number }
  /** It refused a connection: passed over until then when another one has a place. */
  readonly restUntilMs: number
  readonly breaker: Pick<Breaker, 'phase' | 'room'>
}

export interface PickLimits {
  /** Requests in flight that one instance may have. */
  readonly requestsMax: number
  /** The share of instances that must be healthy for the others to be left out; at least one always. */
  readonly healthyShareMin: number
}

/** The candidates that count now, those without a place among them, and the places that each has. */
export interface Eligible<T> {
  readonly candidates: readonly T[]
  readonly room: (candidate: T) => number
}

/** Which candidates count. */
export function eligible<T extends Candidate>(
  candidates: readonly T[],
  { requestsMax, healthyShareMin }: PickLimits,
  nowMs: number,
): Eligible<T> {
  let healthy = 0
  for (const { breaker } of candidates) if (breaker.phase(nowMs) === 'closed') healthy += 1
  const free = (candidate: T): number => Math.max(0, requestsMax - candidate.requests.size)
  const heeded = healthy >= Math.max(1, Math.ceil(candidates.length * healthyShareMin))
  if (healthy === candidates.length || !heeded) return { candidates, room: free }
  return {
    candidates: candidates.filter(({ breaker }) => breaker.room(nowMs) > 0),
    room: (candidate) => Math.min(free(candidate), candidate.breaker.room(nowMs)),
  }
}

/** The least loaded with a place, or null. One that rests or is `avoid` is taken only when there is no other. */
export function pickLeast<T extends Candidate>(
  from: Eligible<T>,
  avoid: T | null,
  nowMs: number,
  ids: IdSource,
): T | null {
  let best: T | null = null
  let bestScore = Number.POSITIVE_INFINITY
  let equals = 0
  for (const candidate of from.candidates) {
    if (from.room(candidate) === 0) continue
    const score = candidate.load + (isShunned(candidate, avoid, nowMs) ? 1e9 : 0)
    if (score < bestScore) {
      best = candidate
      bestScore = score
      equals = 1
    } else if (score === bestScore && ids.below(++equals) === 0) best = candidate
  }
  return best
}

/** Whether it is to be taken only when there is no other. */
export function isShunned<T extends Candidate>(candidate: T, avoid: T | null, nowMs: number): boolean {
  return candidate === avoid || candidate.restUntilMs > nowMs
}
