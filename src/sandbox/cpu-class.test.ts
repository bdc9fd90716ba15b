/** Classes of CPU in words: what is checked, what `chrt` is told, which processor a core is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { planV1, planV2, controllersV1 } from './cgroup.ts'
import { chrtArguments, numbersIn, priorityOf, problemOfCpu, processorOf, type ReservedCpu } from './cpu-class.ts'

const reserved: ReservedCpu = {
  kind: 'reserved',
  runtimeUs: 1000,
  periodUs: 5000,
  deadlineUs: 4000,
  core: 0,
  policy: 'deadline',
}

test('a class that makes no sense is named', () => {
  assert.equal(problemOfCpu({ kind: 'best-effort' }), null)
  assert.equal(problemOfCpu(reserved), null)
  const wrong: readonly [Partial<ReservedCpu>, RegExp][] = [
    [{ runtimeUs: Number.NaN }, /whole microseconds/],
    [{ periodUs: 4000.5 }, /whole microseconds/],
    [{ runtimeUs: 1 }, /from 10 us/],
    [{ periodUs: 5_000_000 }, /at most 4000000 us/],
    [{ runtimeUs: 4001 }, /in this order/],
    [{ deadlineUs: 5001 }, /in this order/],
    [{ runtimeUs: 3900 }, /more than 95 %/],
    [{ core: -1 }, /core/],
  ]
  for (const [change, message] of wrong) assert.match(problemOfCpu({ ...reserved, ...change }) ?? '', message)
})

test('the words for chrt', () => {
  const deadline =
    '--deadline --reset-on-fork --sched-runtime 1000000 --sched-deadline 4000000 --sched-period 5000000 0'
  assert.equal(chrtArguments(reserved).join(' '), deadline)
  assert.equal(chrtArguments({ ...reserved, policy: 'fifo' }).join(' '), '--fifo 39')
})

test('the shorter the deadline, the higher the priority, within what there is', () => {
  const priorities = [10, 100, 1000, 5000, 50_000, 1_000_000, 4_000_000].map((deadlineUs) =>
    priorityOf({ ...reserved, deadlineUs }),
  )
  assert.deepEqual(
    priorities,
    priorities.toSorted((a, b) => b - a),
  )
  assert.equal(new Set(priorities).size, priorities.length)
  assert.ok(priorities.every((priority) => priority >= 1 && priority <= 99))
})

test('cores count from the last processor', () => {
  const processors = numbersIn('0-2,5,7-8\n')
  assert.deepEqual(processors, [0, 1, 2, 5, 7, 8])
  assert.deepEqual(numbersIn(''), [])
  assert.deepEqual(
    [0, 1, 5, 6].map((core) => processorOf(core, processors)),
    [8, 7, 0, null],
  )
})

test('best effort is an idle group in both versions, and nothing else is', () => {
  const place = { root: '/cg', parent: 'stead' }
  const limits = { memoryBytes: null, cpuCores: null, pidsMax: null }
  const writes = (cpuClass?: 'best-effort' | 'reserved'): string[][] =>
    [planV1(place, 'x', { ...limits, cpuClass }, controllersV1), planV2(place, 'x', { ...limits, cpuClass })].map(
      (plan) => plan.writes.map(({ path, value }) => `${path.split('/').at(-1)} ${value}`),
    )
  const [first, second] = writes('best-effort')
  assert.deepEqual(first, ['cpu.shares 2', 'cpu.idle 1'])
  assert.deepEqual(second?.slice(2), ['cpu.weight 1', 'cpu.idle 1'])
  assert.deepEqual(writes('reserved'), writes())
})
