/** Routes: the keys of `public`, brought to the one form that the graph holds, and the order they stand in. */
import { SteadError } from '../base/index.ts'
import type { Route } from './graph.ts'
import { hostPattern, routePathPattern } from './patterns.ts'

/** Host and path of a key. Throws `model.bad-route`. */
export function readRouteKey(owner: string, key: string): { host: string; path: string } {
  const slash = key.indexOf('/')
  const host = (slash < 0 ? key : key.slice(0, slash)).toLowerCase()
  const path = slash < 0 ? '/' : key.slice(slash).replace(/(?<=.)\/$/, '')
  if (hostPattern.test(host) && host.length <= 253 && routePathPattern.test(path) && path.length <= 1024) {
    return { host, path }
  }
  throw new SteadError({
    code: 'model.bad-route',
    message: `${owner}: '${key}' in public is no host or host/path.`,
    hint: "As in 'shop.localhost', '*.shop.example.com' or 'shop.localhost/admin': no scheme, no port, no query.",
  })
}

/** The order of routes: by host, then path. */
export function compareRoutes(a: Route, b: Route): number {
  return a.host < b.host || (a.host === b.host && a.path < b.path) ? -1 : 1
}
