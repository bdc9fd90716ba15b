/**
 * One route while it serves: its instances, its counters, and the requests that wait for a place. Requests that wait are
 * placed by the newest table, first come first served, and each leaves the queue exactly once.
 */
import type { Route, RoutePriority } from '../protocol/index.ts'
import type { Core } from './core.ts'
import { groupOfKey, pickSticky } from './groups.ts'
import { emptyAttempts } from './metrics.ts'
import type { AttemptCounters, RouteMetrics } from './metrics.ts'
import { eligible, pickLeast } from './pick.ts'
import type { Eligible } from './pick.ts'
import type { Cause, Problem } from './problem.ts'
import { RetryBudget } from './retry.ts'
import type { Upstream } from './upstream.ts'

/** What decides about the instance of a request, beside the load. */
export interface Wish {
  /** Chooses the group, and on a sticky route the instance. Empty where neither is asked for. */
  readonly key: string
  /** Where the request has failed already. */
  readonly avoid: Upstream | null
  /** A WebSocket: takes no place of a request. */
  readonly tunnel?: true
}

export class RouteState {
  readonly metrics: RouteMetrics
  readonly retries: RetryBudget
  /** Called, in order, when there may be a place. */
  readonly waiting: Set<() => void> = new Set()
  /** Called, in order, when there are instances again: what the route holds. */
  readonly held: Set<() => void> = new Set()
  route: Route
  upstreams: readonly Upstream[] = []
  /** Requests in flight or waiting. */
  open = 0
  readonly #core: Core
  /** The group of each instance that has one. */
  #groups: ReadonlyMap<Upstream, string> = new Map()

  constructor(route: Route, metrics: RouteMetrics, core: Core) {
    this.route = route
    this.metrics = metrics
    this.retries = new RetryBudget(core.limits)
    this.#core = core
  }

  /** Takes the newest word about it. `upstreams` stand in the order of the route's targets. */
  update(route: Route, upstreams: readonly Upstream[]): void {
    this.route = route
    this.upstreams = upstreams
    this.metrics.labels = { route: route.id, app: route.app, part: route.part }
    const groups = new Map<Upstream, string>()
    for (const [i, upstream] of upstreams.entries()) {
      const group = route.targets[i]?.group
      if (group !== undefined) groups.set(upstream, group)
    }
    this.#groups = groups
    for (const { name } of route.groups ?? []) this.metrics.groups[name] ??= emptyAttempts()
    // Groups are named after releases: without this they would pile up over the life of a route.
    for (const name of Object.keys(this.metrics.groups)) {
      if (route.groups?.some((group) => group.name === name) !== true) delete this.metrics.groups[name]
    }
  }

  get bodyBytesMax(): number {
    return this.route.limits?.bodyBytesMax ?? this.#core.limits.bodyBytesMax
  }

  get queueMax(): number {
    return this.route.limits?.queueMax ?? this.#core.limits.queueMax
  }

  get queueMs(): number {
    return this.route.limits?.queueMs ?? this.#core.limits.queueMs
  }

  get responseMs(): number {
    return this.route.limits?.responseMs ?? this.#core.limits.responseMs
  }

  /** Requests that one instance takes at a time from this route. */
  get instanceRequestsMax(): number {
    return this.route.limits?.instanceRequestsMax ?? this.#core.limits.instanceRequestsMax
  }

  get priority(): RoutePriority {
    return this.route.priority ?? 'normal'
  }

  /** Why nothing can answer while there is no instance. */
  get absence(): Cause {
    return this.route.phase ?? 'no-instance'
  }

  /** Whether a client's key decides anything here. */
  get keyed(): boolean {
    return this.route.groups !== undefined || this.route.sticky !== undefined
  }

  /** The counters of an instance's group; null when it has none. */
  groupCounters(upstream: Upstream): AttemptCounters | null {
    const group = this.#groups.get(upstream)
    return group === undefined ? null : (this.metrics.groups[group] ?? null)
  }

  groupOf(upstream: Upstream): string | null {
    return this.#groups.get(upstream) ?? null
  }

  /** What is to be told about a failed request. */
  problem(cause: Cause, ids: { readonly requestId: string; readonly traceId: string }, detail?: string): Problem {
    const { app, part, hops } = this.route
    const { requestId, traceId } = ids
    const { staleSinceMs, clock } = this.#core
    const said = { ...(detail === undefined ? {} : { detail }), ...(hops === undefined ? {} : { hops }) }
    return { cause, requestId, traceId, app, part, timeMs: clock.nowMs(), staleSinceMs, ...said }
  }

  /** The instance for a request; null when all that count are full. */
  pick({ key, avoid, tunnel }: Wish): Upstream | null {
    const nowMs = this.#core.clock.monotonicMs()
    const usable = this.#eligible(nowMs, tunnel === true)
    if (!this.keyed) return pickLeast(usable, avoid, nowMs, this.#core.ids)
    const routeKey = `${this.route.id} ${key}`
    const members = this.#ofGroup(usable, routeKey, avoid)
    const pinned = this.route.sticky?.by === 'instance' ? pickSticky(members, routeKey, avoid, nowMs) : null
    return pinned ?? pickLeast(members, avoid, nowMs, this.#core.ids)
  }

  /** Somebody may have got a place: lets as many go on as there are free ones now. */
  wakeWaiting(): void {
    const places = this.upstreams.length === 0 ? this.waiting.size : this.#placesLeft()
    for (const wake of [...this.waiting].slice(0, places)) {
      this.waiting.delete(wake)
      wake()
    }
  }

  /** Lets go of what is held, where there are instances again or nothing is held any more. */
  wakeHeld(): void {
    if (this.upstreams.length === 0 && this.route.holdMs !== undefined && !this.#core.closing) return
    const held = [...this.held]
    for (const wake of held) wake()
  }

  #placesLeft(): number {
    const { candidates, room } = this.#eligible(this.#core.clock.monotonicMs(), false)
    return candidates.reduce((sum, candidate) => sum + room(candidate), 0)
  }

  #eligible(nowMs: number, tunnel: boolean): Eligible<Upstream> {
    const requestsMax = tunnel ? Number.POSITIVE_INFINITY : this.instanceRequestsMax
    return eligible(this.upstreams, { requestsMax, healthyShareMin: this.#core.limits.healthyShareMin }, nowMs)
  }

  /** Those of the key's group. A group of which no instance counts gives its share to the others. */
  #ofGroup(usable: Eligible<Upstream>, routeKey: string, avoid: Upstream | null): Eligible<Upstream> {
    const { groups } = this.route
    if (groups === undefined) return usable
    const isOf = (name: string) => (one: Upstream) => one !== avoid && this.#groups.get(one) === name
    const name = groupOfKey(
      groups.filter((group) => usable.candidates.some(isOf(group.name))),
      routeKey,
    )
    return name === null ? usable : { ...usable, candidates: usable.candidates.filter(isOf(name)) }
  }
}
