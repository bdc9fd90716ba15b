/**
 * One route while it serves: its instances, its counters, and the requests that wait for a place. Requests that wait are
 * placed by the newest table, first come first served, and each leaves the queue exactly once.
 */
import type { Route } from '../protocol/index.ts'
import type { IdSource } from './ids.ts'
import type { GatewayLimits } from './limits.ts'
import type { RouteMetrics } from './metrics.ts'
import type { Cause } from './problem.ts'
import type { Upstream } from './upstream.ts'

export class RouteState {
  readonly metrics: RouteMetrics
  /** Called, in order, when there may be a place. */
  readonly waiting: Set<() => void> = new Set()
  route: Route
  upstreams: readonly Upstream[] = []
  readonly #limits: GatewayLimits

  constructor(route: Route, metrics: RouteMetrics, limits: GatewayLimits) {
    this.route = route
    this.metrics = metrics
    this.#limits = limits
  }

  get bodyBytesMax(): number {
    return this.route.limits?.bodyBytesMax ?? this.#limits.bodyBytesMax
  }

  get queueMax(): number {
    return this.route.limits?.queueMax ?? this.#limits.queueMax
  }

  get queueMs(): number {
    return this.route.limits?.queueMs ?? this.#limits.queueMs
  }

  get responseMs(): number {
    return this.route.limits?.responseMs ?? this.#limits.responseMs
  }

  /** Requests that one instance takes at a time from this route. */
  get instanceRequestsMax(): number {
    return this.route.limits?.instanceRequestsMax ?? this.#limits.instanceRequestsMax
  }

  /** Why nothing can answer while there is no instance. */
  get absence(): Cause {
    return this.route.phase ?? 'no-instance'
  }

  /** Somebody may have got a place: lets as many go on as there are free ones now. */
  wakeWaiting(): void {
    let places = this.upstreams.reduce((sum, { requests }) => sum + this.instanceRequestsMax - requests.size, 0)
    if (this.upstreams.length === 0) places = this.waiting.size
    for (const wake of [...this.waiting].slice(0, Math.max(0, places))) {
      this.waiting.delete(wake)
      wake()
    }
  }
}

/** What `pickLeast` looks at. */
export interface Candidate {
  readonly load: number
  readonly requests: { readonly size: number }
  readonly restUntilMs: number
}

/**
 * The candidate with the least in flight, by lot among equals; null when all have `requestsMax` requests in flight. One that
 * rests or is `avoid` is taken only when there is no other.
 */
export function pickLeast<T extends Candidate>(
  candidates: readonly T[],
  requestsMax: number,
  avoid: T | null,
  nowMs: number,
  ids: IdSource,
): T | null {
  let best: T | null = null
  let bestScore = Number.POSITIVE_INFINITY
  let equals = 0
  for (const candidate of candidates) {
    if (candidate.requests.size >= requestsMax) continue
    const shunned = candidate === avoid || candidate.restUntilMs > nowMs
    const score = candidate.load + (shunned ? 1e9 : 0)
    if (score < bestScore) {
      best = candidate
      bestScore = score
      equals = 1
    } else if (score === bestScore && ids.below(++equals) === 0) best = candidate
  }
  return best
}
