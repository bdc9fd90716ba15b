/** Graphs from JSON: what is accepted, what is refused and how, and that the published schema is the one in use. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { SteadError } from '../base/index.ts'
import { app, graphVersion, job, parseGraph, postgres, resource, secret, service, toGraph } from './index.ts'
import type { Graph, ServicePart } from './index.ts'
import { graphJsonSchema } from './schema.ts'

const run = ['node', 'x.ts'] as const

function shop(): Graph {
  const db = postgres('db', { migrations: './migrations' })
  const api = service('api', { run, http: 4000, ready: { command: ['./check'] }, use: { db } })
  const worker = service('worker', {
    run,
    use: { key: secret('key'), mail: resource('queue', 'mail', { a: [1, null] }) },
  })
  const web = service('web', { run, http: 3000, use: { api }, env: { A: '' }, egress: ['a.example.com:1'] })
  const tidy = job('tidy', { run, schedule: '0 * * * *' })
  const declaration = { parts: { worker, tidy }, public: { 'shop.localhost': web, '*.shop.localhost/a': api } }
  return toGraph(
    app('shop', () => declaration),
    { name: 'local', production: false },
  )
}

function plain(name: string, uses: readonly string[]): ServicePart {
  const { part } = service(name, { run, http: 80 })
  return { ...part, uses: uses.map((other) => ({ as: other, part: other })) }
}

async function refuses(value: unknown, code: string, message: RegExp): Promise<void> {
  await assert.rejects(parseGraph(value), (error: SteadError) => {
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    assert.notEqual(error.hint, '')
    return true
  })
}

test('a graph survives being written and read', async () => {
  const graph = shop()
  assert.deepEqual(await parseGraph(JSON.parse(JSON.stringify(graph))), graph)
})

test('a graph that was put in disorder is read in order', async () => {
  const graph = shop()
  const disorder = { ...graph, parts: graph.parts.toReversed(), routes: graph.routes.toReversed() }
  assert.deepEqual(await parseGraph(disorder), graph)
})

test('a newer version is refused by name', async () => {
  await refuses(
    { ...shop(), version: graphVersion + 1, wonders: true },
    'model.newer-version',
    /format version 2, and this release of Stead reads up to version 1\./,
  )
})

test('what is no graph is refused with its place', async () => {
  const graph = shop()
  const first = graph.parts[0]
  await refuses(null, 'model.bad-graph', /not valid at `its root`/)
  await refuses('graph', 'model.bad-graph', /its root/)
  await refuses({ ...graph, version: 0 }, 'model.bad-graph', /at `version`/)
  await refuses({ ...graph, app: 'Shop' }, 'model.bad-graph', /at `app`/)
  await refuses({ ...graph, more: 1 }, 'model.bad-graph', /more/)
  await refuses({ ...graph, parts: [{ ...first, http: '80' }] }, 'model.bad-graph', /at `parts\[0\]\.http`/)
  await refuses({ ...graph, parts: [{ ...first, from: '../x' }] }, 'model.bad-graph', /at `parts\[0\]\.from`/)
  await refuses({ ...graph, parts: [{ ...first, kind: 'function' }] }, 'model.bad-graph', /at `parts\[0\]\.kind`/)
  await refuses(
    { ...graph, routes: [{ host: 'a b', path: '/', part: 'web' }] },
    'model.bad-graph',
    /at `routes\[0\]\.host`/,
  )
})

test('parts that do not fit together are refused', async () => {
  const graph: Graph = { version: graphVersion, app: 'shop', parts: [], routes: [] }
  const parts = [plain('a', ['b']), plain('b', ['c']), plain('c', ['b'])]
  await refuses({ ...graph, parts }, 'model.cycle', /in a circle: b -> c -> b\.$/)
  await refuses({ ...graph, parts: [plain('a', ['a'])] }, 'model.cycle', /a -> a/)
  await refuses({ ...graph, parts: [plain('a', ['b'])] }, 'model.bad-use', /service 'a' uses 'b' as 'b', and no part/)
  await refuses(
    { ...graph, parts: [plain('a', []), plain('a', [])] },
    'model.duplicate-name',
    /service 'a' and service 'a'/,
  )
  const tidy = job('tidy', { run }).part
  await refuses({ ...graph, parts: [plain('a', ['tidy']), tidy] }, 'model.bad-use', /service 'a' cannot use job 'tidy'/)
  await refuses({ ...graph, parts: [{ ...tidy, schedule: '99 * * * *' }] }, 'model.bad-schedule', /job 'tidy'/)
  const silent = service('silent', { run }).part
  const route = { host: 'x.localhost', path: '/', part: 'silent' }
  await refuses(
    { ...graph, parts: [silent], routes: [route] },
    'model.bad-public',
    /x\.localhost\/ leads to service 'silent'/,
  )
  await refuses({ ...graph, routes: [route] }, 'model.bad-public', /leads to 'silent', and no part has that name/)
  const twice = [route, { ...route, part: 'a' }].map((way) => ({ ...way, part: 'a' }))
  await refuses({ ...graph, parts: [plain('a', [])], routes: twice }, 'model.route-conflict', /x\.localhost\//)
})

test('a long chain of uses is no problem, and a thousand parts are the most', async () => {
  const chain = (length: number): ServicePart[] =>
    Array.from({ length }, (_, index) => plain(`p${index}`, index + 1 < length ? [`p${index + 1}`] : []))
  const graph: Graph = { version: graphVersion, app: 'shop', parts: chain(1000), routes: [] }
  assert.equal((await parseGraph(graph)).parts.length, 1000)
  await refuses({ ...graph, parts: chain(1001) }, 'model.bad-graph', /at `parts`/)
})

test('graph.schema.json is current: scripts/generate-schema.ts writes it', () => {
  const published: unknown = JSON.parse(readFileSync(join(import.meta.dirname, 'graph.schema.json'), 'utf8'))
  assert.deepEqual(published, JSON.parse(JSON.stringify(graphJsonSchema())))
})

test('a graph that was written before jobs had time zones and policies means what it meant', async () => {
  const graph = shop()
  const older = graph.parts.map((part) => {
    if (part.kind !== 'job') return part
    const { timeZone: _zone, overlap: _overlap, missed: _missed, retry: _retry, ...rest } = part
    return rest
  })
  assert.deepEqual(await parseGraph(structuredClone({ ...graph, parts: older })), graph)
})
