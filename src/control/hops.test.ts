/** The health of the way to a part and on: from what instances and resources report to one word for each part. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Graph, ServicePart } from '../model/index.ts'
import type { Phase } from '../protocol/index.ts'
import { routesOf } from './derive.ts'
import { stateOf } from './hops.ts'
import type { ControlState, InstanceRecord, NodeView } from './state.ts'

test('one word for many instances', () => {
  const cases: readonly (readonly [readonly Phase[], ReturnType<typeof stateOf>])[] = [
    [[], 'unknown'],
    [['ready', 'ready'], 'ready'],
    [['ready', 'starting'], 'ready'],
    [['ready', 'backing-off'], 'degraded'],
    [['starting', 'gave-up'], 'failing'],
    [['unready'], 'failing'],
    [['waiting'], 'starting'],
    [['stopped'], 'stopped'],
  ]
  for (const [phases, state] of cases) assert.equal(stateOf(phases), state, phases.join(' '))
})

const web: ServicePart = {
  kind: 'service',
  name: 'web',
  from: '.',
  run: ['node'],
  env: {},
  uses: [
    { as: 'db', part: 'db' },
    { as: 'key', part: 'key' },
    { as: 'second', part: 'db' },
  ],
  limits: { memoryBytes: 1e8, cpuCores: 1, pidsMax: 64 },
  egress: [],
  tripwire: 'off',
  http: 80,
  ready: { kind: 'started', timeoutMs: 1000 },
  replicas: 1,
  onSecretChange: 'restart',
}

function world(phases: Readonly<Record<string, Phase>>, connected = true): ControlState {
  const resource = (name: string, type: string) =>
    ({ kind: 'resource', name, type, config: null, files: null }) as const
  const graph: Graph = {
    version: 1,
    app: 'shop',
    parts: [resource('db', 'postgres'), resource('key', 'secret'), web],
    routes: [{ host: 'shop.test', path: '/', part: 'web' }],
  }
  const record = (id: string, phase: InstanceRecord['phase']): [string, InstanceRecord] => {
    const numbers = { release: 1, sinceMs: 0, retiredAtRevision: 0, generation: 0, secrets: {} }
    return [id, { id, app: 'shop', node: 'n1', part: web, bundle: 'b', phase, ...numbers }]
  }
  const endpoint = { kind: 'tcp', host: '127.0.0.1', port: 1 } as const
  const status = (id: string, phase: Phase) =>
    [id, { id, phase, reason: null, restarts: 0, sinceMs: 0, endpoint, pid: 1, memoryBytes: null }] as const
  const node: NodeView = { connected, sinceMs: 0, toldRevision: 1, appliedRevision: 1, busy: [] }
  return {
    apps: new Map([['shop', { graph, bundles: {}, release: 1, home: 'n1', wanted: true }]]),
    instances: new Map([record('shop.web.1', 'active'), record('shop.web.0', 'retiring')]),
    identities: new Map(),
    credentials: new Map(),
    jobs: new Map(),
    orders: new Map(),
    nodes: new Map([['n1', node]]),
    gateways: new Map(),
    statuses: new Map(Object.entries(phases).map(([id, phase]) => status(id, phase))),
    routeRevision: 1,
    startedMs: 0,
  }
}

const types = [
  { type: 'postgres', port: 5432, credential: 'own' },
  { type: 'secret', port: null, credential: 'shared' },
] as const

test('a route carries its part and what that dials, each with its health; a secret is none of them', () => {
  const [serving] = routesOf(world({ 'shop.web.1': 'ready', 'shop.web.0': 'gave-up', 'shop.db': 'unready' }), types)
  assert.deepEqual(serving?.hops, [
    { part: 'web', type: 'service', state: 'ready' },
    { part: 'db', type: 'postgres', state: 'failing' },
  ])
  assert.deepEqual([serving?.phase, serving?.unavailable], [undefined, undefined])
  const away = world({ 'shop.web.1': 'ready', 'shop.db': 'ready' }, false)
  assert.deepEqual(
    routesOf(away, types)[0]?.hops?.map(({ state }) => state),
    ['unknown', 'unknown'],
  )
})

test('while nothing answers a route says whether that passes by itself', () => {
  const starting = world({ 'shop.web.1': 'starting' })
  assert.equal(routesOf(starting, types)[0]?.phase, 'deploying', 'an old one is being replaced')
  const first = { ...starting, instances: new Map([...starting.instances].slice(0, 1)) }
  assert.equal(routesOf(first, types)[0]?.phase, 'starting')
  const failing = routesOf(world({ 'shop.web.1': 'backing-off' }), types)[0]
  assert.deepEqual([failing?.phase, failing?.unavailable], [undefined, 'web is failing.'])
})
