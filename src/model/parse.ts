/** From JSON that comes from anywhere to a graph that holds what graph.ts promises. */
import { SteadError } from '../base/index.ts'
import { graphVersion } from './graph.ts'
import type { Graph, Use } from './graph.ts'
import { checkGraph } from './invariants.ts'
import { compareRoutes, compareStreams } from './routes.ts'

/**
 * A graph from parsed JSON, put into canonical order. Asynchronous because the schema library is loaded at the first
 * call: whoever only declares an app never pays for it.
 *
 * Throws `model.newer-version`, `model.bad-graph`, and what `toGraph` throws for parts that do not fit together.
 */
export async function parseGraph(value: unknown): Promise<Graph> {
  refuseNewer(value)
  const { graphSchema } = await import('./schema.ts')
  const result = graphSchema.safeParse(value)
  if (!result.success) {
    const issue = result.error.issues[0]
    const place = issue?.path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('') ?? ''
    throw new SteadError({
      code: 'model.bad-graph',
      message: `The graph is not valid at \`${place.replace(/^\./, '') || 'its root'}\`: ${issue?.message ?? 'unknown'}.`,
      hint: 'Its format is published as graph.schema.json; graphs are made from an app file, not by hand.',
    })
  }
  checkGraph(result.data)
  return canonical(result.data)
}

function refuseNewer(value: unknown): void {
  const version = typeof value === 'object' && value !== null && 'version' in value ? value.version : undefined
  if (typeof version !== 'number' || version <= graphVersion) return
  throw new SteadError({
    code: 'model.newer-version',
    message: `The graph has format version ${version}, and this release of Stead reads up to version ${graphVersion}.`,
    hint: 'It was made by a newer Stead. Upgrade this one.',
  })
}

function sorted<T>(items: readonly T[], key: (item: T) => string): T[] {
  return [...items].sort((a, b) => (key(a) < key(b) ? -1 : 1))
}

function canonicalUse(use: Use): Use {
  return use.rights === undefined ? use : { ...use, rights: [...new Set(use.rights)].sort() }
}

function canonical(graph: Graph): Graph {
  return {
    ...graph,
    parts: sorted(graph.parts, (part) => part.name).map((part) =>
      part.kind === 'resource'
        ? part
        : { ...part, uses: sorted(part.uses.map(canonicalUse), (use) => use.as), egress: [...part.egress].sort() },
    ),
    routes: [...graph.routes].sort(compareRoutes),
    ...(graph.streams === undefined ? {} : { streams: [...graph.streams].sort(compareStreams) }),
  }
}
