/**
 * What a gateway tells of the requests that went through it, a summary each second at most. Never written durably: it is
 * what a person looks at and a rollout judges by; the counters themselves stay with the gateway.
 */
import { z } from 'zod'

/** Requests over one way. */
export interface Traffic {
  /** Over the last few seconds. */
  readonly requestsPerSecond: number
  readonly errorsPerSecond: number
  /** Since the gateway has started; they only grow. An error is a 5xx, or no answer at all. */
  readonly requests: number
  readonly errors: number
  /** Median and 99th percentile over the last few seconds, milliseconds; null when there were no requests. */
  readonly p50Ms: number | null
  readonly p99Ms: number | null
}

/** A route, as its clients see it: durations end with the last byte of the answer. */
export interface RouteTraffic {
  readonly route: string
  readonly app: string
  readonly part: string
  readonly inFlight: number
  readonly traffic: Traffic
  /** By group, as the gateway sees it: durations end with the head of the answer. */
  readonly groups: Readonly<Record<string, Traffic>>
}

/** An instance, as the gateway sees it. */
export interface InstanceTraffic {
  readonly instance: string
  readonly app: string
  readonly part: string
  readonly inFlight: number
  /** It gets no requests because those it had failed. */
  readonly ejected: boolean
  readonly traffic: Traffic
}

/** What has changed since the last report; `full`: all there is, and nothing else is true any more. */
export interface TrafficReport {
  readonly full: boolean
  readonly routes: readonly RouteTraffic[]
  readonly instances: readonly InstanceTraffic[]
  /** Instances that have left. */
  readonly gone: readonly string[]
}

const count = z.number().min(0)
const name = z.string().max(2000)
const traffic: z.ZodType<Traffic> = z.object({
  requestsPerSecond: count,
  errorsPerSecond: count,
  requests: count,
  errors: count,
  p50Ms: count.nullable(),
  p99Ms: count.nullable(),
})

const route = z.object({
  route: name,
  app: name,
  part: name,
  inFlight: z.int(),
  traffic,
  groups: z.record(z.string(), traffic),
})

const instance = z.object({ instance: name, app: name, part: name, inFlight: z.int(), ejected: z.boolean(), traffic })

/** Validates a report. */
export const trafficReportSchema: z.ZodType<TrafficReport> = z.object({
  full: z.boolean(),
  routes: z.array(route).max(20_000),
  instances: z.array(instance).max(100_000),
  gone: z.array(name).max(100_000),
})
