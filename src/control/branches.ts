/**
 * A branch as an app: the graph of a release on a copy of the data, that can hurt nobody. Pure.
 *
 * Invariant: a branch dials nothing outside, runs no schedule, has no way in of the app that it comes from, and gets no
 * value of a secret that a person has set.
 */
import { SteadError } from '../base/index.ts'
import type { Graph, Part } from '../model/index.ts'
import type { BranchOf, DesiredApp } from './state.ts'

const nameCharsMax = 40

/** Name of a branch as an app. Throws `control.branch-name`. */
export function branchApp(app: string, name: string): string {
  const full = `${app}--${name}`
  if (/^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(name) && !name.includes('--') && full.length <= nameCharsMax) return full
  throw new SteadError({
    code: 'control.branch-name',
    message: `a branch of ${app} cannot be called ${name}`,
    hint: `Small letters, digits and single dashes, at most ${Math.max(0, nameCharsMax - app.length - 2)} of them.`,
  })
}

/** The graph of a branch: with its own hosts in front of the app's, and none at all where nobody is to look; nobody backs it up. */
export function branchGraph(graph: Graph, app: string, host: string | null): Graph {
  const { streams: _, dataBytes: __, backup: ___, ...rest } = graph
  const isNamed = (way: string): boolean => !way.startsWith('*')
  const routes = host === null ? [] : graph.routes.filter((route) => isNamed(route.host))
  return {
    ...rest,
    app,
    parts: graph.parts.flatMap((part): Part[] => {
      if (part.kind === 'resource') return [part]
      // Nobody asks a preview for a report at night, and what runs once for a release has run.
      return part.kind === 'job' ? [] : [{ ...part, egress: [], replicas: 1, tripwire: 'off' }]
    }),
    routes: routes
      .map((route) => ({ ...route, host: `${host ?? ''}.${route.host}` }))
      .toSorted((a, b) => (a.host < b.host ? -1 : 1)),
  }
}

/** A branch as it should be. */
export function branchOf(
  from: Pick<DesiredApp, 'graph' | 'bundles' | 'home'> & { readonly schema?: DesiredApp['schema'] },
  name: string,
  host: string | null,
  branch: BranchOf,
): DesiredApp {
  const graph = branchGraph(from.graph, name, host)
  const { schema } = from
  return {
    graph,
    bundles: from.bundles,
    release: 1,
    home: from.home,
    origin: null,
    wanted: true,
    branch,
    ...(schema === undefined ? {} : { schema }),
  }
}
