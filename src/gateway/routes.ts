/**
 * From a host and a path to a route, pure. An exact host wins over a wildcard, a longer wildcard over a shorter one, and
 * among the routes of a host the longest path prefix wins; a host whose routes do not take the path leaves it to the next.
 */
import { SteadError } from '../base/index.ts'
import type { Route } from '../protocol/index.ts'

/** Routes by host (`*.x` stands under `.x`), each list with its longest path first. */
export type RouteIndex<T> = ReadonlyMap<string, readonly { readonly path: string; readonly value: T }[]>

/** `/api/` and `/api` are one prefix; `/` is the empty one. */
function prefixOf(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path
}

/** Builds the index. Throws `gateway.duplicate-route` when two routes have one id, or claim the same host and path. */
export function indexRoutes<T>(entries: readonly { readonly route: Route; readonly value: T }[]): RouteIndex<T> {
  const index = new Map<string, { path: string; value: T }[]>()
  const ids = new Set<string>()
  for (const { route, value } of entries) {
    const key = route.host.startsWith('*.') ? route.host.slice(1) : route.host
    const path = prefixOf(route.path)
    const list = index.get(key) ?? []
    if (ids.has(route.id) || list.some((other) => other.path === path)) {
      throw new SteadError({
        code: 'gateway.duplicate-route',
        message: `Two routes have the id ${route.id} or claim ${route.host}${route.path}; the second is of app ${route.app}.`,
        hint: 'Give one of them another id, host or path.',
      })
    }
    ids.add(route.id)
    list.push({ path, value })
    index.set(key, list)
  }
  for (const list of index.values()) list.sort((a, b) => b.path.length - a.path.length)
  return index
}

/** The route for a normalized host and a path without its query, or undefined. */
export function matchRoute<T>(index: RouteIndex<T>, host: string, path: string): T | undefined {
  const exact = matchPath(index.get(host), path)
  if (exact !== undefined) return exact
  for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1)) {
    const found = matchPath(index.get(host.slice(dot)), path)
    if (found !== undefined) return found
  }
  return undefined
}

/** Whether any route has this host, whatever its path. */
export function hasHost<T>(index: RouteIndex<T>, host: string): boolean {
  return keysOf(host).some((key) => index.has(key))
}

/** Where a host is looked up: itself, then the wildcards that cover it, longest first. */
export function keysOf(host: string): string[] {
  const labels = host.split('.')
  return [host, ...labels.slice(1).map((_, i) => `.${labels.slice(i + 1).join('.')}`)]
}

function matchPath<T>(
  list: readonly { readonly path: string; readonly value: T }[] | undefined,
  path: string,
): T | undefined {
  if (list === undefined) return undefined
  for (const entry of list) {
    const length = entry.path.length
    if (path.startsWith(entry.path) && (path.length === length || path.charCodeAt(length) === 0x2f)) return entry.value
  }
  return undefined
}

const hostPattern = /^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])(?::\d{1,5})?$/

/** The name in a Host header: lower case, no port, no closing dot. Null when it is not a host. */
export function hostOf(header: string): string | null {
  const host = header.toLowerCase()
  if (host.length > 300 || !hostPattern.test(host)) return null
  const colon = host.lastIndexOf(':')
  const name = colon > host.lastIndexOf(']') && colon !== -1 ? host.slice(0, colon) : host
  return name.endsWith('.') ? name.slice(0, -1) : name
}

const dotSegment = /(?:\/|%2f|%5c)(?:\.|%2e){1,2}(?:\/|%2f|%5c|$)/i

/**
 * The path to route by, without its query; null for one that the gateway and an instance could read differently
 * (`.` and `..` segments, plain or encoded, and backslashes), because a prefix then says nothing.
 */
export function routablePath(target: string): string | null {
  const query = target.indexOf('?')
  const path = query === -1 ? target : target.slice(0, query)
  if (path.charCodeAt(0) !== 0x2f || path.includes('\\') || path.includes('#')) return null
  const suspect = path.includes('/.') || path.includes('%')
  return suspect && dotSegment.test(path) ? null : path
}

/**
 * The path and query of a request target. One that names a host too is taken only when that is the Host header's; any other
 * form is null, because the gateway and an instance could read it differently.
 */
export function originForm(url: string, host: string | null): string | null {
  if (url.startsWith('/')) return url
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url)
  if (absolute === null || absolute[1]?.toLowerCase() !== host?.toLowerCase()) return null
  const rest = absolute[2] ?? ''
  return rest.startsWith('/') ? rest : `/${rest}`
}
