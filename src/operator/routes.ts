/**
 * The operations as HTTP: method, path, the right it needs, and what it answers. A new operation is a line here, one in
 * `Operations` and a call in the client. Paths are versioned; within a version they only gain.
 */
import { badRequest } from './bad-request.ts'
import { batchRoutes } from './batch-routes.ts'
import type { Caller } from './caller.ts'
import { faultRoutes } from './fault-routes.ts'
import { releaseRoutes } from './release-routes.ts'
import { queueRoutes } from './queue-routes.ts'
import { secretRoutes } from './secret-routes.ts'
import { accessRoutes } from './access-routes.ts'
import { deploymentOf } from './deployment-body.ts'
import { intakeRoutes } from './intake-routes.ts'
import { partRoutes } from './part-routes.ts'
import type { Operations } from './operations.ts'
import { number, type Route, value } from './route.ts'

/** Shortest and usual pause between two looks of somebody who watches. */
const watchMs = { min: 100, usual: 500 } as const

const platformRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/platform',
    right: 'read',
    filtered: true,
    answer(operations, { caller }) {
      const platform = operations.platform()
      return value({ ...platform, apps: platform.apps.filter(({ app }) => caller.may('read', app)) })
    },
  },
  {
    method: 'GET',
    path: '/v1/apps/:app/status',
    right: 'read',
    answer: (operations, { path }) => value(operations.status(path['app'] ?? '')),
  },
  {
    method: 'GET',
    path: '/v1/apps/:app/watch',
    right: 'read',
    answer: (operations, { path, query, signal }) => ({
      kind: 'lines',
      lines: watched(
        operations,
        path['app'] ?? '',
        Math.max(number(query, 'every') ?? watchMs.usual, watchMs.min),
        signal,
      ),
    }),
  },
  {
    method: 'GET',
    path: '/v1/apps/:app/graph',
    right: 'read',
    answer: (operations, { path }) => value(operations.graph(path['app'] ?? '')),
  },
  {
    method: 'GET',
    path: '/v1/apps/:app/checkup',
    right: 'read',
    answer: async (operations, { path }) => value(await operations.checkup(path['app'] ?? '')),
  },
  {
    method: 'GET',
    path: '/v1/apps/:app/logs',
    right: 'logs',
    answer: (operations, { path, query, signal }) => {
      const options = { tail: number(query, 'tail'), follow: query.get('follow') === 'true', signal }
      return { kind: 'lines', lines: operations.logs(path['app'] ?? '', query.get('part'), options) }
    },
  },
  {
    method: 'GET',
    path: '/v1/apps/:app/incidents',
    right: 'logs',
    answer: async (operations, { path }) => value(await operations.incidents(path['app'] ?? '')),
  },
  ...(['release', 'end'] as const).map((how): Route => ({
    method: 'POST',
    path: `/v1/apps/:app/incidents/:incident/${how}`,
    right: 'operate',
    answer: async (operations, { path }) =>
      value(await operations.settle(path['app'] ?? '', path['incident'] ?? '', how)),
  })),
  {
    method: 'PUT',
    path: '/v1/apps/:app',
    right: 'deploy',
    answer: async (operations, question) =>
      value({
        release: await operations.deploy(await deploymentOf(operations, question), question.caller.name),
      }),
  },
  {
    method: 'POST',
    path: '/v1/apps/:app/down',
    right: 'operate',
    answer: async (operations, { path }) => {
      await operations.down(path['app'] ?? '')
      return value({ stopped: true })
    },
  },
  {
    method: 'DELETE',
    path: '/v1/apps/:app',
    right: 'admin',
    answer: async (operations, { path }) => {
      await operations.remove(path['app'] ?? '')
      return value({ removed: true })
    },
  },
]

const routes: readonly Route[] = [
  ...platformRoutes,
  ...partRoutes,
  ...intakeRoutes,
  ...secretRoutes,
  ...queueRoutes,
  ...batchRoutes,
  ...releaseRoutes,
  ...faultRoutes,
  ...accessRoutes,
]

/** What a caller may ask about an app (null: about the platform itself), as `METHOD /path`. */
export function offersTo(caller: Caller, app: string | null): readonly string[] {
  return routes.filter(({ right }) => caller.may(right, app)).map(({ method, path }) => `${method} ${path}`)
}

/** The route of a request and the values in its path; null when there is none. */
export function routeOf(method: string, pathname: string): { route: Route; path: Record<string, string> } | null {
  const segments = pathname.split('/')
  for (const route of routes) {
    const pattern = route.path.split('/')
    if (route.method !== method || pattern.length !== segments.length) continue
    const fits = pattern.every((part, index) => part.startsWith(':') || part === segments[index])
    if (!fits) continue
    const named = pattern.flatMap((part, index) =>
      part.startsWith(':') ? [[part.slice(1), decoded(segments[index] ?? '')] as const] : [],
    )
    return { route, path: Object.fromEntries(named) }
  }
  return null
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch (cause) {
    throw badRequest(`${segment} is not a well-formed part of a path`, cause)
  }
}

/** The status now, and again whenever something may have changed. */
async function* watched(
  operations: Operations,
  app: string,
  intervalMs: number,
  signal: AbortSignal,
): AsyncIterable<unknown> {
  yield operations.status(app)
  for await (const _ of operations.changes(intervalMs, signal)) yield operations.status(app)
}
