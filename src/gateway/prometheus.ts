/** The gateway's counters as the text that Prometheus scrapes (format 0.0.4), pure. */
import { cumulativeByDoubling } from './histogram.ts'
import type { Histogram } from './histogram.ts'
import { attemptOutcomes, outcomes } from './metrics.ts'
import type { AttemptCounters, RouteMetrics, TargetMetrics } from './metrics.ts'

type Labels = Readonly<Record<string, string>>

const counters: readonly [string, string, (metrics: RouteMetrics) => number][] = [
  ['request_bytes_total', 'Body bytes taken from clients.', (metrics) => metrics.bytesIn],
  ['response_bytes_total', 'Body bytes given to clients.', (metrics) => metrics.bytesOut],
  ['retries_total', 'Requests sent a second time.', (metrics) => metrics.retries],
]

/** Renders the counters of routes, and of instances where they are given (`Gateway.targetMetrics`). */
export function renderPrometheus(all: readonly RouteMetrics[], targets: readonly TargetMetrics[] = []): string {
  const lines: string[] = []
  const family = <T>(
    name: string,
    type: string,
    help: string,
    of: readonly T[],
    samples: (one: T) => string[],
  ): void => {
    if (of.length === 0) return
    lines.push(`# HELP stead_gateway_${name} ${help}`, `# TYPE stead_gateway_${name} ${type}`)
    for (const one of of) lines.push(...samples(one).map((sample) => `stead_gateway_${name}${sample}`))
  }
  family('requests_total', 'counter', 'Requests that are over, by status class.', all, ({ labels, requests }) =>
    outcomes.map((outcome) => `${text({ ...labels, outcome })} ${requests[outcome]}`),
  )
  for (const [name, help, value] of counters) {
    family(name, 'counter', help, all, (metrics) => [`${text({ ...metrics.labels })} ${value(metrics)}`])
  }
  family('rejected_total', 'counter', 'Requests answered by the gateway itself, by cause.', all, (metrics) =>
    Object.entries(metrics.rejectedBy).map(([cause, count]) => `${text({ ...metrics.labels, cause })} ${count}`),
  )
  family('in_flight', 'gauge', 'Requests and WebSockets in flight.', all, ({ labels, inFlight }) => [
    `${text({ ...labels })} ${inFlight}`,
  ])
  const whole = 'From the head of a request to the end of its response.'
  family('request_duration_seconds', 'histogram', whole, all, ({ labels, latency }) =>
    histogram({ ...labels }, latency),
  )
  const attempts = (prefix: string, of: readonly { labels: Labels; counted: AttemptCounters }[]): void => {
    family(`${prefix}_attempts_total`, 'counter', 'Sendings, by how they ended.', of, ({ labels, counted }) =>
      attemptOutcomes.map((outcome) => `${text({ ...labels, outcome })} ${counted.requests[outcome]}`),
    )
    const toHead = 'From the sending to the head of the answer.'
    family(`${prefix}_response_seconds`, 'histogram', toHead, of, ({ labels, counted }) =>
      histogram(labels, counted.latency),
    )
  }
  attempts(
    'group',
    all.flatMap(({ labels, groups }) =>
      Object.entries(groups).map(([group, counted]) => ({ labels: { ...labels, group }, counted })),
    ),
  )
  const instances = targets.map((target) => ({ labels: { ...target.labels }, counted: target.attempts, target }))
  attempts('instance', instances)
  family('instance_in_flight', 'gauge', 'Requests and WebSockets in flight.', instances, ({ labels, target }) => [
    `${text(labels)} ${target.inFlight}`,
  ])
  family('instance_ejected', 'gauge', '1 while its breaker is open.', instances, ({ labels, target }) => [
    `${text(labels)} ${target.ejected ? 1 : 0}`,
  ])
  return `${lines.join('\n')}\n`
}

function histogram(labels: Labels, counted: Histogram): string[] {
  return [
    ...cumulativeByDoubling(counted).map(
      ({ upToMs, count }) => `_bucket${text({ ...labels, le: String(upToMs / 1000) })} ${count}`,
    ),
    `_bucket${text({ ...labels, le: '+Inf' })} ${counted.count}`,
    `_sum${text(labels)} ${counted.sumMs / 1000}`,
    `_count${text(labels)} ${counted.count}`,
  ]
}

function text(labels: Labels): string {
  const escape = (value: string): string =>
    value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
  return `{${Object.entries(labels)
    .map(([key, value]) => `${key}="${escape(value)}"`)
    .join(',')}}`
}
