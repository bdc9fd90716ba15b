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
  /** Name of its group, where the route has groups. */
  readonly group?: string
}

/** Instances that belong together, usually those of one release. */
export interface RouteGroup {
  readonly name: string
  /** Its share of the requests is its weight among the weights of all groups that can answer; 0: none. */
  readonly weight: number
}

/** Clients come back to where they were, by a cookie of the gateway's own. */
export interface RouteSticky {
  /** Where a client stays: in its group, or also at its instance. */
  readonly by: 'group' | 'instance'
  /** How long its cookie is kept, seconds; without it, until the browser closes. */
  readonly ttlS?: number
}

/** When there are too many requests, those of a lower priority are turned away first. */
export const routePriorities = ['low', 'normal', 'high'] as const
export type RoutePriority = (typeof routePriorities)[number]

/** How a part is that stands on the way of a request. `degraded`: some instances serve, others fail. */
export const hopStates = ['ready', 'degraded', 'starting', 'failing', 'stopped', 'unknown'] as const
export type HopState = (typeof hopStates)[number]

/** A part on the way of a request, with what is known of its health. */
export interface RouteHop {
  readonly part: string
  /** `service`, or the resource's type. */
  readonly type: string
  readonly state: HopState
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
  /** Groups that share the requests by weight; every target is then in one of them. */
  readonly groups?: readonly RouteGroup[]
  readonly sticky?: RouteSticky
  /** `normal` when it is not said. */
  readonly priority?: RoutePriority
  /** False: answers pass as the instance made them. */
  readonly compress?: boolean
  /** The part itself, then what it uses: for the page that says what has failed. */
  readonly hops?: readonly RouteHop[]
  /** While there is no target: whether that passes by itself. */
  readonly phase?: 'starting' | 'deploying'
  /** While there is no target: a sentence for the person who asks why. */
  readonly unavailable?: string
  /** Requests wait up to so long for the route to have targets again, milliseconds, instead of being answered now. */
  readonly holdMs?: number
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

const targets = z
  .array(
    z.object({ instance: name, endpoint, group: name.exactOptional(), protocol: z.literal('h2c').exactOptional() }),
  )
  .max(1000)

const host = z
  .string()
  .max(253)
  .regex(/^(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/, 'a lower-case host name, or *. and one')
/** Parts that one part uses and a page can still show. */
export const hopsMax = 32

const group = z.object({ name, weight: z.int().min(0).max(1_000_000) })

const sticky = z.object({ by: z.enum(['group', 'instance']), ttlS: z.int().positive().exactOptional() })

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
  groups: z.array(group).min(1).max(16).exactOptional(),
  sticky: sticky.exactOptional(),
  priority: z.enum(routePriorities).exactOptional(),
  compress: z.boolean().exactOptional(),
  hops: z
    .array(z.object({ part: name, type: name, state: z.enum(hopStates) }))
    .max(hopsMax)
    .exactOptional(),
  phase: z.enum(['starting', 'deploying']).exactOptional(),
  unavailable: z.string().max(500).exactOptional(),
  holdMs: z.int().positive().max(60_000).exactOptional(),
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
/** Groups have different names and some weight, and every target is in one of them. */
function groupsAgree({ groups, targets }: z.infer<typeof route>): boolean {
  if (groups === undefined) return targets.every((target) => target.group === undefined)
  const names = new Set(groups.map((one) => one.name))
  return (
    names.size === groups.length &&
    groups.some(({ weight }) => weight > 0) &&
    targets.every((target) => target.group !== undefined && names.has(target.group))
  )
}

/** Validates a table that came from outside the process. */
export const routeTableSchema: z.ZodType<RouteTable> = z.object({
  revision: count,
  routes: z.array(route.refine(groupsAgree, 'groups with weights, and every target in one of them')).max(10_000),
  streams: z.array(stream).max(1000).exactOptional(),
})
