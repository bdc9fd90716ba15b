/**
 * Control and two agents in networks of their own: parts land on both, reach each other, and go on through cut wires and
 * kill -9 of anything. At no moment does an instance run twice.
 */
import assert from 'node:assert/strict'
import { cpSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import type { AppView } from '../src/control/index.ts'
import type { Graph, ServicePart, Use } from '../src/model/index.ts'
import type { AssignmentStatus } from '../src/protocol/index.ts'
import { Cluster, type Member } from './cluster/cluster.ts'
import { needsNamespaces } from './cluster/network.ts'
import { processesNaming, programsOf, watchPrograms } from './cluster/programs.ts'
import { eventually } from './command-line.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'

const root = needsRoot()
const skip = needsAll(root, needsFile('/usr/bin/python3', 'apt-get install python3'), root || needsNamespaces())

/** Everything that waits for a node to be missed or to be back takes seconds. */
const longMs = 60_000

function service(name: string, replicas: number, uses: readonly Use[]): ServicePart {
  return {
    kind: 'service',
    name,
    from: '.',
    run: ['python3', 'serve.py'],
    env: {},
    uses,
    limits: { memoryBytes: 128 * 1024 * 1024, cpuCores: 1, pidsMax: 64 },
    egress: [],
    tripwire: 'off',
    http: 8000,
    ready: { kind: 'http', path: '/', statusBelow: 500, timeoutMs: 30_000 },
    replicas,
    onSecretChange: 'restart',
  }
}

/** `web` on both nodes; it uses `solo`, which is on one of them, and `ledger`, which is at home on `n1`. */
function graphOf(app: string): Graph {
  const uses = ['ledger', 'solo'].map((part) => ({ as: part, part }))
  const ledger = { kind: 'resource', name: 'ledger', type: 'ledger', config: null, files: null } as const
  return { version: 1, app, parts: [ledger, service('solo', 1, []), service('web', 2, uses)], routes: [] }
}

interface Seen {
  readonly id: string
  readonly part: string
  readonly node: string
  readonly bundle: string
  readonly status: AssignmentStatus | null
}

async function instances(control: Member, app: string): Promise<Seen[]> {
  const view = await control.ask<AppView | null>('view', { app })
  return (view?.instances ?? []).map(({ record, status }) => {
    return { id: record.id, part: record.part.name, node: record.node, bundle: record.bundle, status }
  })
}

/** Waits until exactly what is wanted runs, all of it ready and from this bundle. */
async function settled(control: Member, app: string, bundle: string): Promise<Seen[]> {
  const seen = await eventually(
    `${bundle.slice(0, 8)} everywhere`,
    () => instances(control, app),
    (all) => all.length === 3 && all.every((one) => one.bundle === bundle && one.status?.phase === 'ready'),
    longMs,
  )
  return seen.toSorted((a, b) => (a.id < b.id ? -1 : 1))
}

function connected(control: Member, wanted: Readonly<Record<string, boolean>>): Promise<unknown> {
  return eventually(
    `nodes: ${JSON.stringify(wanted)}`,
    () => control.ask<{ name: string; connected: boolean }[]>('nodes'),
    (nodes) => Object.entries(wanted).every(([name, is]) => nodes.find((node) => node.name === name)?.connected === is),
    longMs,
  )
}

/** Asks an instance by the endpoint that its node reports, from the network of a member. */
async function ask<T>(from: Member, one: Seen, path: string): Promise<T> {
  const endpoint = one.status?.endpoint
  assert.ok(endpoint?.kind === 'tcp', `${one.id} is reached over TCP: ${JSON.stringify(endpoint)}`)
  return from.ask<T>('get', { host: endpoint.host, port: endpoint.port, path })
}

/** Process ids by instance. */
const pidsOf = (seen: readonly Seen[]): object => Object.fromEntries(seen.map((one) => [one.id, one.status?.pid]))

suite('a cluster of two nodes', { skip }, () => {
  test('runs, is cut, loses everything in turn, and comes together again', async (t) => {
    await using cluster = new Cluster(['n1', 'n2'])
    const { app, network } = cluster
    const graph = graphOf(app)
    let control = await cluster.control('a')
    let n1 = await cluster.agent('n1')
    const n2 = await cluster.agent('n2')
    await connected(control, { n1: true, n2: true })
    // While a change is under way, the old and the new version may be there whole.
    using watch = watchPrograms(app, { solo: 2, web: 4 })
    const first = await control.ask<string>('apply', { graph, from: cluster.code('1'), home: 'n1' })
    let seen = await settled(control, app, first)

    await t.test('replicas land on both nodes, which fetch the bundle they lack', () => {
      const nodes = seen.filter((one) => one.part === 'web').map((one) => one.node)
      assert.deepEqual(nodes.toSorted(), ['n1', 'n2'])
      assert.ok(cluster.has('n1', first) && cluster.has('n2', first))
    })

    await t.test('parts reach each other by name, on their own node and on the other', async () => {
      const solo = seen.find((one) => one.part === 'solo')
      for (const web of seen.filter((one) => one.part === 'web')) {
        const answer = await ask<{ instance: string; asked: { instance: string } }>(control, web, '/solo')
        assert.deepEqual([answer.instance, answer.asked.instance], [web.id, solo?.id], `from ${web.node}`)
        const { asked } = await ask<{ asked: string }>(control, web, '/ledger')
        assert.equal(asked, 'ledger', `from ${web.node}`)
      }
    })

    await t.test('control is killed and started again: nothing restarts', async () => {
      await control.end('SIGKILL')
      control = await cluster.control('a')
      await connected(control, { n1: true, n2: true })
      assert.deepEqual(pidsOf(await settled(control, app, first)), pidsOf(seen))
    })

    const web1 = seen.find((one) => one.part === 'web' && one.node === 'n1')
    assert.ok(web1 !== undefined)
    const own = (): number[] => programsOf(app).flatMap(({ pid, instance }) => (instance === web1.id ? [pid] : []))
    const readyOnItsNode = async (pid: number): Promise<unknown> =>
      eventually(
        `${web1.id} is ready on n1`,
        () => n1.ask<AssignmentStatus[]>('statuses'),
        (all) => all.some((status) => status.id === web1.id && status.phase === 'ready' && status.pid === pid),
      )

    await t.test('a node that is cut goes on: its instances run, are restarted, and found by a new agent', async () => {
      network.cut('n1')
      await connected(control, { n1: false, n2: true })
      const [before = 0] = own()
      assert.equal(before, web1.status?.pid, 'it goes on')

      process.kill(before, 'SIGKILL')
      const [restarted = 0] = await eventually(
        'the agent restarts it',
        () => Promise.resolve(own()),
        ([pid]) => pid !== undefined && pid !== before,
      )
      await readyOnItsNode(restarted)

      await n1.end('SIGKILL')
      assert.deepEqual(own(), [restarted], 'it outlives its agent')
      const plan = readFileSync(join(cluster.stateOf('n1'), 'agent', 'plan.json'), 'utf8')
      assert.ok(plan.includes('sealed') && !plan.includes(web1.id), 'the plan is on disk, sealed')
      n1 = await cluster.agent('n1')
      await readyOnItsNode(restarted)
      assert.deepEqual(own(), [restarted], 'and is found again')
    })

    let second = ''
    await t.test('a change made meanwhile: the rest follows at once, the cut node when it is back', async () => {
      second = await control.ask<string>('apply', { graph, from: cluster.code('2') })
      await eventually(
        'the connected node has the new version',
        () => instances(control, app),
        (all) => all.some((one) => one.bundle === second && one.node === 'n2' && one.status?.phase === 'ready'),
        longMs,
      )
      assert.equal(own().length, 1, 'what is cut goes on')
      network.mend('n1')
      seen = await settled(control, app, second)
      await connected(control, { n1: true, n2: true })
      assert.deepEqual(own(), [])
      const running = programsOf(app).map(({ instance }) => instance)
      assert.deepEqual(
        running.toSorted(),
        seen.map((one) => one.id),
      )
    })

    await t.test('the node that was away takes part in the next change', async () => {
      const third = await control.ask<string>('apply', { graph, from: cluster.code('3') })
      seen = await settled(control, app, third)
      const webs = seen.filter((one) => one.part === 'web')
      assert.deepEqual(webs.map((one) => one.node).toSorted(), ['n1', 'n2'])
      for (const web of webs) {
        const { version, asked } = await ask<{ version: string; asked: { version: string } }>(control, web, '/solo')
        assert.deepEqual([version, asked.version], ['3', '3'])
      }
      second = third
    })

    await t.test('a control of an older epoch is refused; the newest one wins', async () => {
      assert.equal(await control.end('SIGTERM'), 0)
      cpSync(cluster.stateOf('control'), cluster.stateOf('old'), { recursive: true })
      for (const name of ['b', 'c']) await (await cluster.control(name)).end('SIGTERM')
      control = await cluster.control('d')
      await connected(control, { n1: true, n2: true })
      assert.deepEqual(pidsOf(await settled(control, app, second)), pidsOf(seen))
      await eventually(
        'the new epoch is on disk',
        () => Promise.resolve(['n1', 'n2'].map((node) => epochOf(cluster, node))),
        ([one, two]) => one !== undefined && one === two && one >= 4,
      )
      await control.end('SIGKILL')

      const old = await cluster.control('a', 'old')
      await old.ask('apply', { graph, from: cluster.code('4') }).catch(() => {})
      for (const agent of [n1, n2])
        await eventually(
          'the old one is refused',
          () => Promise.resolve(agent.notices.join('\n')),
          (notices) => notices.includes("an older control's"),
          longMs,
        )
      assert.deepEqual(Object.fromEntries(programsOf(app).map(({ pid, instance }) => [instance, pid])), pidsOf(seen))
      await old.end('SIGKILL')
      control = await cluster.control('d')
      await connected(control, { n1: true, n2: true })
      assert.deepEqual(pidsOf(await settled(control, app, second)), pidsOf(seen))
    })

    await t.test('a stop ends everything, and nothing is left', async () => {
      await control.ask('stop', { app })
      await eventually(
        'all programs end',
        () => Promise.resolve(programsOf(app)),
        (programs) => programs.length === 0,
        longMs,
      )
      for (const member of [n1, n2, control]) assert.equal(await member.end('SIGTERM'), 0)
      assert.deepEqual(processesNaming(cluster.dir), [])
      assert.deepEqual(watch.wrong, [])
    })
  })
})

function epochOf(cluster: Cluster, node: string): number {
  const plan = JSON.parse(readFileSync(join(cluster.stateOf(node), 'agent', 'plan.json'), 'utf8')) as { epoch: number }
  return plan.epoch
}
