/**
 * From a port or a server name to a route for connections that are carried as they are, pure. An exact name wins over a
 * wildcard, a longer wildcard over a shorter one, as for hosts.
 */
import { SteadError } from '../base/index.ts'
import type { Route, StreamRoute, StreamWay } from '../protocol/index.ts'
import { keysOf } from './routes.ts'

/** Routes by port, and by server name (`*.x` stands under `.x`). */
export type WayIndex<T> = ReadonlyMap<number | string, T>

/** Builds the index. Throws `gateway.duplicate-route` when two routes claim the same port or name. */
export function indexWays<T>(
  entries: readonly { readonly way: StreamWay; readonly route: Route; readonly value: T }[],
): WayIndex<T> {
  const index = new Map<number | string, T>()
  for (const { way, route, value } of entries) {
    const key = way.kind === 'tcp' ? way.port : way.host.replace(/^\*/, '')
    if (index.has(key)) {
      const claimed = way.kind === 'tcp' ? `port ${way.port}` : `TLS for ${way.host}`
      throw new SteadError({
        code: 'gateway.duplicate-route',
        message: `Two routes claim ${claimed}; the second is ${route.id} of app ${route.app}.`,
        hint: 'Give one of them another port or name.',
      })
    }
    index.set(key, value)
  }
  return index
}

/** The route for a server name, or undefined. */
export function matchWay<T>(index: WayIndex<T>, host: string): T | undefined {
  for (const key of keysOf(host)) {
    const found = index.get(key)
    if (found !== undefined) return found
  }
  return undefined
}

/** A stream route in the form that the live table keeps: it has no host and no path. */
export function asRoute({ id, app, part, targets }: StreamRoute): Route {
  return { id, host: '', path: '/', app, part, targets }
}
