/** What an app must pass before control takes it on, and where it is put then. Pure. */
import { SteadError } from '../base/index.ts'
import type { Graph } from '../model/index.ts'
import type { DesiredApp, NodeView } from './state.ts'

/** Two apps cannot have one way in: the gateway would have to refuse every table. Throws `control.route-taken`. */
export function refuseTakenRoutes(graph: Graph, apps: Iterable<DesiredApp>): void {
  for (const other of apps) {
    if (other.graph.app === graph.app || !other.wanted) continue
    const taken = graph.routes.find((route) =>
      other.graph.routes.some(({ host, path }) => host === route.host && path === route.path),
    )
    if (taken === undefined) continue
    throw new SteadError({
      code: 'control.route-taken',
      message: `${taken.host}${taken.path} leads to the app ${other.graph.app} already`,
      hint: 'Stop that app, or give one of them another host.',
    })
  }
}

/** The connected node that is home to the fewest apps. Throws `control.no-node`. */
export function chooseHome(app: string, apps: Iterable<DesiredApp>, nodes: ReadonlyMap<string, NodeView>): string {
  const homes = [...apps].map((other) => other.home)
  const load = (node: string): number => homes.filter((home) => home === node).length
  const connected = [...nodes].filter(([, view]) => view.connected).map(([name]) => name)
  const [home] = connected.toSorted((a, b) => load(a) - load(b) || (a < b ? -1 : 1))
  if (home !== undefined) return home
  throw new SteadError({
    code: 'control.no-node',
    message: `no node is connected that could be the home of ${app}`,
    hint: 'Start an agent, or name the node.',
    retry: 'later',
  })
}
