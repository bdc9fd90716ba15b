/**
 * From route tables to HAProxy's configuration and commands: against files that a person has read (`UPDATE_GOLDEN=1` writes
 * them anew), and as a property: commands applied to a worker that is played end in what the configuration says.
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isSteadError, seededRandom } from '../../base/index.ts'
import type { Route, RouteTable, RouteTarget } from '../../protocol/index.ts'
import { defaultLimits } from '../limits.ts'
import { changesOf } from './changes.ts'
import type { ServerPath } from './changes.ts'
import { modelOf, renderConfig, renderMap, renderStructure } from './config.ts'
import type { Model, Settings } from './config.ts'
import { directAddress } from './forwarders.ts'
import { parseStats, parseWorkers } from './runtime.ts'

const settings: Settings = {
  binds: [
    { host: '127.0.0.1', port: 8080 },
    { host: '::1', port: 8080 },
  ],
  threads: 2,
  limits: defaultLimits,
  connectionsMax: 5000,
  mapPath: '/run/stead/routes.map',
  holdPath: '/run/stead/hold.lua',
  againPath: '/run/stead/again.sock',
  socketPath: '/run/stead/worker.sock',
}

const addressOf = ({ endpoint }: RouteTarget): string => directAddress(endpoint) ?? 'unix@/run/stead/x.to'

function target(instance: string, port: number, group?: string): RouteTarget {
  const plain = { instance, endpoint: { kind: 'tcp', host: '10.0.0.1', port } } as const
  return group === undefined ? plain : { ...plain, group }
}

function route(id: string, more: Partial<Route> = {}): Route {
  return { id, host: 'shop.test', path: '/', app: 'shop', part: 'web', targets: [], ...more }
}

const tables: Readonly<Record<string, readonly Route[]>> = {
  plain: [route('web', { targets: [target('web-1', 3000), target('web-2', 3001)] })],
  held: [route('web', { targets: [], holdMs: 20_000 })],
  'paths-and-wildcards': [
    route('api', {
      path: '/api',
      limits: { responseMs: 5000, queueMs: 100, queueMax: 3, bodyBytesMax: 10 },
      compress: false,
    }),
    route('wild', { host: '*.shop.test' }),
    route('deep', { host: '*.deep.shop.test', path: '/x' }),
  ],
  canary: [
    route('web', {
      targets: [target('a', 1, 'r1'), target('b', 2, 'r1'), target('c', 3, 'r2')],
      groups: [
        { name: 'r1', weight: 95 },
        { name: 'r2', weight: 5 },
      ],
    }),
  ],
}

for (const [name, routes] of Object.entries(tables)) {
  test(`the configuration of "${name}" is the one that was read`, () => {
    const model = modelOf({ revision: 1, routes }, defaultLimits, addressOf)
    const text = `${renderConfig(model, settings)}# map\n${renderMap(model)}`
    const path = join(import.meta.dirname, 'golden', `${name}.cfg`)
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(path, text)
    assert.equal(text, readFileSync(path, 'utf8'))
  })
}

test('no text of a table but hosts and paths gets into a configuration', () => {
  const nasty = 'x\n  server evil 6.6.6.6:80\n"; $(reboot) \\'
  const hostile = route(nasty, {
    app: nasty,
    part: nasty,
    unavailable: nasty,
    targets: [
      { instance: nasty, endpoint: { kind: 'unix', path: `/${nasty}` } },
      { ...target('t', 1), instance: nasty },
    ],
  })
  const model = modelOf({ revision: 1, routes: [hostile] }, defaultLimits, addressOf)
  const text = renderConfig(model, settings) + renderMap(model)
  assert.doesNotMatch(text, /evil|reboot|6\.6\.6\.6/)
  const { come } = changesOf({ backends: [], map: new Map(), wildcards: [] }, model, new Set())
  assert.doesNotMatch(come.join(''), /evil|reboot|\n/)
})

test('what HAProxy cannot do is refused by name', () => {
  const refused = (more: Partial<Route>): void =>
    assert.throws(
      () => modelOf({ revision: 1, routes: [route('web', more)] }, defaultLimits, addressOf),
      (error) => isSteadError(error) && error.code === 'gateway.engine-cannot',
    )
  refused({ sticky: { by: 'group' } })
  refused({ priority: 'high' })
  refused({ targets: [{ ...target('web-1', 1), protocol: 'h2c' }] })
  const way = { kind: 'tcp', port: 5432 } as const
  const stream = { id: 's', way, app: 'shop', part: 'db', targets: [] }
  assert.throws(
    () => modelOf({ revision: 1, routes: [], streams: [stream] }, defaultLimits, addressOf),
    /way in for TCP/,
  )
  const many = Array.from({ length: 101 }, (_, i) => route(`w${i}`, { host: `*.h${i}.test` }))
  assert.throws(() => modelOf({ revision: 1, routes: many }, defaultLimits, addressOf), /101 wildcard hosts/)
})

/** A worker that does what it is told, and fails when that makes no sense. */
class Worker {
  readonly servers = new Map<string, { settings: string; enabled: boolean }>()

  constructor(model: Model) {
    for (const { name, servers } of model.backends)
      for (const one of servers)
        this.servers.set(`${name}/${one.name}`, {
          settings: `${one.address} ${one.requestsMax} ${one.weight}`,
          enabled: true,
        })
  }

  tell(command: string): void {
    const add = /^add server (\S+) (\S+) maxconn (\d+) weight (\d+)$/.exec(command)
    if (add !== null) {
      assert.ok(!this.servers.has(add[1] ?? ''), command)
      this.servers.set(add[1] ?? '', { settings: `${add[2]} ${add[3]} ${add[4]}`, enabled: false })
      return
    }
    const [, verb = '', path = '', value = ''] =
      /^(enable server|disable server|set server|set maxconn server|del server) (\S+)(?: weight)?(?: (\d+))?$/.exec(
        command,
      ) ?? []
    const server = this.servers.get(path)
    assert.ok(server !== undefined, command)
    const [address, requestsMax, weight] = server.settings.split(' ')
    if (verb === 'enable server') server.enabled = true
    else if (verb === 'disable server') server.enabled = false
    else if (verb === 'set server') server.settings = `${address} ${requestsMax} ${value}`
    else if (verb === 'set maxconn server') server.settings = `${address} ${value} ${weight}`
    else {
      assert.ok(!server.enabled, command)
      this.servers.delete(path)
    }
  }

  get serving(): string[] {
    return [...this.servers]
      .flatMap(([path, { settings, enabled }]) => (enabled ? [`${path} ${settings}`] : []))
      .toSorted()
  }
}

test('commands end in what the configuration says, over 2000 random changes; a route is never without a server between', () => {
  const random = seededRandom(5)
  const below = (n: number): number => (random.bytes(1)[0] ?? 0) % n
  const routesOf = (): Route[] =>
    ['a', 'b', 'c'].map((id) =>
      route(id, {
        path: `/${id}`,
        limits: { instanceRequestsMax: 1 + below(2) },
        targets: [1, 2, 3, 4].filter(() => below(2) === 0).map((port) => target(`${id}-${port}`, port)),
      }),
    )
  const modelFor = (routes: readonly Route[]): Model =>
    modelOf({ revision: 1, routes } satisfies RouteTable, defaultLimits, addressOf)
  let before = modelFor(routesOf())
  const worker = new Worker(before)
  const parked = new Set<ServerPath>()
  for (let i = 0; i < 2000; i += 1) {
    const after = modelFor(routesOf())
    if (renderStructure(after, settings) !== renderStructure(before, settings))
      assert.fail('instances are no structure')
    const { come, go, left } = changesOf(before, after, parked)
    for (const command of [...come, ...go]) {
      worker.tell(command)
      for (const { name, servers } of after.backends) {
        const was = before.backends.find((other) => other.name === name)?.servers.length ?? 0
        if (was > 0 && servers.length > 0)
          assert.ok(
            worker.serving.some((line) => line.startsWith(name)),
            command,
          )
      }
    }
    assert.deepEqual(worker.serving, new Worker(after).serving)
    for (const { path } of left) parked.add(path)
    for (const { name, servers } of after.backends) for (const one of servers) parked.delete(`${name}/${one.name}`)
    for (const path of parked) {
      if (below(2) === 0) continue
      worker.tell(`del server ${path}`)
      parked.delete(path)
    }
    before = after
  }
})

test('what HAProxy says of itself is read', () => {
  const proc = `#<PID> <type> <reloads> <uptime> <version>
29851           master          1 [failed: 0]   0d00h00m02s     2.6.12
# workers
29876           worker          0               0d00h00m01s     2.6.12
# old workers
29860           worker          1               0d00h00m09s     2.6.12
29861           worker          1               0d00h00m09s     2.6.12
# programs

`
  assert.deepEqual(parseWorkers(proc), { current: 29876, old: [29860, 29861] })
  assert.deepEqual(parseWorkers(''), { current: null, old: [] })
  assert.deepEqual(parseStats('# pxname,svname,scur\nr_1,BACKEND,2\n'), [
    { pxname: 'r_1', svname: 'BACKEND', scur: '2' },
  ])
})
