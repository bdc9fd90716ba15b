/** Where the data of a new app comes to lie, pure. Invariant: only a node that is connected is chosen. */
import { SteadError } from '../base/index.ts'
import type { DesiredApp, NodeView } from './state.ts'

/** The connected node that is home to the fewest apps. Throws `control.no-node`. */
export function chooseHome(app: string, apps: Iterable<DesiredApp>, views: ReadonlyMap<string, NodeView>): string {
  const homes = [...apps].map(({ home }) => home)
  const load = (node: string): number => homes.filter((home) => home === node).length
  const nodes = [...views].filter(([, view]) => view.connected).map(([name]) => name)
  const [home] = nodes.toSorted((a, b) => load(a) - load(b) || (a < b ? -1 : 1))
  if (home !== undefined) return home
  throw new SteadError({
    code: 'control.no-node',
    message: `no node is connected that could be the home of ${app}`,
    hint: 'Start an agent, or name the node.',
    retry: 'later',
  })
}
