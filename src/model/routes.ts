/** Routes: the keys of `public`, brought to the one form that the graph holds, and the order they stand in. */
import { SteadError } from '../base/index.ts'
import type { Route, StreamRoute, StreamWay } from './graph.ts'
import { hostPattern, routePathPattern } from './patterns.ts'

/** What a key of `public` stands for. */
export type RouteKey = { readonly kind: 'http'; readonly host: string; readonly path: string } | StreamWay

/** Reads a key. Throws `model.bad-route`. */
export function readRouteKey(owner: string, key: string): RouteKey {
  const [, kind, rest = ''] = /^(tcp|tls):(.*)$/.exec(key) ?? []
  if (kind === 'tcp') {
    const port = Number(rest)
    if (/^\d{1,5}$/.test(rest) && port >= 1 && port <= 65_535) return { kind, port }
    throw badRoute(owner, key, "no port after 'tcp:'", "As in 'tcp:5433', from 1 to 65535.")
  }
  if (kind === 'tls') {
    const host = rest.toLowerCase()
    if (hostPattern.test(host) && host.length <= 253) return { kind, host }
    throw badRoute(
      owner,
      key,
      "no host after 'tls:'",
      "As in 'tls:db.example.com' or 'tls:*.example.com': no path, no port.",
    )
  }
  const slash = key.indexOf('/')
  const host = (slash < 0 ? key : key.slice(0, slash)).toLowerCase()
  const path = slash < 0 ? '/' : key.slice(slash).replace(/(?<=.)\/$/, '')
  if (hostPattern.test(host) && host.length <= 253 && routePathPattern.test(path) && path.length <= 1024) {
    return { kind: 'http', host, path }
  }
  const hint = "As in 'shop.localhost', '*.shop.example.com' or 'shop.localhost/admin': no scheme, no port, no query."
  throw badRoute(owner, key, 'no host or host/path', hint)
}

function badRoute(owner: string, key: string, what: string, hint: string): SteadError {
  return new SteadError({ code: 'model.bad-route', message: `${owner}: '${key}' in public is ${what}.`, hint })
}

/** A stream's way as it stands in `public`. */
export function showWay(way: StreamWay): string {
  return way.kind === 'tcp' ? `tcp:${way.port}` : `tls:${way.host}`
}

/** The order of streams: by port, then by server name. */
export function compareStreams(a: StreamRoute, b: StreamRoute): number {
  if (a.way.kind === 'tcp') return b.way.kind === 'tcp' ? a.way.port - b.way.port : -1
  return b.way.kind === 'tcp' || a.way.host > b.way.host ? 1 : -1
}

/** The order of routes: by host, then path. */
export function compareRoutes(a: Route, b: Route): number {
  return a.host < b.host || (a.host === b.host && a.path < b.path) ? -1 : 1
}
