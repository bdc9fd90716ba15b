/** What is remembered of an app: uptime, samples, what failed while something was broken; and the changes that pages are told. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Status } from '../operator/index.ts'
import type { FaultStatus } from '../protocol/index.ts'
import { History, sampleMs, samplesMax } from './history.ts'
import { stateOf } from './state.ts'
import { synthetic } from './synthetic.test-helper.ts'
import { applied, difference } from './wire.ts'

const { operations } = synthetic({ count: 2 })
const well = operations.status('shop')

function withPhase(part: string, phase: Status['parts'][number]['phase']): Status {
  return { ...well, parts: well.parts.map((own) => (own.part === part ? { ...own, phase } : own)) }
}

suite('history', () => {
  test('uptime counts from the first time a part was ready', () => {
    const history = new History()
    history.observe(withPhase('part-0', 'starting'), 0)
    assert.equal(history.uptime()['part-0'], undefined)
    history.observe(well, 1000)
    history.observe(withPhase('part-0', 'backing-off'), 4000)
    assert.deepEqual(history.uptime()['part-0'], { readyMs: 3000, totalMs: 3000, atMs: 4000, ready: false })
    history.observe(well, 5000)
    assert.deepEqual(history.uptime()['part-0'], { readyMs: 3000, totalMs: 4000, atMs: 5000, ready: true })
    assert.equal(history.uptime()['part-1']?.readyMs, 0, 'a part that was never away is told once')
  })

  test('a part that goes for good is forgotten, and an app that is down is not ready', () => {
    const history = new History()
    history.observe(well, 0)
    history.observe({ ...well, wanted: false }, 1000)
    assert.equal(history.uptime()['part-0']?.ready, false)
    history.observe({ ...well, parts: [] }, 2000)
    assert.deepEqual(history.uptime(), {})
  })

  test('samples are bounded; processor time becomes cores', () => {
    const history = new History()
    for (let round = 0; round < samplesMax + 20; round += 1) {
      const parts = well.parts.map((part) => ({ ...part, cpuSeconds: round * (sampleMs / 1000) * 0.25 }))
      history.observe({ ...well, parts }, round * sampleMs)
      history.observe({ ...well, parts }, round * sampleMs + 1)
    }
    assert.equal(history.samples().length, samplesMax)
    assert.ok(Math.abs((history.samples().at(-1)?.cpuCores['part-0'] ?? 0) - 0.25) < 0.001)
  })

  test('what resources count becomes a rate; one that starts anew has none', () => {
    const history = new History()
    const counting = (total: number): Status => ({
      ...well,
      parts: well.parts.map((part, at) =>
        at === 0 ? { ...part, metrics: { bucket_reads_total: total, bucket_objects: total } } : part,
      ),
    })
    for (const [round, total] of [10, 60, 5].entries()) history.observe(counting(total), round * sampleMs)
    assert.deepEqual(
      history.samples().map(({ counted }) => counted),
      [
        { 'part-0': { bucket_objects: 10 } },
        { 'part-0': { bucket_objects: 60, bucket_reads_total: 50 / (sampleMs / 1000) } },
        { 'part-0': { bucket_objects: 5 } },
      ],
    )
  })

  test('what fails at the way in while a fault lasts is counted, also when it is told a little late, and not after', () => {
    const history = new History()
    const fault = { id: 'f', app: 'shop', endedMs: null, sinceMs: 0, untilMs: 9 } as FaultStatus
    const at = (errors: number, faults: readonly FaultStatus[]): Status => ({
      ...well,
      faults,
      traffic: [
        { from: null, to: 'part-0', requestsPerSecond: 1, errorsPerSecond: 0, requests: 9, errors, p50Ms: 1, p99Ms: 1 },
      ],
    })
    history.observe(at(5, [fault]), 0)
    history.observe(at(9, [fault]), 1000)
    history.observe(at(11, [{ ...fault, endedMs: 1500 }]), 2000)
    history.observe(at(20, [{ ...fault, endedMs: 1500 }]), 9000)
    assert.equal(history.faults(at(20, [{ ...fault, endedMs: 1500 }]))['f']?.requestsFailed, 6)
    history.observe(at(20, []), 10_000)
    assert.deepEqual(history.faults(at(20, [])), {})
  })

  test('a page that takes every change has the state of the server', () => {
    const history = new History()
    const graph = operations.graph('shop')
    const before = stateOf(graph, well, history)
    assert.equal(difference(before, stateOf(graph, well, history)), null)
    const statuses = [
      withPhase('part-1', 'unready'),
      { ...well, parts: well.parts.slice(1), release: 2 },
      { ...well, wanted: false, parts: [] },
    ]
    let page = before
    for (const [index, status] of statuses.entries()) {
      history.observe(status, index * 1000)
      const after = stateOf(graph, status, history)
      const delta = difference(page, after)
      assert.ok(delta !== null)
      page = applied(page, JSON.parse(JSON.stringify(delta)) as typeof delta)
      assert.deepEqual(page, after)
      assert.equal(page.shape, before.shape, 'what has not changed is not drawn anew')
    }
    assert.ok(!JSON.stringify(page).includes('never told'), "a part's environment stays here")
  })
})
