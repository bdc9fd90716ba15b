/** From what the platform says to what a page shows, pure. Invariant: nothing of a part's environment or credentials is in it. */
import type { Graph, Part } from '../model/index.ts'
import type { AppSummary, Status } from '../operator/index.ts'
import { type History, keyOf } from './history.ts'
import { type AppCard, type AppState, type Head, isWell, type Shape, type ShapePart } from './wire.ts'

/** Everything a page shows of an app. */
export function stateOf(graph: Graph, status: Status, history: History): AppState {
  return {
    head: { ...headOf(status), ...(status.backup === undefined ? {} : { backup: status.backup }) },
    shape: shapeOf(graph),
    parts: Object.fromEntries(status.parts.map((part) => [keyOf(part), part])),
    uptime: history.uptime(),
    faults: history.faults(status),
    traffic: Object.fromEntries(status.traffic.map((edge) => [`${edge.from ?? ''}>${edge.to}`, edge])),
  }
}

/** What the overview shows of an app. `status` is null while it only starts. */
export function cardOf(summary: AppSummary, status: Status | null): AppCard {
  const parts = status?.parts ?? []
  return {
    head: headOf(summary),
    parts: new Set(parts.map(({ part }) => part)).size,
    unwell: summary.wanted ? [...new Set(parts.filter((part) => !isWell(part)).map(({ part }) => part))] : [],
  }
}

function headOf({ app, release, wanted, urls }: Head): Head {
  return { app, release, wanted, urls }
}

function shapeOf(graph: Graph): Shape {
  // What a person opens comes before a bucket, which answers to signed requests.
  const isResource = (name: string): boolean =>
    graph.parts.some((part) => part.kind === 'resource' && part.name === name)
  const routes = graph.routes.toSorted((a, b) => Number(isResource(a.part)) - Number(isResource(b.part)))
  return {
    parts: graph.parts.map(shapePart),
    routes: routes.map(({ host, path, part }) => ({ host, path, part })),
  }
}

function shapePart(part: Part): ShapePart {
  const common = { name: part.name, kind: part.kind, type: null, replicas: 0, schedule: null, uses: [] }
  if (part.kind === 'resource') return { ...common, type: part.type }
  const uses = [...new Set(part.uses.map((use) => use.part))]
  return part.kind === 'job'
    ? { ...common, schedule: part.schedule, uses }
    : { ...common, replicas: part.replicas, uses, ...(part.vm === undefined ? {} : { disk: part.vm.disk }) }
}
