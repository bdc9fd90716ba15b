/** What a consumer may do with a resource, on its way from the graph to the node: narrowed, widened, and while both are there. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Graph, ServicePart, Use } from '../model/index.ts'
import type { AssignmentStatus } from '../protocol/index.ts'
import { assignmentsOf } from './derive.ts'
import { type ControlState, type InstanceRecord, operatorConsumer } from './state.ts'

const types = [{ type: 'bucket', port: 80, credential: 'own' }] as const
const identity = (number: number) => ({ hostUid: number, edge: number })

function web(...uses: Use[]): ServicePart {
  return {
    kind: 'service',
    name: 'web',
    from: '.',
    run: ['node'],
    env: {},
    uses,
    limits: { memoryBytes: 1e8, cpuCores: 1, pidsMax: 64 },
    egress: [],
    tripwire: 'off',
    http: 80,
    ready: { kind: 'started', timeoutMs: 1000 },
    replicas: 1,
    onSecretChange: 'restart',
  }
}

/** An app of which `declared` is the graph and `running` what an instance was made of. */
function world(
  declared: ServicePart,
  running: ServicePart | null = null,
  phase: AssignmentStatus['phase'] = 'ready',
): ControlState {
  const graph: Graph = {
    version: 1,
    app: 'shop',
    parts: [{ kind: 'resource', name: 'files', type: 'bucket', config: null, files: null }, declared],
    routes: [],
  }
  const numbers = { release: 1, sinceMs: 0, retiredAtRevision: 0, generation: 0, secrets: {} }
  const id = 'shop.web.1'
  const instance: InstanceRecord | null =
    running === null ? null : { id, app: 'shop', node: 'n1', part: running, bundle: 'b', phase: 'active', ...numbers }
  const status = {
    id,
    phase,
    reason: null,
    restarts: 0,
    sinceMs: 0,
    endpoint: null,
    pid: 1,
    memoryBytes: null,
    cpuSeconds: null,
  }
  return {
    apps: new Map([['shop', { graph, bundles: {}, release: 1, home: 'n1', wanted: true }]]),
    instances: new Map(instance === null ? [] : [[id, instance]]),
    identities: new Map([
      ['shop/files', identity(1)],
      ['shop/web', identity(2)],
    ]),
    credentials: new Map(
      ['web', operatorConsumer].map((name) => [
        `shop/files/for/${name}`,
        { current: 1, rotation: { at: 'steady' }, createdMs: 0, source: 'generated', values: new Map([[1, 'key']]) },
      ]),
    ),
    jobs: new Map(),
    orders: new Map(),
    nodes: new Map(),
    gateways: new Map(),
    statuses: new Map(instance === null ? [] : [[id, status]]),
    routeRevision: 1,
    startedMs: 0,
  }
}

/** What the resource is told of everybody. */
function told(state: ControlState): Readonly<Record<string, readonly string[] | null>> {
  const found = assignmentsOf(state, 'n1', types).find(({ kind }) => kind === 'resource')
  assert.ok(found?.kind === 'resource')
  return Object.fromEntries(found.grants.map(({ consumer, rights }) => [consumer, rights ?? null]))
}

const reading = web({ as: 'files', part: 'files', rights: ['read'] })
const writing = web({ as: 'files', part: 'files', rights: ['list', 'write'] })
const all = web({ as: 'files', part: 'files' })

test('a consumer has the rights of its use; without any said, and for the operator, there is no limit', () => {
  assert.deepEqual(told(world(reading)), { web: ['read'], [operatorConsumer]: null })
  assert.deepEqual(told(world(all)), { web: null, [operatorConsumer]: null })
})

test('a part that uses a resource twice has the rights of both: it has one credential', () => {
  const [first, second] = [reading.uses, writing.uses].flat()
  assert.ok(first !== undefined && second !== undefined)
  assert.deepEqual(told(world(web(first, { ...second, as: 'more' })))['web'], ['list', 'read', 'write'])
})

test('what an instance was started with holds until it has ended, and no longer', () => {
  assert.deepEqual(told(world(reading, writing))['web'], ['list', 'read', 'write'])
  assert.equal(told(world(reading, all))['web'], null)
  assert.deepEqual(told(world(reading, all, 'stopped'))['web'], ['read'])
})

test('an instance is told what its own use says', () => {
  const [found] = assignmentsOf(world(reading, writing), 'n1', types).filter(({ kind }) => kind === 'service')
  assert.ok(found?.kind === 'service')
  assert.deepEqual(
    found.edges.map(({ grant }) => grant?.rights),
    [['list', 'write']],
  )
})
