/**
 * The route table in force, and the bookkeeping that outlives a table: which instances are still in use after they have left,
 * and the counters of each route. A table is swapped in one step, or not at all; an instance is reported drained once,
 * when it is in no table and has nothing in flight.
 */
import type { Socket } from 'node:net'
import { canonicalJson } from '../base/index.ts'
import type { Endpoint } from '../network/index.ts'
import type { Route, RouteTable, RouteTarget } from '../protocol/index.ts'
import type { Core } from './core.ts'
import { emptyMetrics } from './metrics.ts'
import type { RouteMetrics, TargetMetrics } from './metrics.ts'
import { RouteState } from './route-state.ts'
import { hasHost, indexRoutes, matchRoute } from './routes.ts'
import type { RouteIndex } from './routes.ts'
import { asRoute, indexWays, matchWay } from './ways.ts'
import type { WayIndex } from './ways.ts'
import { Upstream } from './upstream.ts'

/** What a gateway answers to a route table. */
export interface Acknowledgement {
  /** The revision that every new request is routed by from now on. */
  readonly revision: number
}

/** Counters of routes that are gone are kept, but not without end. */
const goneMetricsMax = 1000

const nowhere: Route = { id: '', host: '', path: '/', app: '', part: '', targets: [] }

export interface LiveTableOptions {
  readonly connect: (endpoint: Endpoint) => Socket
  readonly onDrained: (instance: string) => void
}

export class LiveTable {
  /** Stands for the route of requests that found none. */
  readonly nowhere: RouteState
  readonly #core: Core
  readonly #options: LiveTableOptions
  readonly #metrics = new Map<string, RouteMetrics>()
  readonly #leaving = new Set<Upstream>()
  readonly #drainWaits = new Map<string, (() => void)[]>()
  #revision = -1
  #index: RouteIndex<RouteState> = new Map()
  #ways: WayIndex<RouteState> = new Map()
  #states: ReadonlyMap<string, RouteState> = new Map()
  #upstreams: ReadonlyMap<string, Upstream> = new Map()
  #users: ReadonlyMap<Upstream, readonly RouteState[]> = new Map()

  constructor(core: Core, options: LiveTableOptions) {
    this.#core = core
    this.#options = options
    this.nowhere = new RouteState(nowhere, this.#metricsOf(nowhere), core)
  }

  /** The route for a host and a path, or undefined. */
  match(host: string, path: string): RouteState | undefined {
    return matchRoute(this.#index, host, path)
  }

  /** Whether any route has this host, whatever its path. */
  serves(host: string): boolean {
    return hasHost(this.#index, host)
  }

  /** The hosts of all routes, sorted, each once. */
  get hosts(): readonly string[] {
    const hosts = [...this.#states.values()].map(({ route }) => route.host).filter((host) => host !== '')
    return [...new Set(hosts)].sort()
  }

  /** The route for TLS of a server name that is carried as it is, or undefined. */
  matchName(host: string): RouteState | undefined {
    return matchWay(this.#ways, host)
  }

  /** The route for connections to a port of its own, or undefined. */
  matchPort(port: number): RouteState | undefined {
    return this.#ways.get(port)
  }

  /** The ports that routes have of their own. */
  get ports(): ReadonlySet<number> {
    return new Set([...this.#ways.keys()].filter((key) => typeof key === 'number'))
  }

  /** See `Gateway.apply`. Throws `gateway.duplicate-route` before anything has changed. */
  apply(table: RouteTable): Acknowledgement {
    if (table.revision < this.#revision) return { revision: this.#revision }
    const states = new Map<string, RouteState>()
    const streams = (table.streams ?? []).map((stream) => ({ way: stream.way, route: asRoute(stream) }))
    const routes = [...table.routes, ...streams.map(({ route }) => route)]
    for (const route of routes) {
      const state = this.#states.get(route.id)
      states.set(route.id, state ?? new RouteState(route, this.#metricsOf(route), this.#core))
    }
    const valueOf = (route: Route): RouteState => states.get(route.id) ?? this.nowhere
    const index = indexRoutes(table.routes.map((route) => ({ route, value: valueOf(route) })))
    this.#ways = indexWays(streams.map(({ way, route }) => ({ way, route, value: valueOf(route) })))
    this.#index = index
    this.#revision = table.revision
    const upstreams = new Map<string, Upstream>()
    const users = new Map<Upstream, RouteState[]>()
    for (const route of routes) {
      const state = states.get(route.id)
      if (state === undefined) continue
      state.update(
        route,
        route.targets.map((target) => this.#upstreamOf(target, upstreams)),
      )
      for (const upstream of state.upstreams) users.set(upstream, [...(users.get(upstream) ?? []), state])
    }
    const gone = [...this.#states.values()].filter((state) => states.get(state.route.id) !== state)
    for (const state of gone) {
      const { holdMs: _, ...route } = state.route
      state.update({ ...route, targets: [] }, [])
    }
    const left = [...this.#upstreams].filter(([key]) => !upstreams.has(key)).map(([, upstream]) => upstream)
    this.#states = states
    this.#upstreams = upstreams
    this.#users = users
    this.#forgetMetrics()
    for (const state of [...states.values(), ...gone]) {
      state.wakeHeld()
      state.wakeWaiting()
    }
    this.#leave(left)
    return { revision: this.#revision }
  }

  /** Lets go of what waits for instances: there will be no other table. */
  wakeHeld(): void {
    for (const state of this.#states.values()) state.wakeHeld()
  }

  /** Requests and WebSockets in flight to an instance, also after it has left the table. */
  inUse(instance: string): number {
    return this.#upstreamsOf(instance).reduce((sum, upstream) => sum + upstream.load, 0)
  }

  /** Resolves when the instance is in no table any more and has nothing in flight: at once when that is so already. */
  drained(instance: string): Promise<void> {
    if (this.#upstreamsOf(instance).length === 0) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#drainWaits.set(instance, [...(this.#drainWaits.get(instance) ?? []), resolve])
    return promise
  }

  /** A copy of all counters, one entry for each route and one (with empty labels) for requests that found none. */
  metrics(): RouteMetrics[] {
    return structuredClone([...this.#metrics.values()])
  }

  /** The counters of all routes as they are now, to be read only. */
  liveMetrics(): readonly RouteMetrics[] {
    return [...this.#metrics.values()]
  }

  /** The counters of every instance in the table, each once, also when several routes lead to it. To be read only. */
  liveTargets(): readonly TargetMetrics[] {
    const nowMs = this.#core.clock.monotonicMs()
    return [...this.#users].flatMap(([upstream, [state]]) => {
      if (state === undefined) return []
      const { app, part } = state.route
      const labels = { app, part, group: state.groupOf(upstream) ?? '', instance: upstream.target.instance }
      const ejected = upstream.breaker.phase(nowMs) === 'open'
      return [{ labels, inFlight: upstream.load, ejected, attempts: upstream.counters }]
    })
  }

  /** The gateway closes: every instance has left. */
  leaveAll(): void {
    const left = [...this.#upstreams.values()]
    this.#upstreams = new Map()
    this.#leave(left)
  }

  #leave(left: readonly Upstream[]): void {
    for (const upstream of left) this.#leaving.add(upstream)
    for (const upstream of left) upstream.leave()
  }

  #metricsOf(route: Route): RouteMetrics {
    const known = this.#metrics.get(route.id)
    if (known !== undefined) return known
    const metrics = emptyMetrics(labelsOf(route))
    this.#metrics.set(route.id, metrics)
    return metrics
  }

  #forgetMetrics(): void {
    const gone = [...this.#metrics.keys()].filter((id) => id !== nowhere.id && !this.#states.has(id))
    for (const id of gone.slice(0, Math.max(0, gone.length - goneMetricsMax))) this.#metrics.delete(id)
  }

  /** The upstream of a target: the one there is when it is the same instance at the same endpoint. */
  #upstreamOf(target: RouteTarget, next: Map<string, Upstream>): Upstream {
    const key = `${target.instance} ${canonicalJson(target.endpoint)}`
    const known = next.get(key) ?? this.#upstreams.get(key)
    const upstream =
      known ??
      new Upstream(target, {
        clock: this.#core.clock,
        limits: this.#core.limits,
        connect: this.#options.connect,
        onFree: (free) => {
          for (const state of this.#users.get(free) ?? []) if (state.waiting.size > 0) state.wakeWaiting()
        },
        onDrained: (drained) => this.#drained(drained),
      })
    next.set(key, upstream)
    return upstream
  }

  #upstreamsOf(instance: string): Upstream[] {
    return [...this.#upstreams.values(), ...this.#leaving].filter(({ target }) => target.instance === instance)
  }

  #drained(upstream: Upstream): void {
    const { instance } = upstream.target
    this.#leaving.delete(upstream)
    if (this.#upstreamsOf(instance).length > 0) return
    for (const resolve of this.#drainWaits.get(instance) ?? []) resolve()
    this.#drainWaits.delete(instance)
    this.#options.onDrained(instance)
  }
}

function labelsOf(route: Route): { route: string; app: string; part: string } {
  return { route: route.id, app: route.app, part: route.part }
}
