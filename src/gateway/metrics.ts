/**
 * What the gateway counts, pure: for each route requests by status class, bytes, retries, refusals by cause, and durations;
 * for each group of instances and each instance what was sent to it. Every request is counted once, when it is over for the
 * client, and every sending once; snapshots of several gateways merge by adding.
 */
import { emptyHistogram, mergeHistograms, observe } from './histogram.ts'
import type { Histogram } from './histogram.ts'
import { causeNames } from './problem.ts'
import type { Cause } from './problem.ts'

/** `aborted`: the client left, or the response broke off, before it was whole. */
export const outcomes = ['1xx', '2xx', '3xx', '4xx', '5xx', 'aborted'] as const
export type Outcome = (typeof outcomes)[number]

/** How one sending to an instance ended. `failed`: without an answer; `aborted`: given up before one came. */
export const attemptOutcomes = ['1xx', '2xx', '3xx', '4xx', '5xx', 'aborted', 'failed'] as const
export type AttemptOutcome = (typeof attemptOutcomes)[number]

/** Counters of what was sent to an instance, or to the instances of a group. They only grow. */
export interface AttemptCounters {
  readonly requests: Record<AttemptOutcome, number>
  /** From the sending to the head of the answer, or to the failure: nothing of a slow client is in it. */
  latency: Histogram
}

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
  /** Of those, how many for which cause. */
  readonly rejectedBy: Partial<Record<Cause, number>>
  latency: Histogram
  /** What was sent to each of the route's groups, by name. */
  readonly groups: Record<string, AttemptCounters>
}

/** One instance as the gateway sees it now. */
export interface TargetMetrics {
  /** The group is empty when it has none. */
  readonly labels: {
    readonly app: string
    readonly part: string
    readonly group: string
    readonly instance: string
  }
  /** Requests and WebSockets in flight. */
  readonly inFlight: number
  /** It gets no requests because those it had failed. */
  readonly ejected: boolean
  readonly attempts: AttemptCounters
}

export function emptyAttempts(): AttemptCounters {
  const requests = { '1xx': 0, '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0, aborted: 0, failed: 0 }
  return { requests, latency: emptyHistogram() }
}

/** Counts one sending. One that was given up says nothing about how long answers take. */
export function countAttempt(counters: AttemptCounters, outcome: AttemptOutcome, durationMs: number): void {
  counters.requests[outcome] += 1
  if (outcome !== 'aborted') observe(counters.latency, durationMs)
}

/** Counts a request that the gateway answered itself. */
export function countRejected(metrics: RouteMetrics, cause: Cause): void {
  metrics.rejected += 1
  metrics.rejectedBy[cause] = (metrics.rejectedBy[cause] ?? 0) + 1
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
    rejectedBy: {},
    latency: emptyHistogram(),
    groups: {},
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
  for (const cause of causeNames) {
    const sum = (a.rejectedBy[cause] ?? 0) + (b.rejectedBy[cause] ?? 0)
    if (sum > 0) merged.rejectedBy[cause] = sum
  }
  for (const name of new Set([...Object.keys(a.groups), ...Object.keys(b.groups)])) {
    merged.groups[name] = mergeAttempts(a.groups[name] ?? emptyAttempts(), b.groups[name] ?? emptyAttempts())
  }
  return merged
}

function mergeAttempts(a: AttemptCounters, b: AttemptCounters): AttemptCounters {
  const merged = emptyAttempts()
  for (const outcome of attemptOutcomes) merged.requests[outcome] = a.requests[outcome] + b.requests[outcome]
  merged.latency = mergeHistograms(a.latency, b.latency)
  return merged
}
