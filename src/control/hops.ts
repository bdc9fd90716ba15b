/**
 * The way of a request from its part on: the part and what it uses, each with its health, for whoever has to say what
 * failed. Pure, from the same statuses as everything else; names and states only, because what is made of it may be public.
 */
import type { Graph } from '../model/index.ts'
import { hopsMax, type HopState, type Phase, type RouteHop } from '../protocol/index.ts'
import { type ControlState, type DesiredApp, resourceId } from './state.ts'

const serving: ReadonlySet<Phase> = new Set(['ready'])
const coming: ReadonlySet<Phase> = new Set(['waiting', 'starting'])
const ending: ReadonlySet<Phase> = new Set(['stopping', 'stopped', 'succeeded'])

/** How a part is whose instances, or whose one resource, are in these phases. */
export function stateOf(phases: readonly Phase[]): HopState {
  const count = (of: ReadonlySet<Phase>): number => phases.filter((phase) => of.has(phase)).length
  const [ready, starting, stopped] = [count(serving), count(coming), count(ending)]
  const bad = phases.length - ready - starting - stopped
  if (ready > 0) return bad > 0 ? 'degraded' : 'ready'
  if (bad > 0) return 'failing'
  if (starting > 0) return 'starting'
  return stopped > 0 ? 'stopped' : 'unknown'
}

/** The part and what it uses. `dialled`: whether a resource's type is something that is dialled: a secret is not. */
export function hopsOf(
  state: ControlState,
  { graph, home }: DesiredApp,
  part: string,
  dialled: (type: string) => boolean,
): RouteHop[] {
  const own = graph.parts.find((other) => other.name === part)
  const uses = own === undefined || own.kind === 'resource' ? [] : own.uses.map((use) => use.part)
  return [part, ...new Set(uses)].slice(0, hopsMax).flatMap((name) => hop(state, graph, home, name, dialled))
}

function hop(
  state: ControlState,
  { app, parts }: Graph,
  home: string,
  name: string,
  dialled: (type: string) => boolean,
): RouteHop[] {
  const part = parts.find((other) => other.name === name)
  if (part === undefined) return []
  if (part.kind === 'resource') {
    if (!dialled(part.type)) return []
    return [
      { part: name, type: part.type, state: stateOf(phasesOf(state, [{ id: resourceId(app, name), node: home }])) },
    ]
  }
  // An instance that is being replaced tells nothing about the part.
  const instances = [...state.instances.values()].filter(
    (instance) => instance.app === app && instance.part.name === name && instance.phase === 'active',
  )
  return [{ part: name, type: part.kind, state: stateOf(phasesOf(state, instances)) }]
}

/** What is known now: of a node that is away, nothing is. */
function phasesOf(state: ControlState, of: readonly { readonly id: string; readonly node: string }[]): Phase[] {
  return of.flatMap(({ id, node }) => {
    const status = state.statuses.get(id)
    return status === undefined || state.nodes.get(node)?.connected !== true ? [] : [status.phase]
  })
}
