/**
 * A route table as HAProxy's configuration, pure. What changes often (which instances a route has, which paths lead to it)
 * is kept apart from what needs a reload (that a route exists, and its limits). Invariant: no text of the table gets into a
 * configuration or a command but hosts and paths of the strict form that the protocol allows; everything else is named by
 * a digest.
 */
import { createHash } from 'node:crypto'
import { SteadError } from '../../base/index.ts'
import type { Route, RouteTable, RouteTarget } from '../../protocol/index.ts'
import type { BoundAddress } from '../engine.ts'
import type { GatewayLimits } from '../limits.ts'
import { indexRoutes } from '../routes.ts'
import { againLines, holdLines } from './hold.ts'

/** An instance as HAProxy sees it. */
export interface Server {
  readonly name: string
  readonly instance: string
  /** `127.0.0.1:80` or `unix@/path`. */
  readonly address: string
  readonly requestsMax: number
  /** 0 to 256. */
  readonly weight: number
}

/** A route as HAProxy sees it. */
export interface Backend {
  readonly name: string
  readonly route: Route
  readonly servers: readonly Server[]
}

export interface Model {
  readonly backends: readonly Backend[]
  /** From host and path, with a slash at the end, to the backend. Wildcard hosts start with a dot. */
  readonly map: ReadonlyMap<string, string>
  /** Wildcard hosts, the longest first: `.shop.example`. */
  readonly wildcards: readonly string[]
}

/** Each costs a comparison for every request that no exact host takes. */
const wildcardsMax = 100
const weightMax = 256

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 20)
}

/**
 * What a table asks for. `addressOf` says how HAProxy reaches an endpoint. Throws `gateway.duplicate-route`, and
 * `gateway.engine-cannot` for what HAProxy is not made to do here.
 */
export function modelOf(table: RouteTable, limits: GatewayLimits, addressOf: (target: RouteTarget) => string): Model {
  indexRoutes(table.routes.map((route) => ({ route, value: null })))
  const [stream] = table.streams ?? []
  if (stream !== undefined) throw cannot(stream.app, 'a way in for TCP or TLS')
  const map = new Map<string, string>()
  const backends = table.routes.map((route): Backend => {
    if (route.sticky !== undefined) throw cannot(route.host, 'sticky clients')
    if (route.priority !== undefined && route.priority !== 'normal') throw cannot(route.host, 'priorities')
    if (route.targets.some(({ protocol }) => protocol !== undefined))
      throw cannot(route.host, 'HTTP/2 to its instances')
    const name = `r_${digest(route.id)}`
    const host = route.host.startsWith('*.') ? route.host.slice(1) : route.host
    map.set(`${host}${route.path.endsWith('/') ? route.path : `${route.path}/`}`, name)
    return { name, route, servers: serversOf(route, limits, addressOf) }
  })
  const wild = new Set(table.routes.filter(({ host }) => host.startsWith('*.')).map(({ host }) => host.slice(1)))
  if (wild.size > wildcardsMax) {
    throw new SteadError({
      code: 'gateway.engine-cannot',
      message: `The table has ${wild.size} wildcard hosts; with HAProxy there may be ${wildcardsMax}.`,
      hint: 'Use the own engine, or fewer wildcards.',
    })
  }
  return { backends, map, wildcards: [...wild].toSorted((a, b) => b.length - a.length || (a < b ? -1 : 1)) }
}

function cannot(of: string, what: string): SteadError {
  return new SteadError({
    code: 'gateway.engine-cannot',
    message: `The way in to ${of} asks for ${what}, which the HAProxy engine does not do.`,
    hint: 'Use the own engine, or leave it out.',
  })
}

/** The weight of a group is shared by its instances; HAProxy knows weights of instances only, in 256 steps. */
function serversOf(route: Route, limits: GatewayLimits, addressOf: (target: RouteTarget) => string): Server[] {
  const requestsMax = route.limits?.instanceRequestsMax ?? limits.instanceRequestsMax
  const shares = route.targets.map(({ group }) => {
    const weight = route.groups?.find(({ name }) => name === group)?.weight ?? 1
    return weight / route.targets.filter((other) => other.group === group).length
  })
  const largest = Math.max(...shares)
  return route.targets.map((target, i) => {
    const address = addressOf(target)
    const share = route.groups === undefined || largest === 0 ? 1 : (shares[i] ?? 0) / largest
    // A share that is not nothing is never rounded to nothing.
    const weight = share === 0 ? 0 : Math.max(1, Math.round(share * weightMax))
    const name = `i_${digest(`${target.instance} ${address}`)}`
    return { name, instance: target.instance, address, requestsMax, weight }
  })
}

export interface Settings {
  readonly binds: readonly BoundAddress[]
  readonly threads: number
  /** Client connections, within what the system allows. */
  readonly connectionsMax: number
  readonly limits: GatewayLimits
  readonly mapPath: string
  /** The script that has requests wait. */
  readonly holdPath: string
  /** The socket by which what waits in an old worker goes on to the one in charge. */
  readonly againPath: string
  readonly socketPath: string
}

const hostPattern = '^([a-z0-9_-]+(\\.[a-z0-9_-]+)*\\.?|\\[[0-9a-f:.]+\\])(:[0-9]{1,5})?$'

/** 32 random hex digits. The plain way, a UUID without its dashes, costs twice as much. */
const randomId = '%[rand,hex,bytes(8,8),lower]'.repeat(4)

/** A trace that goes on as the client sent it, without a span of the gateway's own: two rules for each request less. */
const traced = '{ req.hdr(traceparent) -m reg ^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$ }'

/** The lines of a whole configuration without its servers: while they are the same no reload is needed. */
export function renderStructure(model: Model, settings: Settings): string {
  return render(model, settings, () => [])
}

/** A whole configuration, as it is to be started with. */
export function renderConfig(model: Model, settings: Settings): string {
  return render(model, settings, ({ servers }) => servers.map((server) => `  server ${serverLine(server)}`))
}

/** A server's name and what follows it, in a configuration and in `add server`. */
export function serverLine({ name, address, requestsMax, weight }: Server): string {
  return `${name} ${address} maxconn ${requestsMax} weight ${weight}`
}

/** The map file of a model: from paths to backends, and from backends to how long a request may wait there for instances. */
export function renderMap({ map, backends }: Model): string {
  // No host has an underscore, so a backend's name is the beginning of no path.
  const holds = backends.flatMap(({ name, route: { holdMs } }) => (holdMs === undefined ? [] : [`${name} ${holdMs}\n`]))
  return [...[...map].map(([key, backend]) => `${key} ${backend}\n`), ...holds].join('')
}

function problem(status: number, text: string, more = ''): string {
  return `  http-error status ${status} content-type "text/plain; charset=utf-8" lf-string "${text}\\nRequest %[var(txn.id)].\\n" hdr cache-control no-store${more}`
}

function render(model: Model, settings: Settings, servers: (backend: Backend) => readonly string[]): string {
  const { limits, binds, threads, connectionsMax, mapPath, holdPath, againPath, socketPath } = settings
  const find = `map_beg(${mapPath})`
  const notFound = 'http-request return status 404 content-type "text/plain; charset=utf-8"'
  const lines = [
    'global',
    `  nbthread ${threads}`,
    `  maxconn ${connectionsMax}`,
    `  hard-stop-after ${limits.cutMs}ms`,
    `  lua-load ${holdPath}`,
    `  stats socket ${socketPath} mode 600 level admin expose-fd listeners`,
    `  tune.bufsize ${limits.headerBytesMax + 1024}`,
    '  tune.maxrewrite 1024',
    'defaults',
    '  mode http',
    '  balance leastconn',
    '  option http-keep-alive',
    '  http-reuse safe',
    '  retries 1',
    '  option redispatch 1',
    // Nothing that was sent: keeping every request for a second sending costs a sixth of all requests.
    '  retry-on conn-failure',
    `  timeout connect ${limits.connectMs}ms`,
    `  timeout client ${limits.bodyIdleMs}ms`,
    `  timeout server ${limits.responseMs}ms`,
    `  timeout queue ${limits.queueMs}ms`,
    `  timeout tunnel 1h`,
    `  timeout http-request ${limits.headersMs}ms`,
    `  timeout http-keep-alive ${limits.idleMs}ms`,
    problem(400, '400 Bad Request: The request could not be understood.'),
    problem(405, '405 Method Not Allowed: This is a way in to apps, not a proxy.'),
    problem(408, '408 Request Timeout: The request did not arrive in time.'),
    problem(413, '413 Content Too Large: The request is larger than the app accepts.'),
    problem(502, '502 Bad Gateway: The app closed the connection without an answer.'),
    problem(503, '503 Service Unavailable: Nothing can take the request now.', ' hdr retry-after 1'),
    problem(504, '504 Gateway Timeout: The app took too long to answer.'),
    'frontend in',
    ...binds.map(({ host, port }) => `  bind ${host.includes(':') ? `[${host}]` : host}:${port}`),
    ...againLines(againPath),
    `  http-request set-var-fmt(txn.id) ${randomId}`,
    `  http-request del-header tracestate if { req.hdr(tracestate) -m found } !${traced}`,
    `  http-request set-header traceparent 00-%[var(txn.id)]-%[var(txn.id),bytes(0,16)]-01 unless ${traced}`,
    '  http-request set-var(txn.id) req.hdr(x-request-id) if { req.hdr(x-request-id) -m reg ^[A-Za-z0-9_.:-]{8,128}$ }',
    '  http-after-response set-header x-request-id %[var(txn.id)] if { var(txn.id) -m found }',
    '  http-request deny deny_status 405 if METH_CONNECT',
    '  http-request set-var(txn.host) req.hdr(host),host_only,lower,rtrim(.)',
    '  http-request set-var(txn.path) path',
    '  http-request deny deny_status 400 if !{ req.hdr_cnt(host) eq 1 }',
    `  http-request deny deny_status 400 if !{ req.hdr(host),strcmp(txn.host) eq 0 } !{ req.hdr(host) -m reg -i ${hostPattern} }`,
    '  http-request deny deny_status 400 if !{ path -m beg / }',
    // One look for what is rare, and only then the dear one.
    '  http-request deny deny_status 400 if { path -m sub \\\\ /. % } { path -m reg -i (/|%2f|%5c)(\\.|%2e){1,2}(/|%2f|%5c|$)|\\\\\\\\ }',
    `  http-request set-var(txn.way) var(txn.host),concat(,txn.path,/),${find}`,
    ...model.wildcards.map(
      (host) =>
        `  http-request set-var(txn.way) str(${host}),concat(,txn.path,/),${find} if !{ var(txn.way) -m found } { var(txn.host) -m end ${host} }`,
    ),
    `  http-request deny deny_status 400 unless { var(txn.way) -m found } or { req.hdr(host) -m reg -i ${hostPattern} }`,
    `  ${notFound} lf-string "404 Not Found: No app answers at this address.\\nRequest %[var(txn.id)].\\n" hdr cache-control no-store unless { var(txn.way) -m found }`,
    '  http-request del-header x-real-ip',
    '  http-request del-header x-forwarded- -m beg',
    // Servers that speak CGI's language take x_forwarded_for for x-forwarded-for.
    '  http-request del-header _ -m sub',
    '  http-request set-header x-request-id %[var(txn.id)]',
    // Added, for each setting would look for those that are gone already.
    '  http-request add-header x-forwarded-for %[src]',
    '  http-request add-header x-forwarded-proto http',
    '  http-request add-header x-forwarded-host %[req.hdr(host)]',
    '  http-request set-header forwarded for=%[src];host=\\"%[req.hdr(host)]\\";proto=http',
    '  use_backend %[var(txn.way)]',
    ...model.backends.flatMap((backend) => [
      `backend ${backend.name}`,
      ...backendLines(backend, limits),
      ...holdLines(backend.name, { mapPath, againPath, heldMax: limits.heldMax }),
      ...servers(backend),
    ]),
  ]
  return `${lines.join('\n')}\n`
}

function backendLines({ route }: Backend, limits: GatewayLimits): string[] {
  const own = route.limits ?? {}
  return [
    ...(own.responseMs === undefined ? [] : [`  timeout server ${own.responseMs}ms`]),
    ...(own.queueMs === undefined ? [] : [`  timeout queue ${own.queueMs}ms`]),
    `  http-request deny deny_status 413 if { req.hdr_val(content-length) gt ${own.bodyBytesMax ?? limits.bodyBytesMax} }`,
    `  http-request deny deny_status 503 if { queue ge ${own.queueMax ?? limits.queueMax} } { avg_queue gt 0 }`,
    // Only where it is asked for: the filter costs a tenth of all requests, also of those that are not compressed.
    ...(route.compress !== true
      ? []
      : [
          '  compression algo gzip',
          '  compression type text/html text/plain text/css text/javascript application/json application/javascript application/xml image/svg+xml',
        ]),
  ]
}
