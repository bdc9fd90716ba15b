/** Control with peers that are played: who may say what, who is told what, and what a restart of control does not do. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ManualClock, seededRandom, SteadError } from '../base/index.ts'
import type { Graph, ServicePart } from '../model/index.ts'
import type { Endpoint } from '../network/index.ts'
import {
  type Ask,
  type Assignment,
  type Downward,
  protocolVersion,
  protocolVersionMin,
  type RouteTable,
  type Upward,
} from '../protocol/index.ts'
import { type KeySource, memoryKeys } from '../secrets/index.ts'
import { openMemoryStore, type Store } from '../store/index.ts'
import type { Channel } from '../transport/index.ts'
import { startControl } from './start.ts'
import type { Control } from './face.ts'

function service(name: string, replicas: number, use?: string): ServicePart {
  return {
    kind: 'service',
    name,
    from: '.',
    run: ['node'],
    env: {},
    uses: use === undefined ? [] : [{ as: use, part: use }],
    limits: { memoryBytes: 1e8, cpuCores: 1, pidsMax: 64 },
    egress: [],
    tripwire: 'off',
    http: 80,
    ready: { kind: 'http', path: '/', statusBelow: 500, timeoutMs: 1000 },
    replicas,
    onSecretChange: 'restart',
  }
}

function graphOf(app: string, ...parts: Graph['parts']): Graph {
  return { version: 1, app, parts, routes: [{ host: app, path: '/', part: parts.at(-1)?.name ?? '' }] }
}

const secret = { kind: 'resource', name: 'key', type: 'secret', config: null, files: null } as const

/** A peer without a socket: what control sends is kept, what it is to hear is said. */
class Peer {
  readonly told: Downward[] = []
  closed = false
  readonly #end = Promise.withResolvers<SteadError>()
  readonly #receive: (message: Upward) => void

  constructor(control: Control, identity: string | null) {
    const close = (): void => {
      this.closed = true
      this.#end.resolve(new SteadError({ code: 'transport.closed', message: 'closed' }))
    }
    const channel: Channel<Downward> = {
      identity,
      send: (message) => void this.told.push(message),
      drained: () => Promise.resolve(),
      closed: this.#end.promise,
      close,
      [Symbol.dispose]: close,
    }
    this.#receive = control.accept(channel)
  }

  say(message: Upward): this {
    this.#receive(message)
    return this
  }

  hello(role: 'agent' | 'gateway', name: string): this {
    return this.say({ type: 'hello', protocol: protocolVersion, role, name })
  }

  /** Says that these assignments are ready, reached at `endpoint`, and that there are no others. */
  ready(ids: readonly string[], endpoint: Endpoint): this {
    const common = { phase: 'ready', reason: null, restarts: 0, sinceMs: 0, pid: 1, memoryBytes: null } as const
    return this.say({ type: 'status', full: true, statuses: ids.map((id) => ({ ...common, id, endpoint })) })
  }

  /** Answers the last question of a kind. */
  answer(kind: Ask['kind'], value: object): this {
    const asked = this.told.findLast((message) => message.type === 'ask' && message.ask.kind === kind)
    assert.ok(asked?.type === 'ask', `it was asked for ${kind}`)
    const lines = [{ assignment: '', timeMs: 0, text: JSON.stringify(value) }]
    return this.say({ type: 'answer', ask: asked.id, lines, done: true, error: null })
  }

  end(): void {
    this.#end.resolve(new SteadError({ code: 'transport.closed', message: 'gone' }))
  }

  /** What it is to run, by the plan and the deltas it was told. */
  assignments(): Assignment[] {
    const plan = new Map<string, Assignment>()
    for (const message of this.told) {
      if (message.type === 'plan') plan.clear()
      const put = message.type === 'plan' ? message.plan.assignments : message.type === 'plan-delta' ? message.put : []
      for (const assignment of put) plan.set(assignment.id, assignment)
      if (message.type === 'plan-delta') for (const id of message.remove) plan.delete(id)
    }
    return [...plan.values()]
  }

  table(): RouteTable | undefined {
    return this.told.flatMap((message) => (message.type === 'routes' ? [message.table] : [])).at(-1)
  }

  refusal(): string | undefined {
    return this.told.flatMap((message) => (message.type === 'refused' ? [message.code] : [])).at(-1)
  }
}

interface Played extends AsyncDisposable {
  readonly control: Control
  readonly clock: ManualClock
  readonly fatal: unknown[]
}

const vaultKeys = new WeakMap<Store, KeySource>()

/** The keys that belong to a store, over restarts of control. */
function keysOf(store: Store): KeySource {
  const keys = vaultKeys.get(store) ?? memoryKeys()
  vaultKeys.set(store, keys)
  return keys
}

async function play(store: Store, clock: ManualClock = new ManualClock(1e6), holder = 'a'): Promise<Played> {
  const fatal: unknown[] = []
  const types = [{ type: 'secret', port: null, credential: 'shared' as const }]
  async function* readBundle(digest: string): AsyncIterable<Uint8Array> {
    yield Buffer.from(`bytes of ${digest}`)
  }
  const onFatal = (error: unknown): void => void fatal.push(error)
  const random = seededRandom(clock.nowMs())
  const control = await startControl({
    store,
    clock,
    random,
    types,
    holder,
    onFatal,
    readBundle,
    keys: keysOf(store),
    onSecretRead: () => {},
    backupsOn: 'n1',
  })
  return { control, clock, fatal, [Symbol.asyncDispose]: () => control[Symbol.asyncDispose]() }
}

/** Lets turns that were asked for run to their end. */
async function turns(): Promise<void> {
  for (let round = 0; round < 20; round += 1) await new Promise((resolve) => setImmediate(resolve))
}

const at = (host: string, port = 80): Endpoint => ({ kind: 'tcp', host, port })
const here: Endpoint = { kind: 'instance', pid: 7, netns: 8, port: 80 }
const nowhere = { bundles: {}, home: 'n1' }

suite('control', () => {
  test('apps that come at the same time get users, addresses and releases of their own', async () => {
    await using store = openMemoryStore()
    await using played = await play(store)
    const { control } = played
    const apps = ['one', 'two', 'three']
    const releases = await Promise.all([
      ...apps.map((app) => control.apply({ graph: graphOf(app, service('web', 1)), ...nowhere })),
      control.apply({ graph: graphOf('one', service('web', 2)), ...nowhere }),
    ])
    assert.deepEqual(releases, [1, 1, 1, 2])
    const identities = await store.list('identity/')
    const users = identities.entries.map(({ value }) => (value as { hostUid: number }).hostUid)
    assert.equal(new Set(users).size, 3, users.join(' '))
  })

  test('what a gateway tells of its traffic is seen while it is there, and never written', async () => {
    await using store = openMemoryStore()
    await using played = await play(store)
    const { control } = played
    await control.apply({ graph: graphOf('shop', service('web', 1)), ...nowhere })
    await turns()
    const { revision } = await store.list('')
    const rates = { requestsPerSecond: 2, errorsPerSecond: 0, p50Ms: 1, p99Ms: 2 }
    const traffic = { ...rates, requests: 9, errors: 0 }
    const route = { route: 'shop:shop/', app: 'shop', part: 'web', inFlight: 0, traffic, groups: {} }
    const report = { full: true, routes: [route], instances: [], gone: [] }
    new Peer(control, 'n1').hello('agent', 'n1').say({ type: 'traffic', report })
    assert.deepEqual(control.view('shop')?.traffic.edges, [], 'an agent counts no requests')
    const gateway = new Peer(control, 'g1').hello('gateway', 'g1').say({ type: 'traffic', report })
    await turns()
    assert.deepEqual(control.view('shop')?.traffic.edges, [{ from: null, to: 'web', ...traffic }])
    assert.equal((await store.list('')).revision, revision)
    gateway.end()
    await turns()
    assert.deepEqual(control.view('shop')?.traffic.edges, [])
  })

  test('a node speaks in its own name, for what is its own, and is given no more than it runs', async () => {
    await using store = openMemoryStore()
    await using played = await play(store)
    const { control } = played
    const forged = new Peer(control, 'n2').hello('agent', 'n1')
    assert.deepEqual([forged.refusal(), forged.closed], ['control.other-name', true])
    const n1 = new Peer(control, 'n1').hello('agent', 'n1').ready([], here)
    const n2 = new Peer(control, 'n2').hello('agent', 'n2').ready([], here)
    await turns()
    await control.apply({ graph: graphOf('shop', service('web', 1)), bundles: { web: 'digest' } })
    await turns()
    const [web] = n1.assignments()
    assert.ok(web !== undefined && n2.assignments().length === 0)
    n2.ready([web.id], at('10.0.0.2'))
    await turns()
    assert.equal(control.view('shop')?.instances[0]?.status, null, 'not its own')
    n1.ready([web.id], at('10.0.0.1'))
    await turns()
    assert.equal(control.view('shop')?.instances[0]?.status?.phase, 'ready')
    for (const peer of [n1, n2]) peer.say({ type: 'fetch-bundle', digest: 'digest', from: 0, pieces: 10 })
    await turns()
    const pieces = (peer: Peer): object[] => peer.told.filter((message) => message.type === 'bundle')
    assert.match(JSON.stringify(pieces(n1)), /"done":true,"error":null/)
    assert.match(JSON.stringify(pieces(n2)), /nothing on n2 runs from it/)
    const other = new Peer(control, 'n1').hello('agent', 'n1')
    assert.deepEqual([n1.refusal(), n1.closed, other.closed], ['control.name-taken', true, false])
  })

  test('an app that names no home gets one, and keeps it', async () => {
    await using store = openMemoryStore()
    await using played = await play(store)
    const { control } = played
    const apply = (app: string): Promise<number> => control.apply({ graph: graphOf(app, secret), bundles: {} })
    await assert.rejects(apply('one'), { code: 'control.no-node', retry: 'later' })
    const n1 = new Peer(control, null).hello('agent', 'n1').ready([], here)
    new Peer(control, null).hello('agent', 'n2').ready([], here)
    for (const app of ['one', 'two', 'three']) await apply(app)
    const homes = ['one', 'two', 'three'].map((app) => control.view(app)?.app.home)
    assert.deepEqual(homes, ['n1', 'n2', 'n1'])
    n1.end()
    await turns()
    const changed = graphOf('one', secret, service('web', 1))
    await control.apply({ graph: changed, bundles: {}, home: 'n2' })
    assert.equal(control.view('one')?.app.home, 'n1')
  })

  test('backups that nobody would make are refused where they are declared, and nothing is changed', async () => {
    await using store = openMemoryStore()
    await using played = await play(store)
    const { control } = played
    const graph = graphOf('one', secret, service('web', 1, 'key'))
    const drill = { everyMs: 1e8, probes: {} }
    const backup = { to: '/b', everyMs: 1e7, logMs: 1e6, keep: { count: 1, withinMs: 0 }, drill } as const
    const declared: Graph = { ...graph, backup: { ...backup, key: null, credentials: null, region: null } }
    const refused = { code: 'control.backup-elsewhere', message: /made on the node n1, and its data is on the node n2/ }
    const there = { bundles: {}, home: 'n2' }
    await assert.rejects(control.apply({ graph: declared, ...there }), refused)
    assert.deepEqual(control.apps(), [])
    assert.equal(await control.apply({ graph, ...there }), 1)
    const options = { strategy: 'rolling', watchMs: 0, by: 'ada' } as const
    await assert.rejects(control.releases.plan({ graph: declared, bundles: {} }, options), refused)
    await assert.rejects(control.releases.deploy({ graph: declared, bundles: {} }, options), refused)
    const here = { ...declared, app: 'two', routes: [] }
    assert.equal(await control.apply({ graph: here, ...nowhere }), 1)
  })

  test('an endpoint that means something on its own node only is told to nobody else', async () => {
    await using store = openMemoryStore()
    await using played = await play(store)
    const { control } = played
    const n1 = new Peer(control, null).hello('agent', 'n1').ready([], here)
    const n2 = new Peer(control, null).hello('agent', 'n2').ready([], here)
    const gateways = ['n1', 'n2'].map((name) => new Peer(control, null).hello('gateway', name))
    await control.apply({ graph: graphOf('shop', service('api', 1), service('web', 2, 'api')), ...nowhere })
    await turns()
    const idsOf = (peer: Peer, part?: string): string[] =>
      peer.assignments().flatMap(({ id, part: of }) => (part === undefined || of === part ? [id] : []))
    const apiOn = idsOf(n1, 'api').length > 0 ? n1 : n2
    const elsewhere = apiOn === n1 ? n2 : n1
    const targets = (peer: Peer): number[] =>
      peer
        .assignments()
        .flatMap((one) => (one.kind === 'service' && one.part === 'web' ? (one.edges[0]?.targets.length ?? []) : []))
    for (const endpoint of [here, at('127.0.0.1')]) {
      for (const peer of [n1, n2]) peer.ready(idsOf(peer), endpoint)
      await turns()
      assert.deepEqual([targets(apiOn), targets(elsewhere)], [[1], [0]], JSON.stringify(endpoint))
      for (const gateway of gateways) assert.equal(gateway.table()?.routes[0]?.targets.length, 1)
    }
    for (const peer of [n1, n2]) peer.ready(idsOf(peer), at(peer === n1 ? '10.0.0.1' : '10.0.0.2'))
    await turns()
    assert.deepEqual([targets(apiOn), targets(elsewhere)], [[1], [1]])
    for (const gateway of gateways) assert.equal(gateway.table()?.routes[0]?.targets.length, 2)
    n2.end()
    await turns()
    assert.equal(gateways[0]?.table()?.routes[0]?.targets.length, 1, 'what is away counts while there is another')
    n1.end()
    await turns()
    assert.equal(gateways[0]?.table()?.routes[0]?.targets.length, 2, 'perhaps it is only control that cannot see them')
  })

  test('an instance that stands at a breakpoint gets no requests while another could answer, unless that is wished', async () => {
    await using store = openMemoryStore()
    await using played = await play(store)
    const { control } = played
    const node = new Peer(control, null).hello('agent', 'n1').ready([], here)
    const gateway = new Peer(control, null).hello('gateway', 'n1')
    await control.apply({ graph: graphOf('shop', service('web', 2)), ...nowhere })
    await turns()
    const [first = '', second = ''] = node.assignments().map(({ id }) => id)
    const debugged = async (id: string, stands: boolean, traffic: 'drain' | 'keep'): Promise<readonly string[]> => {
      const debuggers = [{ by: 'ada', sinceMs: 1, stands, traffic }]
      const common = { phase: 'ready', reason: null, restarts: 0, sinceMs: 0, pid: 1, memoryBytes: null, id } as const
      node.say({ type: 'status', full: false, statuses: [{ ...common, endpoint: here, heldSinceMs: 1, debuggers }] })
      await turns()
      return gateway.table()?.routes[0]?.targets.map(({ instance }) => instance) ?? []
    }
    node.ready([first, second], here)
    assert.equal((await debugged(first, false, 'drain')).length, 2, 'attached is not standing')
    assert.deepEqual(await debugged(first, true, 'drain'), [second])
    assert.equal((await debugged(first, true, 'keep')).length, 2)
    assert.deepEqual(await debugged(first, true, 'drain'), [second])
    assert.equal((await debugged(second, true, 'drain')).length, 2, 'late is better than never')
    assert.deepEqual(await debugged(first, false, 'drain'), [first])
  })

  test('a control that starts again decides and tells nothing before it has heard its nodes, or waited for them', async () => {
    await using store = openMemoryStore()
    const clock = new ManualClock(1e6)
    let ids: string[] = []
    let revision = 0
    {
      await using before = await play(store, clock)
      const n1 = new Peer(before.control, null).hello('agent', 'n1').ready([], here)
      const gateway = new Peer(before.control, null).hello('gateway', 'n1')
      await before.control.apply({ graph: graphOf('shop', service('web', 1)), ...nowhere })
      await turns()
      ids = n1.assignments().map(({ id }) => id)
      n1.ready(ids, here)
      await turns()
      revision = gateway.table()?.revision ?? 0
    }
    await using after = await play(store, clock)
    const gateway = new Peer(after.control, null).hello('gateway', 'n1')
    const n2 = new Peer(after.control, null).hello('agent', 'n2').ready([], here)
    await turns()
    assert.deepEqual([gateway.told, n2.told], [[], []])
    const n1 = new Peer(after.control, null).hello('agent', 'n1')
    await turns()
    assert.deepEqual([gateway.told, n1.told], [[], []], 'it came, but has not said how things stand')
    n1.ready(ids, here)
    await turns()
    assert.deepEqual(
      n1.assignments().map(({ id }) => id),
      ids,
    )
    const table = gateway.table()
    assert.ok(table !== undefined)
    assert.equal(table.routes[0]?.targets[0]?.instance, ids[0])
    assert.ok(table.revision > revision, 'a gateway takes no older revision')

    await after[Symbol.asyncDispose]()
    await using alone = await play(store, clock)
    const third = new Peer(alone.control, null).hello('agent', 'n2').ready([], here)
    await turns()
    assert.equal(third.told.length, 0)
    clock.advance(11_000)
    await turns()
    assert.equal(third.told[0]?.type, 'plan')
  })

  test('a branch is not taken away by a control that has not heard yet that it has stopped', async () => {
    await using store = openMemoryStore()
    const clock = new ManualClock(1e6)
    {
      await using before = await play(store, clock)
      const n1 = new Peer(before.control, null).hello('agent', 'n1').ready([], here)
      await before.control.apply({ graph: { ...graphOf('shop', secret), routes: [] }, ...nowhere })
      await turns()
      const made = before.control.releases.branch('shop', 'try', { from: null, by: 'ann', purpose: 'branch' })
      await turns()
      n1.answer('data', {})
      assert.equal(await made, 'shop--try')
    }
    await using after = await play(store, clock)
    let isOver = false
    const removed = after.control.releases.removeBranch('shop', 'try').then(() => (isOver = true))
    const look = async (): Promise<void> => {
      clock.advance(100)
      await turns()
    }
    await look()
    assert.deepEqual([isOver, after.control.view('shop--try') === null], [false, false], 'nobody has said anything')
    const n1 = new Peer(after.control, null).hello('agent', 'n1').ready(['shop--try.key', 'shop.key'], here)
    await look()
    assert.deepEqual([isOver, after.control.view('shop--try') === null], [false, false], 'it runs')
    n1.ready(['shop.key'], here)
    await look()
    assert.equal(after.control.view('shop--try'), null)
    n1.answer('data', { deleted: ['branch-try'] })
    assert.equal(await removed, true)
  })

  test('a control that was replaced says so once and changes nothing', async () => {
    const clock = new ManualClock(1e6)
    await using store = openMemoryStore({ clock })
    await using first = await play(store, clock)
    await assert.rejects(play(store, clock, 'b'), { code: 'control.elsewhere' })
    await store.releaseLease('control', 1)
    await using second = await play(store, clock, 'b')
    const graph = graphOf('shop', service('web', 1))
    await assert.rejects(first.control.apply({ graph, ...nowhere }), { code: 'control.replaced' })
    await assert.rejects(first.control.apply({ graph, ...nowhere }), { code: 'control.stopped' })
    assert.equal(first.fatal.length, 1)
    assert.equal(await second.control.apply({ graph, ...nowhere }), 1)
  })
})

suite('peers of another version', () => {
  test('one version behind is served, and not asked what it cannot do; any other is refused by name', async () => {
    await using played = await play(openMemoryStore())
    const { control } = played
    for (const protocol of [protocolVersionMin - 1, protocolVersion + 1]) {
      const stranger = new Peer(control, null).say({ type: 'hello', protocol, role: 'agent', name: 'stranger' })
      assert.deepEqual([stranger.refusal(), stranger.closed], ['control.other-protocol', true])
    }
    const old = new Peer(control, null).say({ type: 'hello', protocol: protocolVersionMin, role: 'agent', name: 'n1' })
    old.ready([], { kind: 'unix', path: '/nowhere' })
    await turns()
    await control.apply({ graph: graphOf('shop', secret, service('web', 1, 'key')), bundles: { web: 'b' } })
    await turns()
    assert.deepEqual(
      old.assignments().map(({ part }) => part),
      ['key', 'web'],
    )
    const assignment = old.assignments()[1]?.id ?? ''
    assert.throws(() => control.open({ kind: 'machine', assignment, what: 'console' }), { code: 'control.older-node' })
    assert.ok(!old.told.some(({ type }) => type === 'tasks'))
    assert.deepEqual([old.refusal(), old.closed], [undefined, false])
  })
})
