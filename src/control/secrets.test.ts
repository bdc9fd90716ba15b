/**
 * Secrets in control, with a node that is played: what is told to whom, what the store holds, and rotations through every
 * step, with control starting anew between any two of them.
 */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { type Json, ManualClock, seededRandom, SteadError } from '../base/index.ts'
import type { Graph, Part, ServicePart } from '../model/index.ts'
import {
  type Assignment,
  type AssignmentStatus,
  type Downward,
  type InstanceAssignment,
  protocolVersion,
  type ResourceAssignment,
  type Upward,
} from '../protocol/index.ts'
import { keyFile, type KeySource, memoryKeys } from '../secrets/index.ts'
import { openMemoryStore, openSqliteStore, type Store } from '../store/index.ts'
import type { Channel } from '../transport/index.ts'
import { startControl } from './start.ts'
import type { Control } from './face.ts'

function service(name: string, uses: readonly string[], more: Partial<ServicePart> = {}): ServicePart {
  return {
    kind: 'service',
    name,
    from: '.',
    run: ['node'],
    env: {},
    tripwire: 'off',
    uses: uses.map((part) => ({ as: part, part })),
    limits: { memoryBytes: 1e8, cpuCores: 1, pidsMax: 64 },
    egress: [],
    http: null,
    ready: { kind: 'started', timeoutMs: 1000 },
    replicas: 1,
    onSecretChange: 'restart',
    ...more,
  }
}

const resource = (type: string, name: string, config: Json = null): Part => ({
  kind: 'resource',
  name,
  type,
  config,
  files: null,
})
const db = resource('db', 'db')
const key = resource('secret', 'key', { from: 'generated', rotateMs: null })
const mail = resource('secret', 'mail', { from: 'operator', rotateMs: null })

function graphOf(...parts: readonly Part[]): Graph {
  return { version: 1, app: 'shop', parts: parts.toSorted((a, b) => (a.name < b.name ? -1 : 1)), routes: [] }
}

/** A node that does at once what it is told, and reports it; what it is forbidden to report it keeps to itself. */
class PlayedNode {
  readonly plan = new Map<string, Assignment>()
  #revision = 0
  readonly #receive: (message: Upward) => void
  readonly #end = Promise.withResolvers<SteadError>()
  /** Instances of these parts never say which version they have. */
  readonly silent = new Set<string>()

  constructor(control: Control) {
    const channel: Channel<Downward> = {
      identity: null,
      send: (message) => this.#hear(message),
      drained: () => Promise.resolve(),
      closed: this.#end.promise,
      close: () => {},
      [Symbol.dispose]: () => {},
    }
    this.#receive = control.accept(channel)
    this.#receive({ type: 'hello', protocol: protocolVersion, role: 'agent', name: 'n1' })
    this.report()
  }

  #hear(message: Downward): void {
    if (message.type === 'plan') this.plan.clear()
    if (message.type !== 'plan' && message.type !== 'plan-delta') return
    for (const each of message.type === 'plan' ? message.plan.assignments : message.put) this.plan.set(each.id, each)
    if (message.type === 'plan-delta') for (const id of message.remove) this.plan.delete(id)
    this.#revision = message.type === 'plan' ? message.plan.revision : message.revision
  }

  report(): void {
    this.#receive({ type: 'status', full: true, statuses: [...this.plan.values()].map((each) => this.#status(each)) })
    this.#receive({ type: 'applied', revision: this.#revision, busy: [] })
  }

  #status(each: Assignment): AssignmentStatus {
    const credentials =
      each.kind === 'resource'
        ? each.grants.map(({ consumer, version }) => `${consumer}@${version}`)
        : each.edges.flatMap(({ part, grant }) => (grant === null ? [] : [`${part}@${grant.version}`]))
    const waits = each.kind !== 'resource' && each.edges.some(({ type, grant }) => type !== 'service' && grant === null)
    const phase = !each.wanted ? 'stopped' : waits ? 'waiting' : 'ready'
    const common = {
      id: each.id,
      phase,
      reason: null,
      restarts: 0,
      sinceMs: 0,
      endpoint: null,
      pid: 1,
      memoryBytes: null,
    } as const
    return this.silent.has(each.part) ? common : { ...common, credentials }
  }

  instances(part: string): InstanceAssignment[] {
    return [...this.plan.values()].filter(
      (each): each is InstanceAssignment => each.kind !== 'resource' && each.part === part,
    )
  }

  resource(part: string): ResourceAssignment {
    const found = this.plan.get(`shop.${part}`)
    assert.ok(found?.kind === 'resource')
    return found
  }
}

interface World extends AsyncDisposable {
  control: Control
  node: PlayedNode
  readonly clock: ManualClock
  /** Turns and reports until nothing changes any more. */
  rest(): Promise<void>
  /** One turn of control, without a report. */
  turn(): Promise<void>
  /** Control dies between two turns, and another starts from the store. */
  restart(): Promise<void>
}

async function worldOf(store: Store, keys: KeySource = memoryKeys()): Promise<World> {
  const clock = new ManualClock(1e6)
  const types = [
    { type: 'secret', port: null, credential: 'shared' as const },
    { type: 'db', port: 5432, credential: 'own' as const },
  ]
  let starts = 0
  const start = (): Promise<Control> =>
    startControl({
      store,
      clock,
      random: seededRandom((starts += 1)),
      types,
      holder: 'a',
      keys,
      onSecretRead: () => {},
      onFatal: (error) => assert.fail(String(error)),
      async *readBundle() {},
    })
  const control = await start()
  const world: World = {
    control,
    node: new PlayedNode(control),
    clock,
    async turn() {
      clock.advance(1000)
      for (let round = 0; round < 30; round += 1) await new Promise((resolve) => setImmediate(resolve))
    },
    async rest() {
      for (let round = 0; round < 12; round += 1) {
        await world.turn()
        world.node.report()
      }
    },
    async restart() {
      await world.control[Symbol.asyncDispose]()
      world.control = await start()
      const plan = [...world.node.plan]
      world.node = new PlayedNode(world.control)
      for (const [id, each] of plan) world.node.plan.set(id, each)
      world.node.report()
    },
    [Symbol.asyncDispose]: () => world.control[Symbol.asyncDispose](),
  }
  await world.turn()
  return world
}

const bundles = { web: 'b1', worker: 'b1' }
const passwordOf = (each: InstanceAssignment | undefined, part: string): string =>
  each?.edges.find((edge) => edge.part === part)?.grant?.password ?? ''
const usersOf = ({ grants }: ResourceAssignment): string => grants.map(({ user }) => user).join(' ')

suite('secrets in control', () => {
  test('no record holds a value, in the file, its log, or after', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'stead-control-'))
    try {
      const values: string[] = []
      const shows = async (): Promise<readonly string[]> => {
        const names = await readdir(dir)
        const found = await Promise.all(
          names.map(async (name) => {
            const bytes = await readFile(join(dir, name))
            return values.some((value) => bytes.includes(value)) ? [name] : []
          }),
        )
        return found.flat()
      }
      const store = await openSqliteStore({ path: join(dir, 'store.sqlite') })
      {
        await using world = await worldOf(store, keyFile(join(dir, 'vault.key')))
        await world.control.apply({
          graph: graphOf(db, key, mail, service('web', ['db', 'key', 'mail'])),
          bundles,
          home: 'n1',
        })
        await world.control.secrets.set('shop', 'mail', Buffer.from('from-the-operator'))
        await world.rest()
        const [web] = world.node.instances('web')
        values.push(world.node.resource('db').adminPassword)
        for (const part of ['db', 'key', 'mail']) values.push(passwordOf(web, part))
        assert.ok(values.every((value) => value.length > 10) && new Set(values).size === 4)
        assert.deepEqual(await shows(), [])
      }
      await store.close()
      assert.deepEqual(await shows(), [])
    } finally {
      await rm(dir, { recursive: true })
    }
  })

  test('what an earlier release kept in plain is moved, works as before, and is on the disk no more', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'stead-control-'))
    try {
      const store = await openSqliteStore({ path: join(dir, 'store.sqlite') })
      const graph = graphOf(db, key, service('web', ['db', 'key']))
      const plain = { admin: 'plain-admin-password', web: 'plain-web-password', key: 'plain-key-value' }
      const identity = (adminPassword: string, passwords: Record<string, string>, number: number): Json => {
        return { hostUid: 1_900_000_000 + number, edge: number, adminPassword, passwords }
      }
      const records: Record<string, Json> = {
        'app/shop': { graph: graph as unknown as Json, bundles, release: 1, home: 'n1', wanted: true },
        'identity/shop/db': identity(plain.admin, { web: plain.web }, 1),
        'identity/shop/key': identity(plain.key, { web: 'plain-never-used' }, 2),
        'identity/shop/web': identity('plain-never-used', {}, 3),
        counters: { hostUid: 1_900_000_003, edges: { shop: 3 } },
      }
      for (const [name, value] of Object.entries(records)) await store.putIf(name, value, 0)
      const shows = async (): Promise<readonly string[]> =>
        (await readdir(dir)).filter((name) => name.startsWith('store')).length === 0
          ? []
          : (
              await Promise.all(
                (await readdir(dir)).map(async (name) => ({ name, bytes: await readFile(join(dir, name)) })),
              )
            )
              .filter(({ bytes }) => bytes.includes('plain-'))
              .map(({ name }) => name)
      assert.ok((await shows()).length > 0)
      {
        await using world = await worldOf(store, keyFile(join(dir, 'vault.key')))
        assert.deepEqual(await shows(), [])
        await world.rest()
        assert.equal(world.node.resource('db').adminPassword, plain.admin)
        assert.deepEqual(world.node.resource('db').grants, [
          { consumer: 'web', user: 'web', password: plain.web, version: 1 },
        ])
        const [web] = world.node.instances('web')
        assert.deepEqual([passwordOf(web, 'db'), passwordOf(web, 'key')], [plain.web, plain.key])
        assert.equal(world.node.resource('db').hostUid, 1_900_000_001)
        assert.deepEqual(await shows(), [])
      }
      await store.close()
      assert.deepEqual(await shows(), [])
    } finally {
      await rm(dir, { recursive: true })
    }
  })

  test('a wrong key is refused, and with the right one everything is there again', async () => {
    const store = openMemoryStore()
    const keys = memoryKeys()
    await (await worldOf(store, keys))[Symbol.asyncDispose]()
    await assert.rejects(worldOf(store, memoryKeys()), { code: 'secrets.no-key' })
    await using world = await worldOf(store, keys)
    assert.deepEqual(world.control.apps(), [])
  })

  test('a damaged record keeps its own users waiting, and a new value mends it', async () => {
    const store = openMemoryStore()
    const keys = memoryKeys()
    const graph = graphOf(key, mail, service('web', ['key']), service('worker', ['mail']))
    {
      await using world = await worldOf(store, keys)
      await world.control.apply({ graph, bundles, home: 'n1' })
      await world.control.secrets.set('shop', 'mail', Buffer.from('the mail password'))
      await world.rest()
    }
    const entry = await store.get('secret/shop/mail')
    const text = JSON.stringify(entry?.value).replace(/"value":"...../, '"value":"AAAAA')
    await store.putIf('secret/shop/mail', JSON.parse(text) as Json, entry?.revision ?? 0)
    await using world = await worldOf(store, keys)
    await world.rest()
    assert.ok(passwordOf(world.node.instances('web')[0], 'key').length > 10)
    assert.equal(world.node.instances('worker')[0]?.edges[0]?.grant, null)
    const views = await world.control.secrets.list('shop')
    assert.match(views.find(({ name }) => name === 'mail')?.rotation ?? '', /cannot be opened/)
    await world.control.secrets.set('shop', 'mail', Buffer.from('a new password'))
    await world.rest()
    assert.equal(passwordOf(world.node.instances('worker')[0], 'mail'), 'a new password')
  })

  test('whoever uses a secret that was never set has no value for it, and gets it when it is set', async () => {
    await using world = await worldOf(openMemoryStore())
    await world.control.apply({ graph: graphOf(mail, service('web', ['mail'])), bundles, home: 'n1' })
    await world.rest()
    const [waiting] = world.node.instances('web')
    assert.equal(waiting?.edges[0]?.grant, null)
    await world.control.secrets.set('shop', 'mail', Buffer.from('at last'))
    await world.rest()
    const [web, ...others] = world.node.instances('web')
    assert.deepEqual([web?.id, passwordOf(web, 'mail'), others.length], [waiting?.id, 'at last', 0])
  })

  test('a new value of a secret replaces its users one by one; who declares it takes it as it runs', async () => {
    await using world = await worldOf(openMemoryStore())
    const worker = service('worker', ['key'], { onSecretChange: 'SIGHUP' })
    await world.control.apply({
      graph: graphOf(key, service('web', ['key'], { replicas: 3 }), worker),
      bundles,
      home: 'n1',
    })
    await world.rest()
    const before = {
      web: world.node.instances('web').map(({ id }) => id),
      worker: world.node.instances('worker')[0]?.id,
    }
    await world.control.secrets.set('shop', 'key', Buffer.from('a new value'))
    await world.rest()
    const [web, workers] = [world.node.instances('web'), world.node.instances('worker')]
    assert.equal(web.length, 3)
    assert.ok(web.every(({ id }) => !before.web.includes(id)))
    assert.deepEqual(
      [...web, ...workers].map((each) => passwordOf(each, 'key')),
      Array(4).fill('a new value'),
    )
    assert.deepEqual(
      workers.map(({ id }) => id),
      [before.worker],
    )
    const [view] = await world.control.secrets.list('shop')
    assert.deepEqual([view?.current, view?.rotation, view?.users.length], [2, null, 4])
  })

  test('the login of a consumer is changed over: both valid while anybody may use the old one', async () => {
    await using world = await worldOf(openMemoryStore())
    await world.control.apply({ graph: graphOf(db, service('web', ['db'])), bundles, home: 'n1' })
    await world.rest()
    const seen: string[] = []
    const look = (): void => {
      const grants = usersOf(world.node.resource('db'))
      const revoked = world.node.resource('db').revoked.join(' ')
      const users = world.node.instances('web').map((each) => each.edges[0]?.grant?.user)
      const line = `${grants} | ${revoked} | ${users.join(' ')}`
      if (seen.at(-1) !== line) seen.push(line)
      for (const user of users) assert.ok(grants.split(' ').includes(user ?? ''), `${user} is let in: ${line}`)
    }
    look()
    assert.deepEqual(await world.control.secrets.rotate('shop', 'db'), { started: ['db/for/web'], refused: [] })
    for (let round = 0; round < 12; round += 1) {
      await world.turn()
      look()
      world.node.report()
    }
    assert.deepEqual(seen, ['web |  | web', 'web web_b |  | web', 'web_b web |  | web web_b', 'web_b | web | web_b'])
    assert.equal((await world.control.secrets.list('shop'))[0]?.rotation, null)
    await world.control.secrets.rotate('shop', 'db/web')
    await world.rest()
    assert.deepEqual([usersOf(world.node.resource('db')), world.node.resource('db').revoked], ['web', ['web_b']])
  })

  test('a rotation goes on whichever turn control dies in', async () => {
    for (let dieAfter = 0; dieAfter < 8; dieAfter += 1) {
      await using world = await worldOf(openMemoryStore())
      await world.control.apply({ graph: graphOf(db, key, service('web', ['db', 'key'])), bundles, home: 'n1' })
      await world.rest()
      await world.control.secrets.rotateAll('shop', 'web')
      for (let round = 0; round < dieAfter; round += 1) {
        await world.turn()
        world.node.report()
      }
      await world.restart()
      await world.rest()
      const views = await world.control.secrets.list('shop')
      assert.deepEqual(
        views.map(({ current, rotation }) => [current, rotation]),
        [
          [2, null],
          [2, null],
        ],
        `after ${dieAfter}`,
      )
      assert.equal(usersOf(world.node.resource('db')), 'web_b')
      assert.deepEqual(
        world.node.instances('web').map((each) => each.edges[0]?.grant?.user),
        ['web_b'],
      )
    }
  })

  test('a consumer that never reports leaves both versions valid, and it says who', async () => {
    await using world = await worldOf(openMemoryStore())
    await world.control.apply({ graph: graphOf(db, service('web', ['db'])), bundles, home: 'n1' })
    await world.rest()
    world.node.silent.add('web')
    await world.control.secrets.rotate('shop', 'db')
    await world.rest()
    await world.rest()
    assert.equal(usersOf(world.node.resource('db')), 'web_b web')
    const [view] = await world.control.secrets.list('shop')
    assert.match(view?.rotation ?? '', /^versions 1 and 2 are both valid; waits for shop\.web\.\w+$/)
    world.node.silent.clear()
    await world.rest()
    assert.equal(usersOf(world.node.resource('db')), 'web_b')
  })

  test('a secret is rotated when it is as old as the app file lets it be', async () => {
    await using world = await worldOf(openMemoryStore())
    const old = resource('secret', 'key', { from: 'generated', rotateMs: 60_000 })
    await world.control.apply({ graph: graphOf(old, service('web', ['key'])), bundles, home: 'n1' })
    await world.rest()
    assert.equal((await world.control.secrets.list('shop'))[0]?.current, 1)
    world.clock.advance(60_000)
    world.node.report()
    await world.rest()
    assert.deepEqual(
      (await world.control.secrets.list('shop')).map(({ current, rotation }) => [current, rotation]),
      [[2, null]],
    )
  })

  test('everything a part was given is rotated; what only a person knows is named', async () => {
    await using world = await worldOf(openMemoryStore())
    await world.control.apply({
      graph: graphOf(db, key, mail, service('web', ['db', 'key', 'mail'])),
      bundles,
      home: 'n1',
    })
    await world.control.secrets.set('shop', 'mail', Buffer.from('from a person'))
    await world.rest()
    const { started, refused } = await world.control.secrets.rotateAll('shop', 'web')
    assert.deepEqual([started, refused.map(({ name }) => name)], [['db/for/web', 'key'], ['mail']])
    await world.rest()
    assert.deepEqual(
      (await world.control.secrets.list('shop')).map(({ name, current }) => `${name} ${current}`),
      ['db/web 2', 'key 2', 'mail 1'],
    )
  })

  test('what cannot be is refused by name', async () => {
    await using world = await worldOf(openMemoryStore())
    const { secrets } = world.control
    await assert.rejects(secrets.set('shop', 'key', Buffer.from('x')), { code: 'control.unknown-app' })
    await world.control.apply({ graph: graphOf(db, key, mail, service('web', ['db', 'mail'])), bundles, home: 'n1' })
    const set = (name: string, value: Uint8Array): Promise<number> => secrets.set('shop', name, value)
    await assert.rejects(set('other', Buffer.from('x')), {
      code: 'control.unknown-secret',
      hint: 'It has: db, key, mail.',
    })
    await assert.rejects(set('db', Buffer.from('x')), { code: 'control.unknown-secret' })
    await assert.rejects(set('mail', Buffer.from([0xff, 0xfe])), { code: 'control.not-text' })
    await assert.rejects(set('mail', Buffer.alloc(0)), { code: 'secrets.bad-value' })
    await assert.rejects(set('mail', Buffer.alloc(65_537, 65)), { code: 'secrets.bad-value' })
    await assert.rejects(secrets.rotate('shop', 'mail'), { code: 'control.not-rotatable' })
    await assert.rejects(secrets.rotate('shop', 'web'), { code: 'control.unknown-secret' })
    await assert.rejects(secrets.rotate('shop', 'db/worker'), { code: 'control.unknown-secret' })
    await assert.rejects(secrets.remove('shop', 'mail'), { code: 'control.secret-in-use' })
    await assert.rejects(secrets.export('shop', 'db', ['age1x'], 'a test'), { code: 'control.unknown-secret' })
    await world.control.apply({ graph: graphOf(db, service('web', ['db'])), bundles, home: 'n1' })
    await world.rest()
    await assert.rejects(secrets.remove('shop', 'mail'), { code: 'secrets.unknown' })
  })
})
