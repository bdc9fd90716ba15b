/** Ways in for connections that are carried as they are, from records; and what routes say of TLS and protocols. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Graph, ServicePart } from '../model/index.ts'
import type { AssignmentStatus } from '../protocol/index.ts'
import { routesOf } from './derive.ts'
import type { ControlState, InstanceRecord } from './state.ts'
import { streamsFor, streamsOf } from './streams.ts'

function service(name: string, more: Partial<ServicePart>): ServicePart {
  return {
    kind: 'service',
    name,
    from: '.',
    run: ['node'],
    env: {},
    uses: [],
    limits: { memoryBytes: 1e8, cpuCores: 1, pidsMax: 64 },
    egress: [],
    http: null,
    ready: { kind: 'started', timeoutMs: 1000 },
    replicas: 1,
    onSecretChange: 'restart',
    tripwire: 'off',
    ...more,
  }
}

const graph: Graph = {
  version: 1,
  app: 'shop',
  parts: [
    service('broker', { tcp: 1883 }),
    { kind: 'resource', name: 'db', type: 'postgres', config: null, files: null },
    service('talk', { http: 50_051, protocol: 'h2c' }),
  ],
  routes: [
    { host: 'old.test', path: '/', part: 'talk', plain: 'serve' },
    { host: 'talk.test', path: '/', part: 'talk', hstsS: 60 },
  ],
  streams: [
    { way: { kind: 'tcp', port: 15_432 }, part: 'db' },
    { way: { kind: 'tls', host: 'mqtt.test' }, part: 'broker' },
  ],
}

function instance(id: string, part: ServicePart, node: string): InstanceRecord {
  const common = {
    bundle: 'x',
    release: 1,
    phase: 'active',
    sinceMs: 0,
    retiredAtRevision: 0,
    generation: 0,
    secrets: {},
  } as const
  return { id, app: 'shop', node, part, ...common }
}

function ready(id: string, endpoint: AssignmentStatus['endpoint']): [string, AssignmentStatus] {
  return [id, { id, phase: 'ready', reason: null, restarts: 0, sinceMs: 0, endpoint, pid: 1, memoryBytes: null }]
}

const unix = { kind: 'unix', path: '/run/db' } as const
const here = { kind: 'instance', pid: 1, netns: 1, port: 1883 } as const
const there = { kind: 'tcp', host: '10.0.0.2', port: 50_051 } as const

const state: ControlState = {
  apps: new Map([['shop', { graph, bundles: {}, release: 1, home: 'n1', wanted: true }]]),
  instances: new Map([
    ['b1', instance('b1', service('broker', { tcp: 1883 }), 'n1')],
    ['t1', instance('t1', service('talk', { http: 50_051 }), 'n2')],
    ['t2', instance('t2', service('talk', { http: 50_051, protocol: 'h2c' }), 'n2')],
  ]),
  identities: new Map(),
  credentials: new Map(),
  jobs: new Map(),
  orders: new Map(),
  nodes: new Map(),
  gateways: new Map(),
  statuses: new Map([ready('shop.db', unix), ready('b1', here), ready('t1', there), ready('t2', there)]),
  routeRevision: 1,
  startedMs: 0,
}

test('streams lead to the resource and to ready instances, and for a gateway to those it can reach', () => {
  const streams = streamsOf(state)
  assert.deepEqual(
    streams.map(({ id, way, part, targets }) => ({ id, way, part, targets })),
    [
      {
        id: 'shop:tcp:15432',
        way: { kind: 'tcp', port: 15_432 },
        part: 'db',
        targets: [{ instance: 'shop.db', endpoint: unix }],
      },
      {
        id: 'shop:tls:mqtt.test',
        way: { kind: 'tls', host: 'mqtt.test' },
        part: 'broker',
        targets: [{ instance: 'b1', endpoint: here }],
      },
    ],
  )
  assert.deepEqual(streamsFor(streams, state, 'n1'), streams)
  assert.deepEqual(
    streamsFor(streams, state, 'n2').map(({ targets }) => targets),
    [[], []],
  )
})

test('a route says what it was given, and each target speaks what its own instance was made with', () => {
  const [old, talk] = routesOf(state, [])
  assert.deepEqual([old?.plain, old?.hstsS], ['serve', undefined])
  assert.deepEqual([talk?.plain, talk?.hstsS], [undefined, 60])
  assert.deepEqual(talk?.targets, [
    { instance: 't1', endpoint: there },
    { instance: 't2', endpoint: there, protocol: 'h2c' },
  ])
})
