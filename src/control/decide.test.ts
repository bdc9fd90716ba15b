/**
 * Control in simulation: thousands of seeded histories of nodes, statuses, gateways and changes, in virtual time. What must
 * hold at every step is checked at every step.
 */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { type Graph, jobDefaults, type JobPart, type ServicePart } from '../model/index.ts'
import type { AssignmentStatus, Phase } from '../protocol/index.ts'
import type { Credential } from './credentials.ts'
import { decide, drainMaxMs, nodeLostMs } from './decide.ts'
import { routesOf } from './derive.ts'
import type { ControlState, DesiredApp, GatewayView, InstanceRecord, JobRecord, NodeView, PartOrder } from './state.ts'

const limits = { memoryBytes: 1e8, cpuCores: 1, pidsMax: 64 }

function service(name: string, replicas: number): ServicePart {
  const ready = { kind: 'http', path: '/', statusBelow: 500, timeoutMs: 1000 } as const
  return {
    kind: 'service',
    name,
    from: '.',
    run: ['node'],
    env: {},
    uses: [],
    limits,
    egress: [],
    tripwire: 'off',
    http: 80,
    ready,
    replicas,
    onSecretChange: 'restart',
  }
}

function job(name: string, schedule: string | null): JobPart {
  return {
    kind: 'job',
    name,
    from: '.',
    run: ['node'],
    env: {},
    uses: [],
    limits,
    egress: [],
    tripwire: 'off',
    schedule,
    ...jobDefaults,
    timeoutMs: 60_000,
  }
}

function graphOf(...parts: Graph['parts']): Graph {
  return { version: 1, app: 'shop', parts, routes: [{ host: 'shop', path: '/', part: 'web' }] }
}

const here: NodeView = { connected: true, sinceMs: 0, toldRevision: 1, appliedRevision: 1, busy: [] }

/** A world around `decide`: applies decisions, and plays nodes and a gateway that answer when told to. */
class World {
  nowMs = 1_000_000
  apps = new Map<string, DesiredApp>()
  instances = new Map<string, InstanceRecord>()
  jobs = new Map<string, JobRecord>()
  orders = new Map<string, PartOrder>()
  nodes = new Map<string, NodeView>([['n1', here]])
  gateways = new Map<string, GatewayView>()
  statuses = new Map<string, AssignmentStatus>()
  credentials = new Map<string, Credential>()
  routeRevision = 1
  #routes = ''
  #ids = 0

  state(): ControlState {
    const { apps, instances, jobs, orders, nodes, gateways, statuses, routeRevision } = this
    const identities = new Map()
    const credentials = this.credentials
    const known = { apps, instances, identities, credentials, jobs, orders }
    return { ...known, nodes, gateways, statuses, routeRevision, startedMs: 0 }
  }

  want(graph: Graph, bundle: string, wanted = true): void {
    const bundles = Object.fromEntries(graph.parts.map((part) => [part.name, bundle]))
    this.apps.set('shop', { graph, bundles, release: 1, home: 'n1', wanted })
  }

  /** Decides until nothing is left to decide; answers how many records were changed. */
  settle(): number {
    for (let turns = 0, changes = 0; ; turns += 1) {
      assert.ok(turns < 100, 'decisions come to rest')
      const decision = decide(this.state(), this.nowMs, (app, part) => `${app}.${part}.${(this.#ids += 1)}`)
      for (const record of decision.put) this.instances.set(record.id, record)
      for (const id of decision.remove) {
        this.instances.delete(id)
        this.statuses.delete(id)
      }
      for (const { key, record } of decision.jobs) this.jobs.set(key, record)
      const routes = JSON.stringify(routesOf(this.state(), []))
      const retired = decision.put.some((record) => record.phase === 'retiring')
      if (retired || routes !== this.#routes) this.routeRevision += 1
      this.#routes = routes
      const changed = decision.put.length + decision.remove.length + decision.jobs.length
      if (changed === 0) return changes
      changes += changed
    }
  }

  report(id: string, phase: Phase): void {
    const endpoint = { kind: 'tcp', host: '127.0.0.1', port: 1 } as const
    this.statuses.set(id, { id, phase, reason: null, restarts: 0, sinceMs: 0, endpoint, pid: 1, memoryBytes: null })
  }

  of(part: string, phase?: InstanceRecord['phase']): InstanceRecord[] {
    return [...this.instances.values()].filter(
      (instance) => instance.part.name === part && (phase === undefined || instance.phase === phase),
    )
  }

  /** The node does what it is told, at once: what is wanted gets ready, what is to stop stops. */
  obey(): void {
    for (const instance of this.instances.values())
      this.report(instance.id, instance.phase === 'stopping' ? 'stopped' : 'ready')
  }

  gatewayFollows(busy: readonly string[] = []): void {
    this.gateways.set('g1', { connected: true, appliedRevision: this.routeRevision, busy, leaseUntilMs: 0 })
  }
}

suite('control decides', () => {
  test('a frozen instance serves nobody, is replaced and stays; ended, it goes; released, one of both does', () => {
    const world = new World()
    world.want(graphOf(service('web', 1)), 'b1')
    world.settle()
    const [first] = world.of('web')
    assert.ok(first !== undefined)
    const stand = (state: 'frozen' | 'ended' | 'released', phase: Phase): void => {
      world.report(first.id, phase)
      const status = world.statuses.get(first.id)
      assert.ok(status !== undefined)
      const incident = { id: 'web-1', wire: 'decoy', what: 'it read', timeMs: 1, state } as const
      world.statuses.set(first.id, { ...status, incident })
      world.settle()
    }
    stand('frozen', 'unready')
    const [second] = world.of('web').filter(({ id }) => id !== first.id)
    assert.ok(second !== undefined)
    world.report(second.id, 'ready')
    world.settle()
    assert.deepEqual(
      routesOf(world.state(), [])[0]?.targets.map(({ instance }) => instance),
      [second.id],
    )
    assert.deepEqual(
      world
        .of('web', 'active')
        .map(({ id }) => id)
        .sort(),
      [first.id, second.id].sort(),
    )
    stand('ended', 'gave-up')
    assert.deepEqual(
      world.of('web', 'active').map(({ id }) => id),
      [second.id],
    )
    world.instances.set(first.id, { ...first, phase: 'active' })
    stand('released', 'ready')
    assert.equal(world.of('web', 'active').length, 1)
  })

  test('makes what is wanted, and then nothing', () => {
    const world = new World()
    world.want(graphOf(service('web', 3)), 'one')
    assert.equal(world.settle(), 3)
    assert.equal(world.of('web').length, 3)
    assert.equal(world.settle(), 0)
  })

  test('replaces a changed part one by one, old ones only after new ones are ready', () => {
    const world = new World()
    world.want(graphOf(service('web', 3)), 'one')
    world.settle()
    world.obey()
    world.gatewayFollows()
    world.want(graphOf(service('web', 3)), 'two')
    for (let round = 0; round < 20 && world.of('web').some((instance) => instance.bundle === 'one'); round += 1) {
      world.settle()
      assert.ok(world.of('web', 'active').length <= 4, 'never more than one above the wanted number')
      const serving = world.of('web', 'active').filter((instance) => world.statuses.get(instance.id)?.phase === 'ready')
      assert.ok(serving.length >= 3, 'never fewer serve than are wanted')
      world.obey()
      world.gatewayFollows()
    }
    world.settle()
    assert.deepEqual(
      world.of('web').map((instance) => instance.bundle),
      ['two', 'two', 'two'],
    )
  })

  test('a service that keeps state has one instance, at the home of the data; the old one ends before the next is made', () => {
    const world = new World()
    world.nodes.set('a-better-one', here)
    const config = { of: 'web', quiesce: null, checkpoint: null, restore: null, verify: null, pauseMs: 1, timeoutMs: 1 }
    const files = { kind: 'resource', name: 'files', type: 'state', config, files: null } as const
    const keeper = { ...service('web', 1), uses: [{ as: 'state', part: 'files' }] }
    const want = (bundle: string): void => world.want({ ...graphOf(keeper, files), routes: [] }, bundle)
    want('b1')
    world.settle()
    world.obey()
    const [first] = world.of('web')
    assert.equal(first?.node, 'n1')
    want('b2')
    world.settle()
    assert.deepEqual(
      world.of('web').map((instance) => [instance.id, instance.phase]),
      [[first?.id, 'stopping']],
    )
    world.obey()
    world.settle()
    assert.deepEqual(
      world.of('web').map(({ bundle, phase }) => [bundle, phase]),
      [['b2', 'active']],
    )
  })

  test('a new version that never gets ready replaces nothing', () => {
    const world = new World()
    world.want(graphOf(service('web', 2)), 'one')
    world.settle()
    world.obey()
    world.want(graphOf(service('web', 2)), 'bad')
    world.settle()
    for (const instance of world.of('web')) if (instance.bundle === 'bad') world.report(instance.id, 'gave-up')
    world.settle()
    assert.equal(world.of('web', 'active').filter((instance) => instance.bundle === 'one').length, 2)
    assert.equal(world.of('web').filter((instance) => instance.bundle === 'bad').length, 1)
  })

  test('an old instance waits for the gateway: for its revision, then for its last request', () => {
    const world = new World()
    world.want(graphOf(service('web', 1)), 'one')
    world.settle()
    world.obey()
    world.gatewayFollows()
    const old = world.of('web')[0]?.id ?? ''
    world.want(graphOf(service('web', 1)), 'two')
    world.settle()
    world.obey()
    world.settle()
    assert.equal(world.instances.get(old)?.phase, 'retiring', 'the gateway has not said anything yet')
    world.gatewayFollows([old])
    world.settle()
    assert.equal(world.instances.get(old)?.phase, 'retiring', 'a request is still in flight')
    world.gatewayFollows()
    world.settle()
    assert.equal(world.instances.get(old)?.phase, 'stopping')
  })

  test('a dead gateway is waited for until its lease is over; a stuck request until the drain time is', () => {
    const world = new World()
    world.want(graphOf(service('web', 1)), 'one')
    world.settle()
    world.obey()
    world.gateways.set('g1', { connected: false, appliedRevision: 0, busy: [], leaseUntilMs: world.nowMs + 5000 })
    const old = world.of('web')[0]?.id ?? ''
    world.want(graphOf(service('web', 1)), 'two')
    world.settle()
    world.obey()
    world.settle()
    assert.equal(world.instances.get(old)?.phase, 'retiring')
    world.nowMs += 5001
    world.settle()
    assert.equal(world.instances.get(old)?.phase, 'stopping')

    world.gateways.set('g1', { connected: true, appliedRevision: 0, busy: [], leaseUntilMs: 0 })
    const second = world.of('web', 'active')[0]?.id ?? ''
    world.want(graphOf(service('web', 1)), 'three')
    world.settle()
    world.obey()
    world.settle()
    assert.equal(world.instances.get(second)?.phase, 'retiring')
    world.nowMs += drainMaxMs
    world.settle()
    assert.equal(world.instances.get(second)?.phase, 'stopping')
  })

  test('a removed part goes, a stopped app goes whole', () => {
    const world = new World()
    world.want(graphOf(service('api', 1), service('web', 1)), 'one')
    world.settle()
    world.obey()
    world.want(graphOf(service('web', 1)), 'one')
    world.settle()
    world.obey()
    world.settle()
    assert.equal(world.of('api').length, 0)
    world.want(graphOf(service('web', 1)), 'one', false)
    world.settle()
    world.obey()
    world.settle()
    assert.equal(world.instances.size, 0)
  })

  test('jobs: once for a release; on schedule, one at a time, missed ones once, finished ones kept for a while', () => {
    const world = new World()
    world.nowMs = Date.UTC(2026, 0, 1)
    world.want(graphOf(job('migrate', null), job('report', '0 * * * *'), service('web', 1)), 'one')
    world.settle()
    assert.equal(world.of('migrate').length, 1)
    assert.equal(world.of('report').length, 0)
    world.report(world.of('migrate')[0]?.id ?? '', 'succeeded')
    assert.equal(world.settle(), 1, 'its end is noted')
    assert.equal(world.settle(), 0)
    for (let hour = 0; hour < 6; hour += 1) {
      world.nowMs += 3_600_000
      world.settle()
      for (const run of world.of('report')) world.report(run.id, 'succeeded')
      world.settle()
    }
    assert.equal(world.of('report').length, 3)
    world.nowMs += 10 * 3_600_000
    world.settle()
    const running = world.of('report').filter((run) => !world.statuses.has(run.id))
    assert.equal(running.length, 1, 'ten missed runs make one')
    world.nowMs += 3_600_000
    world.settle()
    assert.equal(
      world.of('report').filter((run) => !world.statuses.has(run.id)).length,
      1,
      'not a second beside a running one',
    )
  })

  test('replicas are spread over the nodes, whatever else runs there; a replaced one does not count', () => {
    const world = new World()
    world.want(graphOf(service('api', 3)), 'one')
    world.settle()
    world.nodes.set('n2', here)
    world.want(graphOf(service('api', 3), service('web', 2)), 'one')
    world.settle()
    const nodes = (bundle: string): string[] =>
      world
        .of('web', 'active')
        .filter((instance) => instance.bundle === bundle)
        .map((instance) => instance.node)
        .toSorted()
    assert.deepEqual(nodes('one'), ['n1', 'n2'])
    world.want(graphOf(service('api', 3), service('web', 2)), 'two')
    for (let round = 0; round < 20; round += 1) {
      world.obey()
      world.settle()
    }
    assert.deepEqual(nodes('two'), ['n1', 'n2'])
  })

  test('a new version of a secret replaces its users one by one, spread as before, and runs no job again', () => {
    const world = new World()
    world.nodes.set('n2', here)
    const uses = [{ as: 'key', part: 'key' }]
    const key = { kind: 'resource', name: 'key', type: 'secret', config: null, files: null } as const
    const graph = graphOf({ ...job('migrate', null), uses }, key, { ...service('web', 2), uses })
    const version = (current: number): void => {
      const rotation = { at: 'steady' } as const
      world.credentials.set('shop/key', { current, rotation, createdMs: 0, source: 'generated', values: new Map() })
    }
    version(1)
    world.want(graph, 'one')
    world.settle()
    world.obey()
    world.report(world.of('migrate')[0]?.id ?? '', 'succeeded')
    world.gatewayFollows()
    version(2)
    for (let round = 0; round < 20; round += 1) {
      world.settle()
      assert.ok(world.of('web', 'active').length <= 3, 'never more than one above the wanted number')
      const serving = world.of('web', 'active').filter(({ id }) => world.statuses.get(id)?.phase === 'ready')
      assert.ok(serving.length >= 2, 'never fewer serve than are wanted')
      for (const { id, phase } of world.of('web')) world.report(id, phase === 'stopping' ? 'stopped' : 'ready')
      world.gatewayFollows()
    }
    assert.deepEqual(
      world
        .of('web')
        .map(({ node, secrets }) => `${node} ${secrets['key']}`)
        .toSorted(),
      ['n1 2', 'n2 2'],
    )
    assert.equal(world.of('migrate').length, 1)
    assert.equal(world.settle(), 0)
  })

  test('what was not heard of since control started is not taken for dead', () => {
    const world = new World()
    world.want(graphOf(service('web', 1)), 'one')
    world.settle()
    world.nodes.set('n2', here)
    world.nodes.set('n1', { ...here, connected: false, sinceMs: world.nowMs })
    world.want(graphOf(service('web', 1)), 'two')
    world.settle()
    assert.deepEqual(
      world.of('web').map(({ bundle, node, phase }) => [bundle, node, phase]),
      [
        ['one', 'n1', 'active'],
        ['two', 'n2', 'active'],
      ],
    )
  })

  test('a node that does not come back is replaced after a while; when it does, the surplus goes', () => {
    const world = new World()
    world.nodes.set('n2', here)
    world.want(graphOf(service('web', 2)), 'one')
    world.settle()
    world.obey()
    world.nodes.set('n2', { ...here, connected: false, sinceMs: world.nowMs })
    world.nowMs += nodeLostMs - 1
    assert.equal(world.settle(), 0)
    world.nowMs += 1
    world.settle()
    for (const instance of world.of('web')) if (instance.node === 'n1') world.report(instance.id, 'ready')
    assert.deepEqual(
      world.of('web', 'active').map((instance) => instance.node),
      ['n1', 'n2', 'n1'],
    )
    assert.equal(world.settle(), 0)
    world.nodes.set('n2', here)
    world.settle()
    assert.equal(world.of('web', 'active').length, 2)
  })

  test('an old instance waits for the nodes whose edges lead to it', () => {
    const world = new World()
    world.want(graphOf(service('web', 1)), 'one')
    world.settle()
    world.obey()
    const old = world.of('web')[0]?.id ?? ''
    world.want(graphOf(service('web', 1)), 'two')
    world.settle()
    world.obey()
    world.nodes.set('n1', { ...here, toldRevision: 2, appliedRevision: 1 })
    world.settle()
    assert.equal(world.instances.get(old)?.phase, 'retiring', 'the node does not yet follow')
    world.nodes.set('n1', { ...here, toldRevision: 2, appliedRevision: 2, busy: [old] })
    world.settle()
    assert.equal(world.instances.get(old)?.phase, 'retiring', 'a stream is still open')
    world.nodes.set('n1', { ...here, toldRevision: 2, appliedRevision: 2 })
    world.settle()
    assert.equal(world.instances.get(old)?.phase, 'stopping')
  })

  test('a job that failed is tried again when its app is started again; one that succeeded is not', () => {
    for (const [end, again] of [
      ['failed', 1],
      ['succeeded', 0],
    ] as const) {
      const world = new World()
      world.want(graphOf(job('migrate', null), service('web', 1)), 'one')
      world.settle()
      const first = world.of('migrate')[0]?.id ?? ''
      world.report(first, end)
      world.want(graphOf(job('migrate', null), service('web', 1)), 'one', false)
      world.settle()
      world.want(graphOf(job('migrate', null), service('web', 1)), 'one')
      world.settle()
      assert.equal(world.of('migrate').filter((run) => run.id !== first).length, again, end)
    }
  })

  test('whatever happens, it comes to rest at what is wanted', () => {
    for (let seed = 1; seed <= 300; seed += 1) {
      const random = seededRandom(seed)
      const roll = (sides: number): number => (random.bytes(1)[0] ?? 0) % sides
      const world = new World()
      let wanted = { replicas: 1, bundle: 'b0' }
      for (let happening = 0; happening < 60; happening += 1) {
        const ids = [...world.instances.keys()]
        const before = world.of('web', 'active').length
        const id = ids[roll(Math.max(1, ids.length))]
        switch (roll(7)) {
          case 0:
            wanted = { replicas: 1 + roll(4), bundle: `b${roll(3)}` }
            world.want(graphOf(service('web', wanted.replicas)), wanted.bundle)
            break
          case 1:
            if (id !== undefined)
              world.report(
                id,
                (['starting', 'ready', 'unready', 'backing-off', 'gave-up'] as const)[roll(5)] ?? 'ready',
              )
            break
          case 2:
            world.obey()
            break
          case 3:
            world.gatewayFollows(id === undefined ? [] : [id])
            break
          case 4:
            world.gatewayFollows()
            break
          case 5:
            world.nodes.set('n1', { ...here, connected: roll(2) === 0, sinceMs: world.nowMs })
            break
          default:
            world.nowMs += roll(200) * 100
        }
        world.settle()
        const active = world.of('web', 'active').length
        assert.ok(active <= Math.max(before, wanted.replicas + 1), `seed ${seed}: ${active} active, ${before} before`)
      }
      world.nodes.set('n1', here)
      world.want(graphOf(service('web', wanted.replicas)), wanted.bundle)
      for (let round = 0; round < 40; round += 1) {
        world.settle()
        world.obey()
        world.gatewayFollows()
        world.nowMs += 1000
      }
      world.settle()
      assert.deepEqual(
        world.of('web').map((instance) => instance.bundle),
        Array.from({ length: wanted.replicas }, () => wanted.bundle),
        `seed ${seed}`,
      )
    }
  })
})
