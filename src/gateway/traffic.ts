/**
 * From counters to rates, pure: looks at them now and then and says what has changed. Rates and percentiles are over the
 * last few looks; of what stands still nothing is copied, computed or told, once its rate has gone to zero.
 */
import type { InstanceTraffic, RouteTraffic, Traffic, TrafficReport } from '../protocol/index.ts'
import { quantileMs } from './histogram.ts'
import type { Histogram } from './histogram.ts'
import type { AttemptCounters, RouteMetrics, TargetMetrics } from './metrics.ts'

/** Looks that a rate goes over. */
const looksMax = 5

interface Look {
  readonly atMs: number
  readonly requests: number
  readonly errors: number
  /** A copy; the same one for as long as nothing is added. */
  readonly latency: Histogram
}

/** The counters of one way, over the last looks. */
class Series {
  readonly #looks: Look[] = []
  /** What is said while nothing moves: the same object each time. */
  #still: Traffic | null = null

  look(nowMs: number, requests: number, errors: number, latency: Histogram): void {
    const last = this.#looks.at(-1)
    const same = last?.latency.count === latency.count
    const kept = same ? last.latency : { ...latency, counts: [...latency.counts] }
    this.#looks.push({ atMs: nowMs, requests, errors, latency: kept })
    if (this.#looks.length > looksMax + 1) this.#looks.shift()
  }

  get traffic(): Traffic {
    const first = this.#looks[0]
    const last = this.#looks.at(-1)
    const still = first?.requests === last?.requests && first?.errors === last?.errors
    if (!still) this.#still = null
    else if (this.#still !== null) return this.#still
    const now = this.#compute(first, last)
    if (still) this.#still = now
    return now
  }

  #compute(first: Look | undefined, last: Look | undefined): Traffic {
    const seconds = first === undefined || last === undefined ? 0 : (last.atMs - first.atMs) / 1000
    const rate = (of: (look: Look) => number): number =>
      first === undefined || last === undefined || seconds <= 0 ? 0 : rounded((of(last) - of(first)) / seconds)
    const recent = first === undefined || last === undefined ? null : difference(last.latency, first.latency)
    return {
      requestsPerSecond: rate(({ requests }) => requests),
      errorsPerSecond: rate(({ errors }) => errors),
      requests: last?.requests ?? 0,
      errors: last?.errors ?? 0,
      p50Ms: recent === null ? null : rounded(quantileMs(recent, 0.5)),
      p99Ms: recent === null ? null : rounded(quantileMs(recent, 0.99)),
    }
  }
}

/** Three digits are more than a person reads, and keep messages small. */
function rounded<T extends number | null>(value: T): T | number {
  return value === null ? value : Number(value.toPrecision(3))
}

function difference(later: Histogram, earlier: Histogram): Histogram | null {
  const count = later.count - earlier.count
  if (count === 0) return null
  const counts = later.counts.map((of, i) => of - (earlier.counts[i] ?? 0))
  return { counts, count, sumMs: later.sumMs - earlier.sumMs }
}

export class TrafficMeter {
  readonly #series = new Map<string, Series>()
  /** What was told of each route and instance last, to tell only what differs. */
  #told: ReadonlyMap<string, RouteTraffic | InstanceTraffic> = new Map()
  #known: ReadonlySet<string> = new Set()

  /**
   * Looks at the counters. Answers what has changed since the last look that was told; `full`: everything, for somebody who
   * has heard nothing yet; null when there is nothing to tell.
   */
  look(
    nowMs: number,
    routes: readonly RouteMetrics[],
    targets: readonly TargetMetrics[],
    full: boolean,
  ): TrafficReport | null {
    const seen = new Set<string>()
    const of = (key: string, requests: number, errors: number, latency: Histogram): Traffic => {
      seen.add(key)
      const series = this.#series.get(key) ?? new Series()
      this.#series.set(key, series)
      series.look(nowMs, requests, errors, latency)
      return series.traffic
    }
    const attempts = (key: string, { requests, latency }: AttemptCounters): Traffic =>
      of(key, sum(requests) - requests.aborted, requests['5xx'] + requests.failed, latency)
    const nowRoutes = routes.map(({ labels, requests, latency, inFlight, groups }): [string, RouteTraffic] => {
      const key = `route ${labels.route}`
      const traffic = of(key, sum(requests), requests['5xx'], latency)
      const byGroup = Object.entries(groups).map(([name, counted]) => [name, attempts(`${key} ${name}`, counted)])
      return [key, { ...labels, inFlight, traffic, groups: Object.fromEntries(byGroup) }]
    })
    const nowInstances = targets.map((target): [string, InstanceTraffic] => {
      const { app, part, instance } = target.labels
      const key = `instance ${instance}`
      const { inFlight, ejected } = target
      return [key, { instance, app, part, inFlight, ejected, traffic: attempts(key, target.attempts) }]
    })
    for (const key of this.#series.keys()) if (!seen.has(key)) this.#series.delete(key)
    return this.#changes(nowRoutes, nowInstances, full)
  }

  #changes(
    routes: readonly (readonly [string, RouteTraffic])[],
    instances: readonly (readonly [string, InstanceTraffic])[],
    full: boolean,
  ): TrafficReport | null {
    const told = this.#told
    const news = <T extends RouteTraffic | InstanceTraffic>(all: readonly (readonly [string, T])[]): T[] =>
      all.filter(([key, one]) => full || !sameTraffic(told.get(key), one)).map(([, one]) => one)
    const names = new Set(instances.map(([, { instance }]) => instance))
    const gone = full ? [] : [...this.#known].filter((name) => !names.has(name))
    const report = { full, routes: news(routes), instances: news(instances), gone }
    this.#told = new Map<string, RouteTraffic | InstanceTraffic>([...routes, ...instances])
    this.#known = names
    const quiet = report.routes.length + report.instances.length + gone.length === 0
    return quiet && !full ? null : report
  }
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0)
}

/** Whether there is nothing new to tell: what stands still is the same object. */
function sameTraffic(before: RouteTraffic | InstanceTraffic | undefined, now: RouteTraffic | InstanceTraffic): boolean {
  if (before === undefined || before.traffic !== now.traffic || before.inFlight !== now.inFlight) return false
  if ('ejected' in now) return 'ejected' in before && before.ejected === now.ejected
  if (!('groups' in before)) return false
  const groups = Object.entries(now.groups)
  return (
    groups.length === Object.keys(before.groups).length &&
    groups.every(([name, traffic]) => before.groups[name] === traffic)
  )
}
