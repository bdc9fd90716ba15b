/**
 * What a gateway is told to do: the route table, as data with its validator. A table is whole (it replaces the one before)
 * and carries a revision; a gateway acknowledges the revision it routes by.
 */
import { z } from 'zod'
import type { Endpoint } from '../network/index.ts'

/** One instance that can answer. */
export interface RouteTarget {
  readonly instance: string
  readonly endpoint: Endpoint
  /** HTTP/2 without TLS; without it HTTP/1.1. */
  readonly protocol?: 'h2c'
}

/** What a route allows where that differs from the gateway's own limits. */
export interface RouteLimits {
  /** Largest request body, bytes. */
  readonly bodyBytesMax?: number
  /** Requests in flight to one instance. */
  readonly instanceRequestsMax?: number
  /** Requests that wait while every instance is at its limit. */
  readonly queueMax?: number
  /** How long one of them waits. */
  readonly queueMs?: number
  /** From the request being sent to the head of the response. */
  readonly responseMs?: number
}

/** Which requests go where. */
export interface Route {
  /** Stable over revisions: counters and waiting requests stay with it. */
  readonly id: string
  /** `shop.example`, or `*.shop.example` for every name below it. Lower case, no port. */
  readonly host: string
  /** A prefix that ends on a segment: `/api` takes `/api` and `/api/x`, not `/apix`. `/` takes everything. */
  readonly path: string
  readonly app: string
  readonly part: string
  readonly targets: readonly RouteTarget[]
  readonly limits?: RouteLimits
  /** Requests in plain HTTP where the gateway has TLS too: sent on to https, or served all the same. Without it: sent on. */
  readonly plain?: 'redirect' | 'serve'
  /** How long browsers are to ask for the host by https only, seconds. Said over https only. */
  readonly hstsS?: number
  /** While there is no target: whether that passes by itself. */
  readonly phase?: 'starting' | 'deploying'
  /** While there is no target: a sentence for the person who asks why. */
  readonly unavailable?: string
}

/** Which connections go where as they are, without a look at what they carry. */
export interface StreamRoute {
  /** Stable over revisions. */
  readonly id: string
  readonly way: StreamWay
  readonly app: string
  readonly part: string
  readonly targets: readonly RouteTarget[]
}

export type StreamWay =
  /** A port of the gateway of its own. */
  | { readonly kind: 'tcp'; readonly port: number }
  /** TLS for this server name, on the gateway's ports for TLS. It ends at the instance: the gateway has no key for it. */
  | { readonly kind: 'tls'; readonly host: string }

export interface RouteTable {
  readonly revision: number
  readonly routes: readonly Route[]
  /** A gateway that knows none of them serves the others. */
  readonly streams?: readonly StreamRoute[]
}

const name = z.string().min(1).max(200)
const port = z.int().min(1).max(65535)
const count = z.int().min(0)

const endpoint = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('instance'), pid: z.int().positive(), netns: count, port }),
  z.object({ kind: z.literal('tcp'), host: name, port }),
  z.object({ kind: z.literal('unix'), path: z.string().min(1).max(107) }),
])

const targets = z.array(z.object({ instance: name, endpoint, protocol: z.literal('h2c').exactOptional() })).max(1000)

const host = z
  .string()
  .max(253)
  .regex(/^(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/, 'a lower-case host name, or *. and one')

const limits = z.object({
  bodyBytesMax: count.exactOptional(),
  instanceRequestsMax: z.int().positive().exactOptional(),
  queueMax: count.exactOptional(),
  queueMs: count.exactOptional(),
  responseMs: z.int().positive().exactOptional(),
})

const route = z.object({
  // App, host and path together.
  id: z.string().min(1).max(2000),
  host,
  path: z
    .string()
    .max(1024)
    .regex(/^\/[\u0021-\u007e]*$/, 'a path that starts with a slash')
    .refine((path) => !/[?#]/.test(path), 'a path without a query'),
  app: name,
  part: name,
  targets,
  limits: limits.exactOptional(),
  plain: z.enum(['redirect', 'serve']).exactOptional(),
  hstsS: count.exactOptional(),
  phase: z.enum(['starting', 'deploying']).exactOptional(),
  unavailable: z.string().max(500).exactOptional(),
})

const stream = z.object({
  id: z.string().min(1).max(2000),
  way: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('tcp'), port }),
    z.object({ kind: z.literal('tls'), host }),
  ]),
  app: name,
  part: name,
  targets,
})

/** Validates a table that came from outside the process. */
export const routeTableSchema: z.ZodType<RouteTable> = z.object({
  revision: count,
  routes: z.array(route).max(10_000),
  streams: z.array(stream).max(1000).exactOptional(),
})
