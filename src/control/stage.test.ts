/** From the steps of a rollout to the app's record: what runs, which files of the resources are in force, and the generation. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Graph, Part, ResourcePart, ServicePart } from '../model/index.ts'
import { advance, beginDeploy, beginReturn, type Rollout, type Seen, shapeOf } from '../release/index.ts'
import { branchApp, branchOf } from './branches.ts'
import { assignmentsOf } from './derive.ts'
import type { KeptRelease } from './kept.ts'
import { schemaOf, withSchema } from './schema.ts'
import { staged } from './stage.ts'
import { type ControlState, type DesiredApp, generationOf, isOfOtherData } from './state.ts'

const db: ResourcePart = { kind: 'resource', name: 'db', type: 'postgres', config: null, files: 'migrations' }

function service(name: string, more: Partial<ServicePart> = {}): ServicePart {
  return {
    kind: 'service',
    name,
    from: '.',
    run: ['node'],
    env: {},
    uses: [{ as: 'db', part: 'db' }],
    limits: { memoryBytes: 1e8, cpuCores: 1, pidsMax: 64 },
    egress: ['api.example.com:443'],
    tripwire: 'off',
    http: 80,
    ready: { kind: 'http', path: '/', statusBelow: 500, timeoutMs: 1000 },
    replicas: 3,
    onSecretChange: 'restart',
    ...more,
  }
}

function graphOf(...parts: Part[]): Graph {
  return { version: 1, app: 'shop', parts, routes: [{ host: 'shop.localhost', path: '/', part: 'web' }] }
}

function kept(number: number, mark: string, before: DesiredApp | null): KeptRelease {
  const graph = graphOf(db, service('web'))
  const bundles = { db: `sql-${mark}`, web: `code-${mark}` }
  const none = { bundles: {}, phase: 'all' as const, parts: [] }
  const base = { app: 'shop', number, graph, bundles, secrets: {}, backTo: null, createdAtMs: 0, by: 'ann' }
  const schemaBefore = before === null ? none : schemaOf(before)
  return { ...base, generation: 1, schemaBefore, schemaTarget: null, schemas: {}, rollout: null, report: null }
}

const first = kept(1, 'a', null)
const app: DesiredApp = { graph: first.graph, bundles: first.bundles, release: 1, home: 'n1', wanted: true }
const second = kept(2, 'b', app)

const fine: Omit<Seen, 'task'> = {
  resources: { state: 'done' },
  instances: { state: 'done' },
  rest: { state: 'done' },
  routed: true,
  old: null,
  new: null,
}

/** Every app that a rollout makes on its way, by step, when all goes well. */
function walk(begun: Rollout, young: KeptRelease, old: KeptRelease): { steps: string[]; apps: DesiredApp[] } {
  let [rollout, now] = [begun, app]
  const [steps, apps]: [string[], DesiredApp[]] = [[], []]
  for (let nowMs = 0; nowMs < 1e7; nowMs += 1000) {
    now = staged(now, rollout, shapeOf(rollout), young, old)
    if (steps.at(-1) !== rollout.step) {
      steps.push(rollout.step)
      apps.push(now)
    }
    if (rollout.outcome !== null) return { steps, apps: [...apps, now] }
    rollout = advance(rollout, { ...fine, task: { state: 'done', lines: [], result: null } }, nowMs)
  }
  throw new Error('it comes to no end')
}

const common = { id: 'r', app: 'shop', by: 'ann', nowMs: 0, old: 1, new: 2, hasData: true, watchMs: 1000 } as const

suite('an app in a rollout', () => {
  test('with halves: the resources go first, both releases run, and in the end nothing is left of it', () => {
    const begun = beginDeploy({ ...common, strategy: 'blue-green', migrates: 'expand', contracts: true })
    const { steps, apps } = walk(begun, second, first)
    const at = (step: string): DesiredApp => apps[steps.indexOf(step)] ?? assert.fail(step)
    assert.deepEqual([at('rehearse').release, at('rehearse').schema], [1, undefined])
    assert.deepEqual(
      [at('expand').release, at('expand').schema?.bundles['db'], at('expand').schema?.phase],
      [1, 'sql-b', 'expand'],
    )
    assert.deepEqual([at('start').release, at('start').stage?.beside?.release, at('start').stage?.share], [2, 1, 0])
    assert.equal(at('shift').stage?.share, 100)
    assert.equal(at('confirm').stage?.beside ?? null, null)
    assert.deepEqual(at('contract').schema, undefined, 'its own files, all the way')
    const { stage, schema, release } = apps.at(-1) ?? app
    assert.deepEqual([stage, schema, release], [undefined, undefined, 2])
  })

  test('with a stop: nothing runs and requests wait while the data is brought forward', () => {
    const begun = beginDeploy({ ...common, strategy: 'rolling', migrates: 'stop', contracts: false })
    const { steps, apps } = walk(begun, second, first)
    for (const step of ['stop', 'checkpoint', 'expand']) {
      const { stage } = apps[steps.indexOf(step)] ?? app
      assert.deepEqual([stage?.halted, stage?.hold], [true, true], step)
    }
    assert.deepEqual(apps[steps.indexOf('expand')]?.schema?.bundles, { db: 'sql-b' })
  })

  test('the generation grows once, with the swap that makes it; code alone leaves data and schema as they are', () => {
    const now = { ...app, graph: second.graph, bundles: second.bundles, release: 2 }
    const target: KeptRelease = {
      ...first,
      number: 3,
      backTo: 1,
      schemaBefore: schemaOf(now),
      generation: 2,
      schemaTarget: schemaOf(app),
    }
    const back = { id: 'r', app: 'shop', by: 'ann', nowMs: 0, old: 2, new: 3, target: 1 } as const
    const { steps, apps } = walk(beginReturn({ ...back, checkpoint: 'before-2' }), target, second)
    assert.deepEqual(apps.map(generationOf), steps.map((step) => (step === 'prepare' ? 1 : 2)).concat(2))
    assert.deepEqual(apps.at(-1)?.data, { generation: 2, swap: { from: 'return-3', keepAs: 'left-by-3' } })
    assert.equal(apps.at(-1)?.schema, undefined, 'the files of release 1 are its own')

    const codeOnly = walk(
      beginReturn({ ...back, checkpoint: null }),
      { ...target, generation: 1, schemaTarget: null },
      second,
    )
    const last = codeOnly.apps.at(-1) ?? app
    assert.deepEqual([last.bundles['web'], last.schema?.bundles['db'], last.data], ['code-a', 'sql-b', undefined])
  })

  test('a schema that an app says in its own words is not said twice', () => {
    assert.deepEqual(withSchema(app, schemaOf(app)), app)
    const behind = withSchema({ ...app, bundles: second.bundles }, schemaOf(app))
    assert.deepEqual(behind.schema, { bundles: { db: 'sql-a' }, phase: 'all', parts: ['db'] })
    assert.deepEqual(schemaOf(behind), schemaOf(app))
  })

  test('an instance is of other data only if it works on data', () => {
    const record = {
      id: 'shop.web.1',
      app: 'shop',
      node: 'n1',
      part: service('web'),
      bundle: '',
      release: 1,
      generation: 0,
    }
    const instance = { ...record, phase: 'active', sinceMs: 0, retiredAtRevision: 0, secrets: {} } as const
    const moved = { ...app, data: { generation: 2, swap: null } }
    assert.equal(isOfOtherData(app, instance), false)
    assert.equal(isOfOtherData(moved, instance), true)
    assert.equal(isOfOtherData(moved, { ...instance, data: 2 }), false)
    assert.equal(isOfOtherData(moved, { ...instance, part: service('web', { uses: [] }) }), false)
  })
})

suite('a branch', () => {
  const name = branchApp('shop', 'try')
  const branch = branchOf(app, name, 'try', { app: 'shop', copy: 'branch-try', purpose: 'branch', by: 'ann' })

  test('dials nothing, has one of each service, and hosts of its own', () => {
    assert.equal(name, 'shop--try')
    assert.deepEqual(
      branch.graph.routes.map(({ host }) => host),
      ['try.shop.localhost'],
    )
    const [, web] = branch.graph.parts
    assert.ok(web?.kind === 'service')
    assert.deepEqual([web.egress, web.replicas], [[], 1])
  })

  test('is served from its copy, as the users of where it comes from', () => {
    const identity = (hostUid: number): { hostUid: number; edge: number } => ({ hostUid, edge: 1 })
    const state: ControlState = {
      apps: new Map([
        ['shop', app],
        [name, branch],
      ]),
      instances: new Map(),
      identities: new Map([
        ['shop/db', identity(7)],
        [`${name}/db`, identity(8)],
        [`${name}/web`, identity(9)],
        ['shop/web', identity(6)],
      ]),
      credentials: new Map(),
      jobs: new Map(),
      orders: new Map(),
      nodes: new Map(),
      gateways: new Map(),
      statuses: new Map(),
      routeRevision: 1,
      startedMs: 0,
    }
    const types = [{ type: 'postgres', port: 5432, credential: 'own' as const }]
    const found = assignmentsOf(state, 'n1', types).find(({ app: of }) => of === name)
    assert.ok(found?.kind === 'resource')
    assert.deepEqual(found.data, { app: 'shop', copy: 'branch-try', generation: 1, swap: null })
    assert.equal(found.hostUid, 7, 'its files are theirs')
  })

  test('names that would not be an app, or another branch, are refused', () => {
    for (const bad of ['', 'Try', 'a--b', '-a', 'a-', 'x'.repeat(40)])
      assert.throws(() => branchApp('shop', bad), { code: 'control.branch-name' }, bad)
  })
})
