/** The diff: empty for equal graphs, complete for others (applying it gives the other graph), and readable. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canonicalJson, seededRandom } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import {
  app,
  describeDiff,
  diffGraphs,
  job,
  parseGraph,
  postgres,
  resource,
  secret,
  service,
  showWay,
  toGraph,
} from './index.ts'
import type {
  Change,
  Declaration,
  Graph,
  Job,
  Part,
  Resource,
  Route,
  Service,
  StreamRoute,
  Usable,
  Way,
} from './index.ts'
import { narrowable } from './rights.ts'
import { servesHttp, servesTcp } from './values.ts'

const run = ['node', 'x.ts'] as const

function graphOf(declaration: Declaration, name = 'shop'): Graph {
  return toGraph(
    app(name, () => declaration),
    { name: 'local', production: false },
  )
}

function nameOf(value: Usable): string {
  return 'resource' in value ? value.resource.name : value.name
}

/** A random app out of few names, so that two of them have much in common. */
function randomGraph(seed: number): Graph {
  const random = seededRandom(seed)
  const roll = (sides: number): number => (random.bytes(1)[0] ?? 0) % sides
  const pick = <T>(first: T, ...more: readonly T[]): T => more[roll(more.length + 1)] ?? first
  const kept = ['db', 'key'].map((name) =>
    pick<Resource>(
      postgres(name),
      postgres(name, { memory: '1GB' }),
      secret(name),
      resource('queue', name, { a: { b: roll(3) } }),
    ),
  )
  const mail = narrowable(resource('queue', 'mail'))
  const resources: Usable[] = [...kept, pick<Usable>(mail, mail.only('send'), mail.only('receive', 'send'))]
  const programs: (Service | Job)[] = ['a', 'b', 'c'].map((name) => {
    const given = Object.fromEntries(resources.slice(roll(3)).map((item) => [pick('x', nameOf(item)), item]))
    const common = {
      run,
      use: given,
      env: pick<Record<string, string>>({}, { A: '1' }, { A: '2', B: '' }),
      limits: { cpus: 1 + roll(2) },
    }
    return pick<Service | Job>(
      service(name, { ...common, http: 3000 + roll(2), replicas: 1 + roll(2) }),
      service(name, { ...common, http: 3000, protocol: 'h2c' }),
      service(name, { ...common, tcp: 5000 + roll(2) }),
      service(name, { ...common, ready: { command: ['./a', String(roll(2))] } }),
      job(name, { ...common, ...pick({}, { schedule: '0 * * * *' }) }),
    )
  })
  const ways = programs.flatMap((value): [string, Way][] => {
    if (!('http' in value)) return []
    const [host, port] = [pick('x.localhost', `${value.name}.localhost`), pick('tcp:1', `tcp:${5000 + roll(3)}`)]
    if (servesTcp(value)) return [pick([port, value], [`tls:${host}`, value], [port, kept[0] ?? value])]
    if (!servesHttp(value)) return []
    return [[host, pick<Way>(value, { to: value, hsts: pick('1s', '2s') }, { to: value, plain: 'serve' })]]
  })
  return graphOf(
    {
      parts: Object.fromEntries(programs.slice(roll(2)).map((value) => [value.name, value])),
      public: Object.fromEntries(ways),
    },
    pick('shop', 'store'),
  )
}

/** Carries changes out, by nothing but what they say. */
function apply(before: Graph, changes: readonly Change[]): unknown {
  const parts = new Map<string, Json | Part>(before.parts.map((part) => [part.name, structuredClone(part)]))
  const keyOf = (route: Route | StreamRoute): string =>
    'way' in route ? showWay(route.way) : `${route.host}${route.path}`
  const all = [...before.routes, ...(before.streams ?? [])]
  const routes = new Map<string, Route | StreamRoute>(all.map((route) => [keyOf(route), route]))
  let name = before.app
  for (const change of changes) {
    if (change.kind === 'app-renamed') name = change.after
    if (change.kind === 'part-removed') parts.delete(change.part.name)
    if (change.kind === 'part-added') parts.set(change.part.name, change.part)
    if (change.kind === 'route-removed') routes.delete(keyOf(change.route))
    if (change.kind === 'route-added' || change.kind === 'route-changed') {
      routes.set(keyOf(change.route), change.route)
    }
    if (change.kind !== 'part-changed') continue
    const part = structuredClone(parts.get(change.part.name)) as Record<string, unknown>
    const uses = (part['uses'] ?? []) as { as: string; part: string; rights?: string[] }[]
    part['uses'] = Object.fromEntries(
      uses.map(({ as, ...use }) => [as, use.rights === undefined ? use.part : { ...use }]),
    )
    for (const { path, after } of change.fields) {
      const parent = path.slice(0, -1).reduce((at, key) => at[key] as Record<string, unknown>, part)
      const last = path.at(-1) ?? ''
      if (after === undefined) delete parent[last]
      else parent[last] = after
    }
    const named = Object.entries(part['uses'] as Record<string, string | object>).map(([as, target]) =>
      typeof target === 'string' ? { as, part: target } : { as, ...target },
    )
    if (part['kind'] === 'resource') delete part['uses']
    else part['uses'] = named
    parts.set(change.part.name, part as Json)
  }
  const { streams: _before, ...rest } = before
  const streams = [...routes.values()].filter((route) => 'way' in route)
  const ways = { routes: [...routes.values()].filter((route) => !('way' in route)) }
  return { ...rest, app: name, parts: [...parts.values()], ...ways, ...(streams.length > 0 ? { streams } : {}) }
}

test('applying the diff of any two graphs gives the second one', async () => {
  for (let seed = 1; seed <= 300; seed++) {
    const [before, after] = [randomGraph(seed), randomGraph(seed + 1000)]
    const changes = diffGraphs(before, after)
    assert.deepEqual(await parseGraph(apply(before, changes)), after, `seed ${seed}`)
    assert.equal(changes.length === 0, canonicalJson(before) === canonicalJson(after), `seed ${seed}`)
    assert.equal(describeDiff(changes).length === 0, changes.length === 0)
    assert.deepEqual(diffGraphs(after, structuredClone(after)), [])
  }
})

test('a change of every field is reported with its path', () => {
  const db = postgres('db')
  const web = service('web', { run, http: 3000, use: { db } })
  const before = graphOf({ parts: { web } })
  const different: Partial<Record<string, Json>> = {
    from: 'web',
    run: ['deno'],
    env: { A: '1' },
    uses: [],
    limits: { memoryBytes: 1, cpuCores: 2, pidsMax: 3 },
    egress: ['a.example.com:1'],
    tripwire: 'freeze',
    http: 3001,
    ready: { kind: 'started', timeoutMs: 1000 },
    replicas: 2,
    onSecretChange: 'SIGHUP',
  }
  const fields = Object.keys(before.parts.find((part) => part.name === 'web') ?? {})
  for (const field of fields.filter((key) => key !== 'kind' && key !== 'name')) {
    assert.ok(field in different, `the test knows a change of ${field}`)
    const parts = before.parts.map((part) => (part.name === 'web' ? { ...part, [field]: different[field] } : part))
    const changes = diffGraphs(before, { ...before, parts })
    assert.equal(changes.length, 1, field)
    assert.ok(changes[0]?.kind === 'part-changed')
    assert.ok(changes[0].fields.every(({ path }) => path[0] === field))
  }
})

test('the lines say what a person wants to know', () => {
  const oldDb = postgres('db', { memory: '256MB' })
  const web = service('web', { run, http: 3000, use: { db: oldDb }, env: { LEVEL: 'info' } })
  const old = service('old', { run, http: 80 })
  const before = graphOf({
    parts: { web, old, cache: resource('cache', 'kept') },
    public: { 'shop.localhost': web, 'old.localhost': old },
  })
  const next = service('web', {
    run,
    http: 3000,
    use: { store: postgres('db', { memory: '1GB' }) },
    ready: '/up',
    limits: { memory: '1GiB' },
  })
  const api = service('api', { run, http: 4000 })
  const after = graphOf({
    parts: { next, api, kept: resource('queue', 'kept') },
    public: { 'shop.localhost': api, 'new.localhost/a': next },
  })
  assert.deepEqual(describeDiff(diffGraphs(before, after)), [
    "+ service 'api'",
    "~ postgres 'db': config.memoryBytes: 256MB -> 1GB",
    "- cache 'kept', with what it holds",
    "+ queue 'kept'",
    "- service 'old'",
    "~ service 'web': env.LEVEL is gone: info",
    "~ service 'web': limits.memoryBytes: 512MB -> 1GiB",
    "~ service 'web': ready.path: / -> /up",
    "~ service 'web': ready.statusBelow: 500 -> 400",
    "~ service 'web': uses.db is gone: db",
    "~ service 'web': uses.store is new: db",
    '+ route new.localhost/a to web',
    '- route old.localhost/ to old',
    '~ route shop.localhost/: web -> api',
  ])
})

test('rights of a use are said in words, with what they were', () => {
  const mail = narrowable(resource('queue', 'mail'))
  const using = (use: Usable): Graph => graphOf({ parts: { web: service('web', { run, use: { mail: use } }) } })
  const lines = (before: Usable, after: Usable): readonly string[] =>
    describeDiff(diffGraphs(using(before), using(after)))
  assert.deepEqual(lines(mail, mail.only('send')), [`~ service 'web': uses.mail: mail -> mail with only send`])
  assert.deepEqual(lines(mail.only('send'), mail.only('send', 'receive')), [
    `~ service 'web': uses.mail.rights: only send -> only receive, send`,
  ])
  assert.deepEqual(lines(mail.only('send', 'send'), mail.only('send')), [])
})
