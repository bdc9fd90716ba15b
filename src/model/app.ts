/**
 * `app`, and the way from it to the graph: run its function, walk from what it answers along uses, sort. Nothing in
 * here depends on the order in which values were made, so equal apps give equal graphs.
 */
import { SteadError } from '../base/index.ts'
import { readBackup } from './backup.ts'
import { badOption, checkName, checkOptions, isRecord, readBytes, readDuration, show } from './check.ts'
import { checkGraph } from './invariants.ts'
import { dataBytesMin, graphVersion } from './graph.ts'
import type { Graph, Route, StreamRoute } from './graph.ts'
import { answersHttp } from './rights.ts'
import { compareRoutes, compareStreams, readRouteKey } from './routes.ts'
import type { RouteKey } from './routes.ts'
import { brand, describePart, isApp, isPart, isResource, isService, servesHttp, servesTcp } from './values.ts'
import type {
  App,
  AppContext,
  BackupOptions,
  Declaration,
  Environment,
  Job,
  Resource,
  Service,
  WayAt,
} from './values.ts'

type AnyPart = Service | Job | Resource

/** Refuses, in the type, what a declaration has beside `parts` and `public`. */
type Exactly<Shape> = Record<Exclude<keyof Shape, keyof Declaration>, never>

/** Refuses, in the type, a way in that leads to what does not speak as its key says. */
type Fitting<Shape> = Shape extends { readonly public: infer Ways }
  ? { readonly public: { readonly [Key in keyof Ways]: WayAt<Key, Ways[Key]> } }
  : unknown

/** Refuses, in the type, what is said of backups that has no meaning. */
type Kept<Shape> = Shape extends { readonly backup: infer Backup }
  ? { readonly backup: BackupOptions & Record<Exclude<keyof Backup, keyof BackupOptions>, never> }
  : unknown

/**
 * An app: its name, and a function that answers its parts and ways in. The file exports it as its default.
 *
 * Throws `model.bad-name`, `model.bad-option`.
 */
export function app<Shape extends Declaration>(
  name: string,
  declare: (context: AppContext) => Shape & Exactly<Shape> & Fitting<Shape> & Kept<Shape>,
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
  checkOptions(owner, declaration, ['parts', 'public', 'data', 'backup'], 'what its function answers')
  const { parts, public: ways = {}, data, backup } = declaration as Partial<Declaration>
  const { routes, streams, targets } = readRoutes(owner, ways)
  const kept = backup === undefined ? null : readBackup(owner, backup)
  const graph: Graph = {
    version: graphVersion,
    app: value.name,
    parts: collect([...readParts(owner, parts), ...targets, ...(kept?.secrets ?? [])]).map(({ part }) => part),
    routes: routes.sort(compareRoutes),
    ...(streams.length === 0 ? {} : { streams: streams.sort(compareStreams) }),
    ...(data === undefined ? {} : { dataBytes: readBytes(owner, 'data', data, dataBytesMin, 16 * 1000 ** 4) }),
    ...(kept === null ? {} : { backup: kept.plan }),
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

interface Ways {
  readonly routes: Route[]
  readonly streams: StreamRoute[]
  readonly targets: AnyPart[]
}

function readRoutes(owner: string, ways: unknown): Ways {
  const hint = "As in public: { 'shop.localhost': web }, where web is a service with `http`."
  if (!isRecord(ways)) throw badOption(owner, 'public', 'a plain object', ways, hint)
  const found: Ways = { routes: [], streams: [], targets: [] }
  for (const [key, given] of Object.entries(ways)) {
    const read = readRouteKey(owner, key)
    const place = `public['${key}']`
    const { to, more } = read.kind === 'http' ? readHttpWay(owner, place, given) : { to: given, more: {} }
    if (!leads(read, to)) throw badPublic(owner, place, read, to)
    found.targets.push(to)
    if (read.kind !== 'http') found.streams.push({ way: read, part: to.name })
    else found.routes.push({ host: read.host, path: read.path, part: to.name, ...more })
  }
  return found
}

/** A service alone, or one with options. */
function readHttpWay(
  owner: string,
  place: string,
  given: unknown,
): { to: unknown; more: Pick<Route, 'plain' | 'hstsS'> } {
  if (!isRecord(given)) return { to: given, more: {} }
  checkOptions(owner, given, ['to', 'plain', 'hsts'], place)
  const { to, plain, hsts } = given
  if (plain !== undefined && plain !== 'serve') {
    throw badOption(owner, `${place}.plain`, "'serve' or absent", plain, 'Without it plain HTTP is sent on to https.')
  }
  const hstsMs = hsts === undefined ? null : readDuration(owner, `${place}.hsts`, hsts, 1000, hstsMsMax)
  const hstsS = hstsMs === null ? {} : { hstsS: Math.floor(hstsMs / 1000) }
  return { to, more: { ...(plain === undefined ? {} : { plain }), ...hstsS } }
}

/** Two years: what lists of browsers ask for, and the longest mistake. */
const hstsMsMax = 730 * 86_400_000

/** Whether a part speaks what a way in carries. */
function leads(key: RouteKey, to: unknown): to is Service | Resource {
  const { kind } = key
  if (kind === 'tcp' && isResource(to)) return true
  if (key.kind === 'http' && isResource(to)) return key.path === '/' && answersHttp(to.type)
  return isService(to) && (kind === 'http' ? servesHttp(to) : servesTcp(to))
}

const wanted = {
  http: 'a service with `http`, or, without a path, a bucket',
  tcp: 'a service with `tcp`, or a resource',
  tls: 'a service with `tcp`, which ends the TLS',
} as const

function badPublic(owner: string, place: string, { kind }: RouteKey, to: unknown): SteadError {
  return new SteadError({
    code: 'model.bad-public',
    message: `${owner}: ${place} must be ${wanted[kind]}, not ${isPart(to) ? describePart(to.part) : show(to)}.`,
    hint: "As in public: { 'shop.localhost': web }, where web is a service with `http`.",
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
