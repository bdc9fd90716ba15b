/**
 * `app`, and the way from it to the graph: run its function, walk from what it answers along uses, sort. Nothing in
 * here depends on the order in which values were made, so equal apps give equal graphs.
 */
import { SteadError } from '../base/index.ts'
import { badOption, checkName, checkOptions, isRecord, readBytes, show } from './check.ts'
import { checkGraph } from './invariants.ts'
import { dataBytesMin, graphVersion } from './graph.ts'
import type { Graph, Route } from './graph.ts'
import { compareRoutes, readRouteKey } from './routes.ts'
import { brand, describePart, isApp, isPart, isService, servesHttp } from './values.ts'
import type { App, AppContext, Declaration, Environment, Job, Resource, Service } from './values.ts'

type AnyPart = Service | Job | Resource

/** Refuses, in the type, what a declaration has beside `parts` and `public`. */
type Exactly<Shape> = Record<Exclude<keyof Shape, keyof Declaration>, never>

/**
 * An app: its name, and a function that answers its parts and ways in. The file exports it as its default.
 *
 * Throws `model.bad-name`, `model.bad-option`.
 */
export function app<Shape extends Declaration>(
  name: string,
  declare: (context: AppContext) => Shape & Exactly<Shape>,
): App {
  checkName('app', name)
  if (typeof declare !== 'function') {
    throw badOption(
      `app '${name}'`,
      'the second argument',
      'a function',
      declare,
      'As in ({ env }) => ({ parts: {} }).',
    )
  }
  const value: App = { [brand]: 'app', name, declare }
  return Object.freeze(value)
}

/** The graph of an app in an environment. Throws `model.not-an-app` and the other codes of this room. */
export function toGraph(value: unknown, environment: Environment): Graph {
  if (!isApp(value)) {
    throw new SteadError({
      code: 'model.not-an-app',
      message: `The default export is ${show(value)}, not an app.`,
      hint: "As in export default app('shop', () => ({ parts: { web } })).",
    })
  }
  const owner = `app '${value.name}'`
  const declaration: unknown = value.declare({ env: Object.freeze({ ...environment }) })
  if (declaration instanceof Promise) {
    throw badOption(owner, 'its function', 'synchronous', declaration, 'Answer { parts, public } without async.')
  }
  checkOptions(owner, declaration, ['parts', 'public', 'data'], 'what its function answers')
  const { parts, public: ways = {}, data } = declaration as Partial<Declaration>
  const routes = readRoutes(owner, ways)
  const graph: Graph = {
    version: graphVersion,
    app: value.name,
    parts: collect([...readParts(owner, parts), ...routes.map(({ target }) => target)]).map(({ part }) => part),
    routes: routes.map(({ route }) => route).sort(compareRoutes),
    ...(data === undefined ? {} : { dataBytes: readBytes(owner, 'data', data, dataBytesMin, 16 * 1000 ** 4) }),
  }
  checkGraph(graph)
  return graph
}

function readParts(owner: string, parts: unknown): AnyPart[] {
  const hint = 'As in parts: { web, worker }, with values made by service, job or a resource builder.'
  if (!isRecord(parts)) throw badOption(owner, 'parts', 'a plain object', parts, hint)
  return Object.entries(parts).map(([key, value]) => {
    if (isPart(value)) return value
    throw badOption(owner, `parts.${key}`, 'a part', value, hint)
  })
}

function readRoutes(owner: string, ways: unknown): { route: Route; target: Service<number> }[] {
  const hint = "As in public: { 'shop.localhost': web }, where web is a service with `http`."
  if (!isRecord(ways)) throw badOption(owner, 'public', 'a plain object', ways, hint)
  return Object.entries(ways).map(([key, target]) => {
    const { host, path } = readRouteKey(owner, key)
    if (isService(target) && servesHttp(target)) return { route: { host, path, part: target.name }, target }
    throw new SteadError({
      code: 'model.bad-public',
      message: `${owner}: public['${key}'] must be a service with \`http\`, not ${isPart(target) ? describePart(target.part) : show(target)}.`,
      hint,
    })
  })
}

/** Everything reachable along uses, sorted by name. */
function collect(roots: readonly AnyPart[]): AnyPart[] {
  const found = new Map<string, AnyPart>()
  const open = [...roots]
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    const other = found.get(value.name)
    if (other === value) continue
    if (other !== undefined) {
      const [first, second] = [other, value].map(({ part }) => describePart(part)).sort()
      throw new SteadError({
        code: 'model.duplicate-name',
        message: `Two parts have the same name: ${first} and ${second}.`,
        hint: 'Names of parts are unique in an app, also across services, jobs and resources. Rename one.',
      })
    }
    found.set(value.name, value)
    if ('use' in value) open.push(...Object.values(value.use))
    else if (value.hosted !== undefined) open.push(value.hosted)
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}
