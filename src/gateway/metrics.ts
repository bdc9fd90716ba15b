/**
 * What the gateway counts, pure: for each route requests by status class, bytes, retries, refusals, and durations. Every
 * request is counted once, when it is over for the client; snapshots of several gateways merge by adding.
 */
import { cumulativeByDoubling, emptyHistogram, mergeHistograms } from './histogram.ts'
import type { Histogram } from './histogram.ts'

/** `aborted`: the client left, or the response broke off, before it was whole. */
export const outcomes = ['1xx', '2xx', '3xx', '4xx', '5xx', 'aborted'] as const
export type Outcome = (typeof outcomes)[number]

/** All empty for requests that no route took. */
export interface RouteLabels {
  readonly route: string
  readonly app: string
  readonly part: string
}

/** Counters of one route. They only grow, but for `inFlight`. */
export interface RouteMetrics {
  labels: RouteLabels
  readonly requests: Record<Outcome, number>
  inFlight: number
  /** Body bytes taken from clients, and given to them; of WebSockets all bytes. */
  bytesIn: number
  bytesOut: number
  /** Requests sent a second time to another instance. */
  retries: number
  /** Requests answered by the gateway itself. */
  rejected: number
  latency: Histogram
}

export function emptyMetrics(labels: RouteLabels): RouteMetrics {
  return {
    labels,
    requests: { '1xx': 0, '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0, aborted: 0 },
    inFlight: 0,
    bytesIn: 0,
    bytesOut: 0,
    retries: 0,
    rejected: 0,
    latency: emptyHistogram(),
  }
}

/** The class of a status code. */
export function outcomeOf(status: number): Outcome {
  if (status >= 500) return '5xx'
  if (status >= 400) return '4xx'
  if (status >= 300) return '3xx'
  return status >= 200 ? '2xx' : '1xx'
}

/** The same route seen by two gateways, or before and after a restart, as one. */
export function mergeMetrics(a: RouteMetrics, b: RouteMetrics): RouteMetrics {
  const merged = emptyMetrics(a.labels)
  for (const outcome of outcomes) merged.requests[outcome] = a.requests[outcome] + b.requests[outcome]
  merged.inFlight = a.inFlight + b.inFlight
  merged.bytesIn = a.bytesIn + b.bytesIn
  merged.bytesOut = a.bytesOut + b.bytesOut
  merged.retries = a.retries + b.retries
  merged.rejected = a.rejected + b.rejected
  merged.latency = mergeHistograms(a.latency, b.latency)
  return merged
}

const counters: readonly [string, string, (metrics: RouteMetrics) => number][] = [
  ['request_bytes_total', 'Body bytes taken from clients.', (metrics) => metrics.bytesIn],
  ['response_bytes_total', 'Body bytes given to clients.', (metrics) => metrics.bytesOut],
  ['retries_total', 'Requests sent a second time to another instance.', (metrics) => metrics.retries],
  ['rejected_total', 'Requests answered by the gateway itself.', (metrics) => metrics.rejected],
]

/** The text that Prometheus scrapes (format 0.0.4). */
export function renderPrometheus(all: readonly RouteMetrics[]): string {
  const lines: string[] = []
  const family = (name: string, type: string, help: string, samples: (metrics: RouteMetrics) => string[]): void => {
    lines.push(`# HELP stead_gateway_${name} ${help}`, `# TYPE stead_gateway_${name} ${type}`)
    for (const metrics of all) lines.push(...samples(metrics).map((sample) => `stead_gateway_${name}${sample}`))
  }
  family('requests_total', 'counter', 'Requests that are over, by status class.', (metrics) =>
    outcomes.map((outcome) => `${labelText(metrics.labels, { outcome })} ${metrics.requests[outcome]}`),
  )
  for (const [name, help, value] of counters) {
    family(name, 'counter', help, (metrics) => [`${labelText(metrics.labels)} ${value(metrics)}`])
  }
  family('in_flight', 'gauge', 'Requests and WebSockets in flight.', (metrics) => [
    `${labelText(metrics.labels)} ${metrics.inFlight}`,
  ])
  const latency = 'request_duration_seconds'
  family(latency, 'histogram', 'From the head of a request to the end of its response.', ({ labels, latency }) => [
    ...cumulativeByDoubling(latency).map(
      ({ upToMs, count }) => `_bucket${labelText(labels, { le: String(upToMs / 1000) })} ${count}`,
    ),
    `_bucket${labelText(labels, { le: '+Inf' })} ${latency.count}`,
    `_sum${labelText(labels)} ${latency.sumMs / 1000}`,
    `_count${labelText(labels)} ${latency.count}`,
  ])
  return `${lines.join('\n')}\n`
}

function labelText(labels: RouteLabels, more: Readonly<Record<string, string>> = {}): string {
  const escape = (value: string): string =>
    value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
  const pairs = Object.entries({ ...labels, ...more }).map(([key, value]) => `${key}="${escape(value)}"`)
  return `{${pairs.join(',')}}`
}
