/** Who is let in and what each may do, asked over real sockets; and that all of it is in the record. */
import type { RemoteStream } from '../protocol/index.ts'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import { isSteadError, ManualClock, systemRandom } from '../base/index.ts'
import { submissionDefaults } from '../batch/index.ts'
import type { BatchOperations } from './batch.ts'
import { type AuditLine, type Gate, openGate, type OperatorClient, operatorClient, serveOperator } from './index.ts'
import { type Operations, type PartStreamOrder, type TraceOrder, unknownApp } from './operations.ts'
import type { ReleaseOperations } from './releases.ts'
import { openStream } from './streams.ts'

const startMs = Date.parse('2026-03-01T12:00:00Z')
const dayMs = 86_400_000
const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFk3bYp8p7Yw0QnUuZpZ5C3pQm7d1Jr4Xo2n9rYy0a1B'

const noSecrets: Operations['secrets'] = {
  list: () => Promise.resolve([]),
  set: () => Promise.resolve(1),
  remove: () => Promise.resolve(),
  rotate: () => Promise.resolve({ started: [], refused: [] }),
  exportAll: () => Promise.resolve([]),
  restoreAll: () => Promise.resolve(),
  export: () => Promise.resolve(''),
  changeKey: () => Promise.resolve(),
}

const noReleases: ReleaseOperations = {
  plan: () => Promise.resolve({ number: 1, lines: [], migrates: 'none', direct: null }),
  list: (app) => ({ app, live: 1, generation: 1, releases: [], checkpoints: [], branches: [], counted: null }),
  data: () => Promise.resolve({ generation: 1, driver: 'none', totalBytes: 0, freeBytes: 0, copies: [] }),
  back: () => Promise.resolve(1),
  preview: () => Promise.resolve({ target: 1, checkpoint: null, preview: null }),
  cancel: () => Promise.resolve(),
  checkpoint: () => Promise.resolve({ tookMs: 0 }),
  spareCopy: (_app, name) =>
    Promise.resolve({ name, kind: 'clone', path: '/', createdAtMs: 0, generation: 1, ownBytes: null }),
  adopt: () => Promise.resolve(),
  verify: () => Promise.resolve({ checks: [] }),
  layOutLogs: () => Promise.resolve([]),
  restoreAt: () => Promise.resolve({ from: '', parts: [], gaps: [], clockErrorMs: null }),
  deleteCopies: () => Promise.resolve([]),
  branch: (app) => Promise.resolve(app),
  removeBranch: () => Promise.resolve(),
  replay: () => Promise.resolve(0),
}

const noJob = (): never => {
  throw new Error('there is no job')
}

const noJobs: BatchOperations = {
  submit: () => Promise.resolve(7),
  cancel: () => Promise.resolve(),
  list: () => Promise.resolve([]),
  job: noJob,
  tasks: () => Promise.resolve([]),
  why: noJob,
  watch: noJob,
  logs: noJob,
  queues: () => Promise.resolve([]),
  setQueue: () => Promise.resolve(),
  setNode: () => Promise.resolve(),
  accounts: () => Promise.resolve([]),
  setAccount: () => Promise.resolve(),
  reservations: () => Promise.resolve([]),
  reserve: () => Promise.resolve(),
  release: () => Promise.resolve(),
  usage: () => Promise.resolve([]),
  nodes: () => Promise.resolve([]),
}

/** A platform with two apps that does nothing. */
function fakeOperations(done: string[]): Operations {
  const known = (app: string): string => {
    if (['shop', 'blog'].includes(app)) return app
    throw unknownApp(app, ['shop', 'blog'])
  }
  const drivers = { sandbox: 'none', network: 'none', domain: 'none' }
  const common = { release: 1, wanted: true, origin: null, urls: [] }
  return {
    platform: () => ({
      version: '1.0.0',
      processes: [],
      mode: 'serve',
      pid: 1,
      apps: [
        { app: 'shop', ...common },
        { app: 'blog', ...common },
      ],
      weaker: [],
      drivers,
    }),
    status: (app) => ({
      app: known(app),
      ...common,
      pid: 1,
      parts: [],
      faults: [],
      traffic: [],
      disks: [],
      weaker: [],
      drivers,
    }),
    graph: (app) => {
      throw unknownApp(app, [])
    },
    checkup: async (app) => {
      known(app)
      return {
        release: 1,
        availability: 0.995,
        downtimeSecondsPerYear: 157_680,
        singlePointsOfFailure: ['web'],
        beneath: ['the machine'],
        causes: [],
      }
    },
    async *logs(app, _part, { signal }) {
      known(app)
      yield { assignment: `${app}.web.1`, timeMs: 1, stream: 'out', text: 'hello' } as never
      await once(signal, 'abort').catch(() => {})
    },
    async *changes() {},
    bundles: () => [],
    async order(app, part, kind, by) {
      done.push(`${kind} ${known(app)}/${part} by ${by}`)
    },
    jobs: () => [],
    run: () => Promise.reject(unknownApp('any', [])),
    open: (app) => echo(known(app)),
    trace: () => echo('kernel'),
    bind: () => Promise.resolve(null),
    incidents: () => Promise.resolve([]),
    settle: () => Promise.reject(new Error('nothing is frozen')),
    intake: null,
    secrets: noSecrets,
    batch: noJobs,
    queues: {
      list: () => Promise.resolve([]),
      peek: () => Promise.resolve([]),
      async redrive(app, { part }) {
        done.push(`redrive ${known(app)}/${part}`)
        return 3
      },
      async purge(app, { part }, shelf) {
        done.push(`purge ${shelf} ${known(app)}/${part}`)
        return 2
      },
      async pause(app, { part }, paused) {
        done.push(`${paused ? 'pause' : 'resume'} ${known(app)}/${part}`)
        return paused
      },
    },
    deploy: () => Promise.resolve(1),
    releases: noReleases,
    down(app) {
      done.push(`down ${known(app)}`)
      return Promise.resolve()
    },
    remove: () => Promise.resolve(),
    breakPart: () => Promise.resolve('f1'),
    heal: () => Promise.resolve(),
    dashboardLogin: () => ({ url: '', forMs: 0 }),
  }
}

/** A stream that says whose it is and gives back what it is given, until there is no more. */
function echo(app: string): RemoteStream {
  const end = Promise.withResolvers<void>()
  const given: Uint8Array[] = [Buffer.from(`${app}:`)]
  return {
    pieces: (async function* () {
      await end.promise
      for (const bytes of given) yield { to: 'out' as const, bytes }
    })(),
    async write(bytes) {
      given.push(bytes)
    },
    end: () => end.resolve(),
    resize() {},
    seen() {},
    ended: Promise.resolve({ code: 3, signal: null, sentence: 'ended with code 3' }),
    close: () => end.resolve(),
  }
}

/** Pauses take no time here. */
function atOnce(_delayMs: number, run: () => void): Disposable {
  const handle = setImmediate(run)
  return { [Symbol.dispose]: () => clearImmediate(handle) }
}

class Bench implements AsyncDisposable {
  readonly dir: string = mkdtempSync(join(tmpdir(), 'op-'))
  readonly clock: ManualClock = new ManualClock(startMs)
  readonly done: string[] = []
  readonly notices: string[] = []
  readonly ownSocket: string = join(this.dir, 'own.sock')
  readonly openSocket: string = join(this.dir, 'open.sock')
  readonly keysPath: string = join(this.dir, 'ssh', 'authorized_keys')
  readonly #stack = new AsyncDisposableStack()
  gate!: Gate
  owner!: OperatorClient

  static async open(): Promise<Bench> {
    const bench = new Bench()
    bench.gate = bench.#stack.use(
      await openGate({
        directory: join(bench.dir, 'gate'),
        keysPath: bench.keysPath,
        entrance: ['/opt/stead/current/bin/stead'],
        onNotice: (text) => bench.notices.push(text),
        clock: { monotonicMs: () => bench.clock.monotonicMs(), nowMs: () => bench.clock.nowMs(), after: atOnce },
        random: systemRandom,
      }),
    )
    const entrance = { gate: bench.gate, socketPath: bench.openSocket }
    bench.#stack.use(await serveOperator(bench.ownSocket, fakeOperations(bench.done), entrance))
    const owner = await operatorClient(bench.ownSocket)
    assert.ok(owner)
    bench.owner = owner
    return bench
  }

  /** Adds a person and asks as that person from then on. */
  async person(
    name: string,
    role: 'viewer' | 'developer' | 'operator' | 'admin',
    apps: string[] | null = null,
  ): Promise<OperatorClient> {
    await this.owner.grant({ name, role, rights: [], apps, expiresAtMs: null, sshKeys: [] })
    const { token } = await this.owner.issueToken(name, this.clock.nowMs() + dayMs)
    return this.with(token)
  }

  async with(token: string | null): Promise<OperatorClient> {
    const client = await operatorClient(this.openSocket, token)
    assert.ok(client)
    return client
  }

  async record(): Promise<AuditLine[]> {
    return Array.fromAsync(this.owner.audit({ app: null, who: null, sinceMs: null }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** The code that something is refused with. */
async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (isSteadError(error)) return error.code
    throw error
  }
  return 'nothing'
}

suite('people', () => {
  test('each role may what it says, on the apps it says, and a refusal names the right', async () => {
    await using bench = await Bench.open()
    const ann = await bench.person('ann', 'developer', ['shop'])
    const vic = await bench.person('vic', 'viewer')
    assert.deepEqual(
      (await ann.platform()).apps.map(({ app }) => app),
      ['shop'],
    )
    assert.deepEqual(
      (await vic.platform()).apps.map(({ app }) => app),
      ['shop', 'blog'],
    )
    assert.equal((await ann.status('shop')).app, 'shop')
    assert.deepEqual((await vic.checkup('blog')).singlePointsOfFailure, ['web'])
    await assert.rejects(ann.checkup('blog'), { code: 'operator.forbidden' })
    await assert.rejects(ann.status('blog'), {
      code: 'operator.forbidden',
      message: 'ann may not do this: it needs the right read on blog',
    })
    // Whether there is such an app is not told either.
    await assert.rejects(ann.status('nosuch'), { code: 'operator.forbidden' })
    await assert.rejects(ann.down('shop'), { code: 'operator.forbidden', message: /needs the right operate on shop$/ })
    await assert.rejects(vic.down('shop'), { code: 'operator.forbidden' })
    await assert.rejects(vic.people(), { code: 'operator.forbidden', message: /right admin on the platform itself$/ })
    const ops = await bench.person('ops', 'operator', ['shop'])
    await ops.down('shop')
    const boss = await bench.person('boss', 'admin', ['shop'])
    await boss.remove('shop')
    // An admin of some apps is none of the platform: that would be a way to everything.
    await assert.rejects(
      boss.grant({ name: 'x', role: 'admin', rights: [], apps: null, expiresAtMs: null, sshKeys: [] }),
      {
        code: 'operator.forbidden',
      },
    )
    assert.deepEqual(bench.done, ['down shop'])
  })

  test('who may get into parts submits jobs; one that sees files of the node, or has no sandbox, only who may do all', async () => {
    await using bench = await Bench.open()
    const ops = await bench.person('ops', 'operator')
    const vic = await bench.person('vic', 'viewer')
    const plain = { ...submissionDefaults, name: 'x', argv: ['true'] }
    assert.equal(await ops.batch.submit(plain), 7)
    await assert.rejects(vic.batch.submit(plain), { message: /right exec on the platform itself$/ })
    const reads = ops.batch.submit({ ...plain, reads: ['/etc'] })
    await assert.rejects(reads, { message: /sees \/etc of the node: that needs the right admin/ })
    await assert.rejects(ops.batch.submit({ ...plain, isolation: 'none' }), { code: 'operator.forbidden' })
    await assert.rejects(ops.batch.submit({ ...plain, argv: [] }), { code: 'operator.bad-request' })
    await assert.rejects(vic.batch.cancel(7, null), { code: 'operator.forbidden' })
  })

  test('who sees the counts of queues does not see what messages say, and who moves or deletes them is recorded', async () => {
    await using bench = await Bench.open()
    const mail = { part: 'mail', queue: null }
    const vic = await bench.person('vic', 'viewer')
    assert.deepEqual(await vic.queues.list('shop', null), [])
    await assert.rejects(vic.queues.peek('shop', mail, 'dead', 20), { message: /right exec on shop$/ })
    const ann = await bench.person('ann', 'developer', ['shop'])
    await assert.rejects(ann.queues.redrive('shop', mail, null, 10), { message: /right operate on shop$/ })
    await assert.rejects(ann.queues.purge('shop', mail, 'dead'), { message: /right operate on shop$/ })
    const ops = await bench.person('ops', 'operator', ['shop'])
    assert.deepEqual(await ops.queues.peek('shop', mail, 'dead', 20), [])
    assert.equal(await ops.queues.redrive('shop', mail, ['a'], 10), 3)
    assert.equal(await ops.queues.purge('shop', mail, 'dead'), 2)
    await assert.rejects(ann.queues.pause('shop', mail, true), { message: /right operate on shop$/ })
    assert.equal(await ops.queues.pause('shop', mail, true), true)
    assert.deepEqual(bench.done, ['redrive shop/mail', 'purge dead shop/mail', 'pause shop/mail'])
    const lines = await bench.record()
    const looked = lines.filter(({ operation }) => operation === 'GET /v1/apps/:app/queues/:part/messages')
    assert.deepEqual(
      looked.map(({ who, part, outcome }) => [who, part, outcome]),
      [
        ['vic', 'mail', 'refused'],
        ['ops', 'mail', 'done'],
      ],
    )
    for (const action of ['redrive', 'purge', 'pause']) {
      const own = lines.filter(({ operation }) => operation.endsWith(`/queues/:part/${action}`))
      assert.deepEqual(
        own.map(({ who, part, outcome }) => [who, part, outcome]),
        [
          ['ann', 'mail', 'refused'],
          ['ops', 'mail', 'begun'],
          ['ops', 'mail', 'done'],
        ],
      )
    }
  })

  test('streams and orders need their right, and are recorded with who and on what', async () => {
    await using bench = await Bench.open()
    const order = { kind: 'exec', argv: ['sh'], env: {}, terminal: null } as const
    const ann = await bench.person('ann', 'developer', ['shop'])
    await assert.rejects(ann.open('shop', 'web', order), { code: 'operator.forbidden', message: /right exec on shop$/ })
    await assert.rejects(ann.order('shop', 'web', 'stop'), { code: 'operator.forbidden' })
    const ops = await bench.person('ops', 'operator', ['shop'])
    await assert.rejects(ops.open('blog', 'web', order), { code: 'operator.forbidden' })
    const stream = await ops.open('shop', 'web', order)
    await stream.write(Buffer.from('hello'))
    stream.end()
    const pieces = await Array.fromAsync(stream.pieces)
    assert.equal(Buffer.concat(pieces.map(({ bytes }) => bytes)).toString(), 'shop:hello')
    assert.equal((await stream.ended).code, 3)
    await ops.order('shop', 'web', 'stop')
    assert.deepEqual(bench.done, ['stop shop/web by ops'])
    const words = JSON.stringify(await bench.record())
    assert.match(words, /ops.*POST \/v1\/apps\/:app\/parts\/:part\/stream/)
  })

  test('looks into a program have two rights of their own, and no other way in', async () => {
    await using bench = await Bench.open()
    const stack = { kind: 'debug', instance: null, look: { what: 'stack' } } as const
    const debugger_ = { kind: 'debug', instance: null, look: { what: 'dap' } } as const
    const dev = await bench.person('dev', 'developer', ['shop'])
    for (const [order, right] of [
      [stack, /right debug on shop$/],
      [debugger_, /right evaluate on shop$/],
    ] as const)
      await assert.rejects(dev.open('shop', 'web', order), { code: 'operator.forbidden', message: right })

    const grant = { name: 'eve', role: 'viewer', apps: ['shop'], expiresAtMs: null, sshKeys: [] } as const
    await bench.owner.grant({ ...grant, rights: ['debug'] })
    const eve = await bench.with((await bench.owner.issueToken('eve', startMs + dayMs)).token)
    const seen = await eve.open('shop', 'web', stack)
    seen.end()
    await Array.fromAsync(seen.pieces)
    assert.equal((await seen.ended).code, 3)
    await assert.rejects(eve.open('shop', 'web', debugger_), { code: 'operator.forbidden' })
    // Whoever may see stacks cannot ask for a debugger at the door for stacks, nor whoever may run programs at theirs.
    for (const [right, way] of [
      ['debug', 'debug'],
      ['exec', 'stream'],
    ] as const) {
      await bench.owner.grant({ ...grant, rights: [right] })
      const at = { socketPath: eve.socketPath, token: (await bench.owner.issueToken('eve', startMs + dayMs)).token }
      const stream = await openStream(at, `/v1/apps/shop/parts/web/${way}`, debugger_, (cause) => cause)
      const ended = stream.ended
      await Array.fromAsync(stream.pieces)
      await assert.rejects(ended, { code: 'operator.bad-request' })
    }
    const words = JSON.stringify(await bench.record())
    assert.match(words, /eve.*POST \/v1\/apps\/:app\/parts\/:part\/debug/)
    assert.match(words, /dev.*parts\/:part\/evaluate/)
  })

  test('kernels have three rights, two of them on the platform itself, and each look is in the record', async () => {
    await using bench = await Bench.open()
    const gdb = { kind: 'machine', what: 'debugger' } as const
    const trace = (wish: TraceOrder['trace']): TraceOrder => ({
      kind: 'trace',
      node: null,
      trace: wish,
      durationMs: 2000,
    })
    const [reviewed, own] = [
      trace({ kind: 'reviewed', name: 'disk' }),
      trace({ kind: 'own', program: 'BEGIN { exit() }' }),
    ]
    const operator = await bench.person('ops', 'operator')
    await assert.rejects(operator.open('shop', 'web', gdb), { message: /right kernel on shop$/ })
    await assert.rejects(operator.trace(reviewed), { message: /right trace on the platform itself$/ })
    const taken = async (opening: Promise<RemoteStream>): Promise<void> => {
      const stream = await opening
      stream.end()
      await Array.fromAsync(stream.pieces)
      assert.equal((await stream.ended).code, 3)
    }
    const grant = { name: 'kay', role: 'viewer', expiresAtMs: null, sshKeys: [] } as const
    const as = async (rights: ('kernel' | 'trace' | 'trace-any')[], apps: string[] | null): Promise<OperatorClient> => {
      await bench.owner.grant({ ...grant, rights, apps })
      return await bench.with((await bench.owner.issueToken('kay', startMs + dayMs)).token)
    }
    const kernel = await as(['kernel'], ['shop'])
    await taken(kernel.open('shop', 'web', gdb))
    await assert.rejects(kernel.trace(reviewed), { code: 'operator.forbidden' })
    const some = await as(['trace'], null)
    await taken(some.trace(reviewed))
    await assert.rejects(some.trace(own), { message: /right trace-any on the platform itself$/ })
    const any = await as(['trace-any'], null)
    await taken(any.trace(reviewed))
    await taken(any.trace(own))
    const words = JSON.stringify(await bench.record())
    for (const found of [
      /kay.*debugger of its kernel/,
      /kay.*trace disk for 2 s/,
      /bpftrace BEGIN \{ exit\(\) \} for 2 s/,
    ])
      assert.match(words, found)
  })

  test('states of a machine are kept and gone back to by who may stop and start, which is in the record', async () => {
    await using bench = await Bench.open()
    const [ops, dev] = [await bench.person('ops', 'operator'), await bench.person('dev', 'developer')]
    const asked = { kind: 'machine', what: 'restore', name: 'before' } as const
    await assert.rejects(dev.open('shop', 'web', asked), { message: /right operate on shop$/ })
    for (const order of [asked, { kind: 'machine', what: 'snapshots' } as const]) {
      const stream = await ops.open('shop', 'web', order)
      stream.end()
      await Array.fromAsync(stream.pieces)
      assert.equal((await stream.ended).code, 3)
    }
    // What is asked at the door for states is nothing else, and states are asked for at no other.
    for (const [way, order] of [
      ['machine', { kind: 'machine', what: 'debugger' }],
      ['stream', asked],
    ] as const) {
      const at = { socketPath: ops.socketPath, token: (await bench.owner.issueToken('ops', startMs + dayMs)).token }
      const stream = await openStream(at, `/v1/apps/shop/parts/web/${way}`, order, (cause) => cause)
      const ended = stream.ended
      await Array.fromAsync(stream.pieces)
      await assert.rejects(ended, { code: 'operator.bad-request' })
    }
    assert.match(JSON.stringify(await bench.record()), /ops.*restore before of its machine/)
  })

  test('a stream whose asker says nothing more does not hold up the end', { timeout: 20_000 }, async () => {
    const bench = await Bench.open()
    const silent = connect({ path: bench.ownSocket, allowHalfOpen: true })
    const head = [
      'POST /v1/apps/shop/parts/web/stream HTTP/1.1',
      'host: stead',
      'connection: upgrade',
      'upgrade: stead-stream',
    ]
    silent.write(`${head.join('\r\n')}\r\n\r\n`)
    await once(silent, 'data')
    await bench[Symbol.asyncDispose]()
    silent.destroy()
  })

  test('an attachment, a profile and packets are in the record as what they are', async () => {
    await using bench = await Bench.open()
    const ops = await bench.person('ops', 'operator')
    const resume = { key: 'k'.repeat(20), seen: 3 }
    for (const order of [
      { kind: 'debug', instance: 'a1', look: { what: 'dap' }, traffic: 'keep' },
      { kind: 'debug', instance: null, look: { what: 'dap' }, resume },
      { kind: 'debug', instance: null, look: { what: 'profile', profile: 'wall', durationMs: 5000 } },
      { kind: 'capture', instance: null, durationMs: 1000, bytesMax: 1000, port: null },
      { kind: 'core', instance: null },
    ] satisfies PartStreamOrder[]) {
      const stream = await ops.open('shop', 'web', order)
      stream.end()
      await Array.fromAsync(stream.pieces)
    }
    const words = JSON.stringify(await bench.record())
    for (const found of [
      'debugger attached, requests are kept in instance a1',
      'debugger back again',
      'wall profile for 5 s',
      'packets for 1 s',
      'core file',
    ])
      assert.ok(words.includes(found), found)
  })

  test('whoever may see values may name what is there, and compute nothing; the record has the words', async () => {
    await using bench = await Bench.open()
    const snapshot = (expressions: readonly string[], condition: string | null = null): PartStreamOrder => ({
      kind: 'debug',
      instance: null,
      look: { what: 'snapshot', file: 'web.ts', line: 42, expressions, condition, hits: 1, timeMs: 1000 },
    })
    const grant = { name: 'val', role: 'viewer', apps: ['shop'], expiresAtMs: null, sshKeys: [] } as const
    for (const right of ['values', 'evaluate'] as const) {
      await bench.owner.grant({ ...grant, rights: [right] })
      const val = await bench.with((await bench.owner.issueToken('val', startMs + dayMs)).token)
      const seen = await val.open('shop', 'web', snapshot(['order.items[0].id', 'user']))
      seen.end()
      await Array.fromAsync(seen.pieces)
      assert.equal((await seen.ended).code, 3)
      if (right === 'evaluate') continue
      for (const order of [snapshot(['order.pay()']), snapshot(['x = 1']), snapshot(['user'], 'pay()')])
        await assert.rejects(val.open('shop', 'web', order), {
          code: 'operator.forbidden',
          message: /right evaluate on shop$/,
        })
    }
    const words = JSON.stringify(await bench.record())
    assert.match(words, /val.*snapshot web\.ts:42 order\.items\[0\]\.id, user/)
  })

  test('a single right is given beside a role', async () => {
    await using bench = await Bench.open()
    await bench.owner.grant({
      name: 'cy',
      role: 'viewer',
      rights: ['operate'],
      apps: ['blog'],
      expiresAtMs: null,
      sshKeys: [],
    })
    const { token } = await bench.owner.issueToken('cy', startMs + dayMs)
    await (await bench.with(token)).down('blog')
    assert.deepEqual(bench.done, ['down blog'])
  })

  test('tokens: unknown, missing, expired, revoked and of somebody who is gone', async () => {
    await using bench = await Bench.open()
    const ann = await bench.person('ann', 'viewer')
    assert.equal(await codeOf(bench.with('nonsense')), 'operator.unauthorized')
    assert.equal(await codeOf(bench.with(null)), 'operator.unauthorized')
    bench.clock.advance(2 * dayMs)
    await assert.rejects(ann.platform(), {
      code: 'operator.token-expired',
      message: /^this token of ann expired at 2026-03-02T/,
    })
    const second = await bench.person('ann', 'viewer')
    await second.platform()
    await bench.owner.revokeTokens('ann')
    assert.equal(await codeOf(second.platform()), 'operator.unauthorized')
    const third = await bench.person('ann', 'viewer')
    await bench.owner.removePerson('ann')
    assert.equal(await codeOf(third.platform()), 'operator.unauthorized')
    await bench.owner.grant({
      name: 'tim',
      role: 'viewer',
      rights: [],
      apps: null,
      expiresAtMs: bench.clock.nowMs() + 1000,
      sshKeys: [],
    })
    const { token } = await bench.owner.issueToken('tim', bench.clock.nowMs() + dayMs)
    const tim = await bench.with(token)
    bench.clock.advance(1000)
    await assert.rejects(tim.platform(), { code: 'operator.token-expired' })
  })

  test('the secret of a token cannot be guessed for long, and others are not held up', async () => {
    await using bench = await Bench.open()
    await bench.owner.grant({ name: 'ann', role: 'viewer', rights: [], apps: null, expiresAtMs: null, sshKeys: [] })
    const { token } = await bench.owner.issueToken('ann', startMs + dayMs)
    const bob = await bench.person('bob', 'viewer')
    const wrong = token.slice(0, -4) + (token.endsWith('AAAA') ? 'BBBB' : 'AAAA')
    const codes: string[] = []
    for (let tries = 0; tries < 12; tries += 1) codes.push(await codeOf(bench.with(wrong)))
    assert.equal(codes[0], 'operator.unauthorized')
    assert.equal(codes.at(-1), 'operator.too-many-tries')
    assert.equal(await codeOf(bench.with(token)), 'operator.too-many-tries')
    await bob.platform()
    bench.clock.advance(61_000)
    await bench.with(token)
  })

  test('what is under way ends when the right does', async () => {
    await using bench = await Bench.open()
    const dev = await bench.person('dev', 'developer')
    const lines = dev.logs('shop', null, { tail: null, follow: true, signal: new AbortController().signal })
    const reading = lines[Symbol.asyncIterator]()
    assert.equal((await reading.next()).done, false)
    const next = reading.next()
    await bench.owner.removePerson('dev')
    const end = await next.then(
      ({ done }) => done === true,
      () => true,
    )
    assert.ok(end)
  })

  test('a stream that nobody wants any more ends before it began', { timeout: 20_000 }, async () => {
    await using bench = await Bench.open()
    const abort = new AbortController()
    const lines = bench.owner.logs('shop', null, { tail: null, follow: true, signal: abort.signal })
    const first = lines[Symbol.asyncIterator]().next()
    abort.abort()
    assert.equal((await first).done, true)
  })

  test("nothing secret is kept, and the file is its owner's", async () => {
    await using bench = await Bench.open()
    await bench.person('ann', 'viewer')
    const path = join(bench.dir, 'gate', 'people.json')
    assert.equal(statSync(path).mode & 0o777, 0o600)
    const { token } = await bench.owner.issueToken('ann', startMs + dayMs)
    const kept = readFileSync(path, 'utf8')
    assert.ok(!kept.includes(token.slice(15)))
    const [ann] = await bench.owner.people()
    assert.equal(ann?.tokens.length, 2)
    assert.ok(!JSON.stringify(ann).includes('sha256'))
  })

  test('a name, a key and an expiry that are wrong are refused', async () => {
    await using bench = await Bench.open()
    const grant = { role: 'viewer', rights: [], apps: null, expiresAtMs: null, sshKeys: [] } as const
    for (const name of ['owner', 'Ann', '../x', 'a'.repeat(33)])
      await assert.rejects(bench.owner.grant({ ...grant, name }), { code: 'operator.bad-person' })
    for (const bad of [
      'ssh-ed25519',
      `command="sh" ${key}`,
      key.replace('ssh-ed25519 ', 'ssh-rsa '),
      `${key}\nssh-rsa AAAA`,
    ])
      await assert.rejects(bench.owner.grant({ ...grant, name: 'ann', sshKeys: [bad] }), { code: 'operator.bad-key' })
    await bench.owner.grant({ ...grant, name: 'ann', sshKeys: [key] })
    await assert.rejects(bench.owner.grant({ ...grant, name: 'bob', sshKeys: [key] }), { code: 'operator.key-taken' })
    await assert.rejects(bench.owner.removePerson('zoe'), { code: 'operator.unknown-person' })
    await assert.rejects(bench.owner.grant({ ...grant, name: 'ann', role: 'root' as never }), {
      code: 'operator.bad-request',
    })
  })

  test('an SSH key gets a line that starts nothing else, beside the lines that were there', async () => {
    await using bench = await Bench.open()
    const grant = { role: 'viewer', rights: [], apps: null, expiresAtMs: null } as const
    await bench.owner.grant({ ...grant, name: 'ann', sshKeys: [key] })
    const own = readFileSync(bench.keysPath, 'utf8')
    assert.match(
      own,
      /^command="\/opt\/stead\/current\/bin\/stead access serve --as ann",restrict ssh-ed25519 \S+ stead:ann$/m,
    )
    writeFileSync(bench.keysPath, `ssh-rsa mine\n${own}ssh-rsa other`)
    await bench.owner.removePerson('ann')
    assert.equal(readFileSync(bench.keysPath, 'utf8'), 'ssh-rsa mine\nssh-rsa other\n')
  })
})

test('a platform that is asked to end answers that before it does', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'op-'))
  const path = join(dir, 'own.sock')
  const done: string[] = []
  const operations = fakeOperations(done)
  const closing: Promise<void>[] = []
  const serving = await serveOperator(path, {
    ...operations,
    down() {
      closing.push(Promise.resolve(serving[Symbol.asyncDispose]()))
      return Promise.resolve()
    },
  })
  const client = await operatorClient(path)
  await client?.down('shop')
  assert.equal(closing.length, 1)
  await Promise.all(closing)
  assert.equal(await operatorClient(path), null)
  rmSync(dir, { recursive: true, force: true })
})

/** Asks as the entrance of SSH does: a connection that becomes a person's. */
async function become(path: string, person: string): Promise<{ socket: Socket; first: string; all: string }> {
  const socket = connect(path)
  socket.write(
    `GET /v1/as/${person} HTTP/1.1\r\nhost: stead\r\nconnection: upgrade\r\nupgrade: stead\r\nstead-from: ssh 192.0.2.7\r\n\r\n`,
  )
  const [chunk] = (await once(socket, 'data')) as [Buffer]
  const all = chunk.toString()
  return { socket, all, first: all.split('\r\n')[0] ?? '' }
}

suite('the entrance of SSH', () => {
  test("a connection becomes a person's, for good", async () => {
    await using bench = await Bench.open()
    await bench.owner.grant({ name: 'ann', role: 'viewer', rights: [], apps: ['blog'], expiresAtMs: null, sshKeys: [] })
    const { socket, first } = await become(bench.ownSocket, 'ann')
    assert.equal(first, 'HTTP/1.1 101 Switching Protocols')
    const asked = async (method: string, path: string): Promise<{ status: number; body: string }> => {
      const question = request({ createConnection: () => socket, method, path, headers: { connection: 'keep-alive' } })
      question.end()
      const [answer] = (await once(question, 'response')) as [Parameters<typeof text>[0] & { statusCode: number }]
      return { status: answer.statusCode, body: await text(answer) }
    }
    const { status, body } = await asked('GET', '/v1/platform')
    assert.equal(status, 200)
    assert.ok(body.includes('"blog"') && !body.includes('"shop"'))
    socket.destroy()
    const lines = await bench.record()
    assert.ok(
      lines.some(({ who, from, operation }) => who === 'ann' && from === 'ssh 192.0.2.7' && operation === 'login'),
    )
  })

  test("a connection that is a person's cannot become another's, nor can one with a token", async () => {
    await using bench = await Bench.open()
    await bench.owner.grant({ name: 'ann', role: 'viewer', rights: [], apps: null, expiresAtMs: null, sshKeys: [] })
    const { socket } = await become(bench.ownSocket, 'ann')
    socket.write('GET /v1/as/owner HTTP/1.1\r\nhost: stead\r\nconnection: upgrade\r\nupgrade: stead\r\n\r\n')
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    assert.match(chunk.toString(), /^HTTP\/1.1 404 /)
    socket.destroy()
    const other = connect(bench.openSocket)
    other.write('GET /v1/as/owner HTTP/1.1\r\nhost: stead\r\nconnection: upgrade\r\nupgrade: stead\r\n\r\n')
    const answer = once(other, 'data') as Promise<[Buffer]>
    assert.match((await answer)[0].toString(), /^HTTP\/1.1 401 /)
    other.destroy()
  })

  test('somebody whose access has ended is told so, and one who hangs up at once ends nothing', async () => {
    await using bench = await Bench.open()
    const grant = { name: 'tim', role: 'viewer', rights: [], apps: null, sshKeys: [] } as const
    await bench.owner.grant({ ...grant, expiresAtMs: startMs + 1000 })
    bench.clock.advance(1000)
    const { socket, all } = await become(bench.ownSocket, 'tim')
    assert.match(all, /the access of tim ended at 2026-03-01T12:00:01/)
    socket.destroy()
    for (let count = 0; count < 20; count += 1) {
      const hasty = connect(bench.ownSocket)
      hasty.write('GET /v1/as/tim HTTP/1.1\r\nhost: stead\r\nconnection: upgrade\r\nupgrade: stead\r\n\r\n')
      await once(hasty, 'connect')
      hasty.destroy()
    }
    await bench.owner.platform()
  })

  test('somebody who was removed is refused, though sshd still knows the key', async () => {
    await using bench = await Bench.open()
    const { socket, first } = await become(bench.ownSocket, 'gone')
    assert.match(first, /^HTTP\/1.1 401 /)
    socket.destroy()
  })
})

suite('what is recorded', () => {
  test('changes before and after, looks that need a right, refusals, logins; never what anybody may see', async () => {
    await using bench = await Bench.open()
    const ops = await bench.person('ops', 'operator')
    await ops.down('shop')
    await ops.status('shop')
    await assert.rejects(ops.down('nosuch'))
    await assert.rejects(ops.remove('shop'))
    const abort = new AbortController()
    for await (const _ of ops.logs('shop', 'web', { tail: 1, follow: true, signal: abort.signal })) abort.abort()
    const lines = await bench.record()
    const told = lines
      .filter(({ who }) => who === 'ops')
      .map(({ operation, app, part, outcome, code }) => `${operation} ${app} ${part} ${outcome} ${code}`)
    assert.deepEqual(told, [
      'POST /v1/apps/:app/down shop null begun null',
      'POST /v1/apps/:app/down shop null done null',
      'POST /v1/apps/:app/down nosuch null begun null',
      'POST /v1/apps/:app/down nosuch null failed operator.unknown-app',
      'DELETE /v1/apps/:app shop null refused operator.forbidden',
      'GET /v1/apps/:app/logs shop web done null',
    ])
    const [first, second] = lines.filter(({ who }) => who === 'ops')
    assert.equal(second?.of, first?.n)
    assert.ok(lines.some(({ operation, part }) => operation === 'PUT /v1/people/:person' && part === 'ops'))
    assert.equal((await bench.owner.verifyAudit(first?.hash ?? '')).intact, true)
    assert.equal((await bench.owner.verifyAudit('0'.repeat(64))).intact, false)
  })

  test('an admin of one app reads what happened to it, and a viewer nothing', async () => {
    await using bench = await Bench.open()
    const boss = await bench.person('boss', 'admin', ['blog'])
    await bench.owner.down('shop')
    await bench.owner.down('blog')
    const read = async (client: OperatorClient): Promise<(string | null)[]> =>
      (await Array.fromAsync(client.audit({ app: null, who: null, sinceMs: null }))).map(({ app }) => app)
    assert.deepEqual([...new Set(await read(boss))], ['blog'])
    assert.deepEqual(await read(await bench.person('vic', 'viewer')), [])
  })

  test('who comes and looks over and over is counted, and changes stay one by one', async () => {
    await using bench = await Bench.open()
    for (let count = 0; count < 30; count += 1) {
      const { socket } = await become(bench.ownSocket, 'owner')
      socket.destroy()
      await bench.owner.people()
    }
    await bench.owner.down('shop')
    bench.clock.advance(600_000)
    await bench.owner.people()
    const lines = await bench.record()
    const of = (operation: string): AuditLine[] => lines.filter((line) => line.operation === operation)
    assert.equal(of('login').length, 1)
    assert.equal(of('GET /v1/people').length, 11)
    assert.equal(of('GET /v1/people').at(-1)?.omitted, 20)
    assert.equal(of('POST /v1/apps/:app/down').length, 2)
  })

  test('a storm of refusals is counted, not written', async () => {
    await using bench = await Bench.open()
    const vic = await bench.person('vic', 'viewer')
    for (let tries = 0; tries < 80; tries += 1) await codeOf(vic.down('shop'))
    bench.clock.advance(61_000)
    await codeOf(vic.down('shop'))
    const refusals = (await bench.record()).filter(({ outcome }) => outcome === 'refused')
    assert.equal(refusals.length, 61)
    assert.equal(refusals.at(-1)?.omitted, 20)
  })
})
