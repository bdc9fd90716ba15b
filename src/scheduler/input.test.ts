/** What cannot be is refused with its place, and changes nothing. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { isSteadError } from '../base/index.ts'
import { Scheduler, type Event, type JobSpec, type NodeSpec } from './index.ts'

const node: NodeSpec = { name: 'n1', capacity: { cpu: 4, memory: '8GiB', gpus: { model: 'A', count: 2 } } }

function fresh(): Scheduler {
  const scheduler = new Scheduler()
  scheduler.apply({ atMs: 0, kind: 'add-nodes', nodes: [node] })
  return scheduler
}

function refused(event: Event, code: string, message: RegExp): void {
  const scheduler = fresh()
  scheduler.apply({ atMs: 0, kind: 'submit', jobs: [{ name: 'there', needs: { cpu: 1 } }] })
  assert.throws(
    () => scheduler.apply(event),
    (error) => isSteadError(error) && error.code === code && message.test(error.message),
  )
  // Nothing of it stays: the same again says the same, and what fits still fits.
  assert.throws(
    () => scheduler.apply(event),
    (error) => isSteadError(error) && error.code === code,
  )
  const decisions = scheduler.apply({ atMs: 10, kind: 'submit', jobs: [{ name: 'after', needs: { cpu: 3 } }] })
  assert.deepEqual(decisions, [{ kind: 'place', task: 'after', node: 'n1' }])
}

function badJob(job: Partial<JobSpec>, message: RegExp, code = 'scheduler.bad-input'): void {
  refused({ atMs: 1, kind: 'submit', jobs: [{ name: 'bad', needs: { cpu: 1 }, ...job }] }, code, message)
}

suite('bad input', () => {
  test('numbers that are none, negative, or no whole unit', () => {
    for (const cpu of [Number.NaN, -1, Infinity, 0.00001, '1.5.2', '', '-1', '1 m'])
      badJob({ needs: { cpu } }, /cpu of job 'bad'/)
    for (const memory of [Number.NaN, -1, 0.5, 2 ** 60]) badJob({ needs: { memory } }, /memory of job 'bad'/)
    for (const count of [Number.NaN, 0, -1, 1.5, 2e6]) badJob({ count }, /count of job 'bad'/)
    for (const priority of [Number.NaN, 0.5, Infinity]) badJob({ priority }, /priority of job 'bad'/)
    badJob({ timeLimitMs: 0 }, /timeLimitMs/)
    badJob({ spread: [{ by: 'zone', skewMax: 0 }] }, /skewMax/)
    badJob({ latency: [{ to: { app: 'a' }, usMax: Number.NaN }] }, /usMax/)
    refused({ atMs: Number.NaN, kind: 'time' }, 'scheduler.bad-input', /atMs/)
  })

  test('unknown units, options and words', () => {
    for (const memory of ['2Gb', '2gib', '2G', '2 GiB']) badJob({ needs: { memory } }, /KiB, MiB, GiB/)
    badJob({ needs: { network: '10Mbps' } }, /Mbit\/s/)
    badJob(JSON.parse('{"needs":{"cpus":1}}') as Partial<JobSpec>, /one of cpu, memory/)
    badJob(JSON.parse('{"nedes":{}}') as Partial<JobSpec>, /an option of job 'bad' must be one of name/)
    badJob(JSON.parse('{"spread":[{"by":"row","skewMax":1}]}') as Partial<JobSpec>, /node, rack, zone/)
    badJob(
      JSON.parse('{"needs":{"memory":1,"bestEffort":["memory"]}}') as Partial<JobSpec>,
      /only these can be squeezed/,
    )
    badJob({ needs: { gpu: { count: 1, milli: 500 } } }, /either a count or milli/)
    badJob({ name: 'a/b' }, /printable/)
    badJob({ part: 'web' }, /named beside its part/)
  })

  test('names that are taken, and names that nobody has', () => {
    badJob({ name: 'there' }, /a job called 'there'/, 'scheduler.duplicate-name')
    refused({ atMs: 1, kind: 'add-nodes', nodes: [node] }, 'scheduler.duplicate-name', /a node called 'n1'/)
    const twice = { name: 'twice', needs: {} }
    refused({ atMs: 1, kind: 'submit', jobs: [twice, twice] }, 'scheduler.duplicate-name', /twice/)
    badJob({ after: [{ job: 'nobody' }] }, /nobody/, 'scheduler.unknown-name')
    badJob({ reservation: 'none' }, /none/, 'scheduler.unknown-name')
    for (const task of ['nobody', 'there/0', 'bad/1', 'there/'])
      refused({ atMs: 1, kind: 'end', task, outcome: 'success' }, 'scheduler.unknown-name', /task/)
    refused({ atMs: 1, kind: 'drain', node: 'n9' }, 'scheduler.unknown-name', /n9/)
  })

  test('jobs that wait for one another', () => {
    const jobs = ['a', 'b', 'c'].map((name, index, names) => ({
      name,
      needs: {},
      after: [{ job: names[(index + 1) % 3] ?? '' }],
    }))
    refused({ atMs: 1, kind: 'submit', jobs }, 'scheduler.cycle', /a -> b -> c -> a/)
    badJob({ after: [{ job: 'bad' }] }, /bad -> bad/, 'scheduler.cycle')
  })

  test('what no node could ever hold', () => {
    badJob(
      { needs: { cpu: 5 } },
      /needs 5 cores, and the largest node that it accepts has 4 cores/,
      'scheduler.impossible',
    )
    badJob({ needs: { memory: '9GiB' } }, /9 GiB memory/, 'scheduler.impossible')
    badJob({ needs: { gpu: { count: 3 } } }, /needs 3 GPUs/, 'scheduler.impossible')
    badJob({ needs: { gpu: { count: 1, models: ['B'] } } }, /GPU model \(B\)/, 'scheduler.impossible')
    badJob({ needs: { counted: { licence: 1 } } }, /1 licence/, 'scheduler.impossible')
    badJob({ needs: { cpuTime: { runtimeUs: 1, periodUs: 2 } } }, /reserves CPU time/, 'scheduler.impossible')
    badJob({ count: 5, gang: true, needs: { cpu: 1 } }, /4 of its 5 tasks/, 'scheduler.impossible')
    badJob({ count: 2, gang: true, onePerNode: true, needs: {} }, /1 of its 2 tasks/, 'scheduler.impossible')
    badJob({ clockErrorNsMax: 100 }, /clock bound/, 'scheduler.impossible')
  })

  test('more tasks than there can be', () => {
    const scheduler = new Scheduler()
    for (let index = 0; index < 16; index++)
      scheduler.apply({ atMs: 0, kind: 'submit', jobs: [{ name: `j${index}`, count: 1_000_000, needs: { cpu: 1 } }] })
    const more: Event = { atMs: 0, kind: 'submit', jobs: [{ name: 'more', needs: {} }] }
    assert.throws(() => scheduler.apply(more), /tasks that wait or run: at most 16000000/)
    scheduler.apply({ atMs: 0, kind: 'cancel', job: 'j0' })
    scheduler.apply(more)
  })

  test('what fell due before a refused event is told with the next one', () => {
    const scheduler = fresh()
    scheduler.apply({ atMs: 0, kind: 'submit', jobs: [{ name: 'a', needs: { cpu: 4 }, timeLimitMs: 10 }] })
    assert.throws(() => scheduler.apply({ atMs: 20, kind: 'drain', node: 'nowhere' }), /nowhere/)
    assert.deepEqual(scheduler.apply({ atMs: 21, kind: 'submit', jobs: [{ name: 'b', needs: { cpu: 4 } }] }), [
      { kind: 'stop', task: 'a', node: 'n1', reason: 'time-limit' },
      { kind: 'place', task: 'b', node: 'n1' },
    ])
  })

  test('an event of the past', () => {
    const scheduler = fresh()
    scheduler.apply({ atMs: 5, kind: 'time' })
    assert.throws(() => scheduler.apply({ atMs: 4, kind: 'time' }), /4 ms came after one of 5 ms/)
  })

  test('a cluster without nodes refuses nothing, and says why it waits', () => {
    const scheduler = new Scheduler()
    assert.deepEqual(scheduler.apply({ atMs: 0, kind: 'submit', jobs: [{ name: 'a', needs: { cpu: 99 } }] }), [])
    assert.match(scheduler.explain('a').sentence, /there are no nodes/)
  })
})
