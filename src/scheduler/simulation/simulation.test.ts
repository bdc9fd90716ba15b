/** Traces in virtual time: what the orders do to waiting, and that promises are kept. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Dice } from '../../../test/scheduler/dice.ts'
import { isSteadError } from '../../base/index.ts'
import { Scheduler, type JobSpec, type Order } from '../index.ts'
import { simulationSvg, simulationTable } from './show.ts'
import { simulate } from './simulate.ts'
import { compressed, readSwf, readTrace, type Trace } from './trace.ts'

const swf = `; MaxProcs: 4
; a comment
1 0 -1 100 3 -1 -1 3 100 -1 1 7 1 -1 -1 -1 -1 -1
2 10 -1 50 4 -1 -1 4 60 -1 1 8 1 -1 -1 -1 -1 -1
3 20 -1 60 1 -1 -1 1 -1 -1 1 7 1 -1 -1 -1 -1 -1
4 30 -1 0 1 -1 -1 1 -1 -1 0 7 1 -1 -1 -1 -1 -1
`

/** A machine that has more to do than it can: many small and short jobs, and some that want almost all of it. */
function crowded(seed: number, count: number): Trace {
  const dice = new Dice(seed)
  let submitMs = 0
  const jobs = Array.from({ length: count }, (_, index) => {
    submitMs += dice.number(450_000)
    const large = dice.percent(20)
    const runMs = 1000 * (large ? 100 + dice.number(2000) : 5 + dice.number(300))
    const cpu = large ? 8 + dice.number(9) : 1 + dice.number(4)
    const timeLimitMs = runMs * (1 + dice.number(3))
    return { submitMs, runMs, spec: { name: `j${index}`, needs: { cpu }, timeLimitMs } }
  })
  return { nodes: [{ name: 'n', capacity: { cpu: 16, memory: 0 } }], jobs }
}

suite('simulation', () => {
  test('a log in the standard format, by hand', () => {
    const trace = readSwf(swf)
    assert.equal(trace.jobs.length, 3)
    const easy = simulate(trace, { order: 'easy' })
    // Job 1 runs 0 .. 100; job 3 goes ahead at 20 .. 80, before job 2 at 100 .. 150.
    assert.deepEqual([easy.ended, easy.endMs, easy.longestWaitMs], [3, 150_000, 90_000])
    const fcfs = simulate(trace, { order: 'fcfs' })
    assert.deepEqual([fcfs.ended, fcfs.endMs, fcfs.meanWaitMs], [3, 210_000, (90_000 + 130_000) / 3])
    assert.throws(() => readSwf('1 2 3'), /line 1 of the log must be 18 numbers/)
  })

  test('our own format, and what is none', () => {
    const trace = readTrace(JSON.stringify(crowded(1, 10)))
    assert.equal(simulate(trace, {}).ended, 10)
    for (const text of ['', '{}', '{"nodes":[],"jobs":[{"submitMs":0}]}'])
      assert.throws(
        () => readTrace(text),
        (error) => isSteadError(error) && error.code === 'scheduler.bad-input',
      )
  })

  test('backfilling makes waits far shorter, EASY and conservative alike', () => {
    const slowdowns = (['fcfs', 'conservative', 'easy'] as const).map((order) =>
      [1, 2, 3].map((seed) => simulate(crowded(seed, 300), { order }).meanBoundedSlowdown).reduce((a, b) => a + b),
    )
    const [fcfs = 0, conservative = 0, easy = 0] = slowdowns
    // Which of the two is ahead by a little is a matter of the jobs; see scripts/simulate.ts for a real log.
    assert.ok(fcfs > 3 * conservative && easy < 1.1 * conservative, slowdowns.join(', '))
  })

  test('the same trace gives the same result, and both outputs name it', () => {
    const trace = compressed(crowded(4, 100), 2)
    const results = [
      ['first', simulate(trace, { order: 'easy' })],
      ['<second>', simulate(trace, { order: 'easy' })],
    ] as const
    assert.deepEqual(results[0][1], results[1][1])
    assert.match(simulationTable(results), /first +100 +0/)
    assert.match(simulationSvg('a & b', results), /a &amp; b[\s\S]*&lt;second>/)
  })

  for (const order of ['easy', 'conservative'] satisfies Order[])
    test(`a promised start is never later, ${order}`, () => {
      for (let seed = 0; seed < 20; seed++) keepsPromises(seed, order)
    })
})

/** Arrays, gangs and single jobs on several nodes; every promise is written down and held against what happened. */
function keepsPromises(seed: number, order: Order): void {
  const dice = new Dice(seed)
  const scheduler = new Scheduler({ order })
  const nodes = Array.from({ length: 3 }, (_, index) => ({ name: `n${index}`, capacity: { cpu: 4, memory: 8 } }))
  scheduler.apply({ atMs: 0, kind: 'add-nodes', nodes })
  const ends: { atMs: number; task: string }[] = []
  const run = new Map<string, number>()
  const promised = new Map<string, number>()
  const waiting = new Set<string>()
  let nowMs = 0
  let promises = 0
  const follow = (decisions: ReturnType<Scheduler['apply']>): void => {
    for (const decision of decisions) {
      if (decision.kind !== 'place') continue
      const job = decision.task.split('/')[0] ?? ''
      if (waiting.delete(job))
        assert.ok(
          nowMs <= (promised.get(job) ?? Infinity),
          `seed ${seed}: ${job} started at ${nowMs}, promised ${promised.get(job)}`,
        )
      ends.push({ atMs: nowMs + (run.get(job) ?? 0), task: decision.task })
    }
    for (const job of waiting) {
      const atMs = scheduler.promisedMs(job)
      const before = promised.get(job)
      assert.ok(
        before === undefined || (atMs !== null && atMs <= before),
        `seed ${seed}: ${job} was promised ${before}, then ${atMs}`,
      )
      if (atMs === null) continue
      promised.set(job, atMs)
      promises++
    }
  }
  for (let step = 0; step < 60; step++) {
    const submitMs = nowMs + dice.number(20)
    ends.sort((a, b) => a.atMs - b.atMs)
    for (let end = ends[0]; end !== undefined && end.atMs <= submitMs; end = ends[0]) {
      ends.shift()
      nowMs = end.atMs
      follow(scheduler.apply({ atMs: nowMs, kind: 'end', task: end.task, outcome: 'success' }))
      ends.sort((a, b) => a.atMs - b.atMs)
    }
    nowMs = submitMs
    const name = `j${step}`
    const timeLimitMs = 10 + dice.number(100)
    const gang = dice.percent(30)
    const job: JobSpec = {
      name,
      needs: { cpu: 1 + dice.number(4), memory: dice.number(4) },
      timeLimitMs,
      ...(gang ? { gang, count: 1 + dice.number(3), onePerNode: dice.percent(50) } : {}),
    }
    run.set(name, Math.max(1, timeLimitMs - dice.number(30)))
    waiting.add(name)
    try {
      follow(scheduler.apply({ atMs: nowMs, kind: 'submit', jobs: [job] }))
    } catch (error) {
      if (!isSteadError(error)) throw error
      waiting.delete(name)
    }
  }
  assert.ok(promises > 0, 'nobody ever waited')
}
