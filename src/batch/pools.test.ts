/** Nodes that a pool speaks for: what it is told, that its beats keep them, and what follows when it comes again. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeOffer, PoolNode, PoolUpward, TaskExit } from '../protocol/index.ts'
import { recordsOf } from './fixtures/records.ts'
import { BatchCore, type BatchEvent, submissionDefaults, type Tell } from './index.ts'
import { Pools, poolSilenceMs } from './pools.ts'

const offer: NodeOffer = { cpu: 2, memoryBytes: 2 ** 33, gpus: null, labels: {}, address: '127.0.0.1' }
const well: TaskExit = { cause: 'code', code: 0, signal: null, sentence: 'ended with code 0' }

/** A core, a pool called `p`, and what that is told. */
class Rig {
  readonly core = BatchCore.restore(recordsOf(new Map()), 0)
  readonly pools = new Pools()
  nowMs = 1000
  told: Tell[] = []

  apply(events: readonly BatchEvent[]): void {
    for (const event of events) this.core.apply(event, this.nowMs)
    for (const [speaker, tell] of this.core.take().tells) {
      assert.equal(speaker, 'p')
      this.told.push(tell)
    }
  }

  hear(message: PoolUpward): void {
    this.apply(this.pools.hear('p', message, this.nowMs))
  }

  have(names: readonly string[], running: readonly string[] = []): void {
    const nodes = names.map((name) => ({ name, offer }))
    this.hear({ type: 'pool-have', nodes, running, ended: [], jobs: [], last: true })
  }

  submit(count: number): void {
    const array = { ranges: [{ from: 0, to: count - 1, step: 1 }], atMost: null }
    const submission = { ...submissionDefaults, name: 'x', argv: ['true'], array }
    this.apply([{ kind: 'submit', submission, by: 'ann' }])
  }

  /** Which task was to start on which node, since it was asked last. */
  starts(): string[] {
    return this.told.splice(0).flatMap((tell) => tell.start.map(({ task, node }) => `${task} ${node ?? ''}`))
  }

  present(): string[] {
    return this.core.nodes
      .all()
      .filter(({ present }) => present)
      .map(({ node }) => node)
  }
}

test('a pool is told the tasks of its nodes, and their job once', () => {
  const rig = new Rig()
  rig.have(['p.a', 'p.b'])
  rig.submit(3)
  assert.deepEqual(
    rig.told.map(({ jobs }) => jobs.length),
    [1],
  )
  assert.deepEqual(rig.starts(), ['1-0-1 p.a', '1-1-1 p.a', '1-2-1 p.b'])
  rig.apply([{ kind: 'ended', ended: [{ task: '1-0-1', endedMs: rig.nowMs, exit: well }] }])
  assert.equal(rig.core.ledger.need(1).tasks.at(0).phase, 'succeeded')
})

test('nobody speaks for the nodes of others', () => {
  const rig = new Rig()
  rig.have(['p.a', 'q.a', 'local', 'p'])
  assert.deepEqual(rig.present(), ['p.a'])
})

test('a node that falls silent is away, and comes back with its next beat', () => {
  const rig = new Rig()
  rig.have(['p.a', 'p.b'])
  rig.nowMs += poolSilenceMs
  rig.hear({ type: 'pool-beats', nodes: [1, 7] })
  assert.deepEqual(rig.pools.silent(rig.nowMs), [])
  rig.nowMs += 1
  rig.apply(rig.pools.silent(rig.nowMs))
  assert.deepEqual(rig.present(), ['p.b'])
  assert.deepEqual(rig.pools.silent(rig.nowMs), [], 'it is said once')
  rig.submit(4)
  assert.deepEqual(rig.starts(), ['1-0-1 p.b', '1-1-1 p.b'])
  rig.hear({ type: 'pool-beats', nodes: [0] })
  assert.deepEqual(rig.starts(), ['1-2-1 p.a', '1-3-1 p.a'])
  rig.apply(rig.pools.gone('p'))
  assert.deepEqual(rig.present(), [])
})

test('a pool that comes again is told what it missed, and ends what is not ours', () => {
  const rig = new Rig()
  rig.have(['p.a', 'p.b'])
  rig.submit(2)
  assert.deepEqual(rig.starts(), ['1-0-1 p.a', '1-1-1 p.a'])
  rig.apply(rig.pools.gone('p'))
  rig.have(['p.a', 'p.b'], ['1-0-1', '9-0-1'])
  assert.deepEqual(
    rig.told.flatMap(({ stop }) => stop.map(({ task }) => task)),
    ['9-0-1'],
  )
  assert.deepEqual(rig.starts(), ['1-1-1 p.a'])
})

test('nodes of a pool share records, and a new control knows them from these', () => {
  const store = new Map<string, unknown>()
  const keep = (core: BatchCore): void => {
    for (const [key, value] of core.take().writes)
      if (value === null) store.delete(key)
      else store.set(key, value)
  }
  const large = { ...offer, cpu: 4 }
  const node = (index: number): PoolNode => ({ name: `p.${index}`, offer: index % 2 === 0 ? offer : large })
  const core = BatchCore.restore(recordsOf(store), 0)
  const nodes = Array.from({ length: 1200 }, (_, index) => node(index))
  for (let from = 0; from < 1200; from += 300)
    core.apply({ kind: 'pool-came', pool: 'p', nodes: nodes.slice(from, from + 300) }, 0)
  keep(core)
  assert.deepEqual([...store.keys()].toSorted(), ['batch/pool/p/0', 'batch/pool/p/1', 'batch/pool/p/2'])

  const next = BatchCore.restore(recordsOf(store), 0)
  assert.deepEqual(
    next.nodes.all().map(({ node: name, offer: { cpu }, present }) => ({ name, cpu, present })),
    nodes.map(({ name, offer: { cpu } }) => ({ name, cpu, present: false })),
  )
  // All of the second record are lost; one of the first has something else, and a new one comes.
  for (let index = 500; index < 1000; index++) next.apply({ kind: 'node-lost', node: `p.${index}` }, 0)
  const changed = { name: 'p.0', offer: { ...offer, cpu: 16 } }
  next.apply({ kind: 'pool-came', pool: 'p', nodes: [changed, node(1), node(5000)] }, 0)
  keep(next)
  assert.deepEqual([...store.keys()].toSorted(), ['batch/pool/p/0', 'batch/pool/p/2'])
  const last = new Map(
    BatchCore.restore(recordsOf(store), 0)
      .nodes.all()
      .map((known) => [known.node, known.offer.cpu]),
  )
  assert.equal(last.size, 701)
  assert.deepEqual([last.get('p.0'), last.get('p.1'), last.get('p.5000'), last.get('p.500')], [16, 4, 2, undefined])
})
