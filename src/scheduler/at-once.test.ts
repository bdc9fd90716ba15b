/** An array with a bound of its own: no more of it run at once, it holds nobody up, and it says why it waits. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Order, Scheduler } from './index.ts'

for (const order of ['greedy', 'fcfs', 'easy', 'conservative'] satisfies Order[])
  test(`an array runs as many at once as it says (${order})`, () => {
    const scheduler = new Scheduler({ order })
    scheduler.apply({ atMs: 0, kind: 'add-nodes', nodes: [{ name: 'n', capacity: { cpu: 4, memory: '1GiB' } }] })
    const bounded = { name: 'a', count: 5, atOnceMax: 2, needs: { cpu: 1 }, timeLimitMs: 100 }
    const placed = scheduler.apply({ atMs: 1, kind: 'submit', jobs: [bounded] })
    assert.deepEqual(
      placed.map((decision) => 'task' in decision && decision.task),
      ['a/0', 'a/1'],
    )
    assert.match(scheduler.explain('a/4').sentence, /runs 2 tasks, and may run no more at once/)
    const other = scheduler.apply({ atMs: 2, kind: 'submit', jobs: [{ name: 'b', count: 2, needs: { cpu: 1 } }] })
    assert.equal(other.length, 2, 'what stands behind it is not held up')
    for (const position of [0, 1, 2]) {
      const next = scheduler.apply({ atMs: 3 + position, kind: 'end', task: `a/${position}`, outcome: 'success' })
      assert.deepEqual(next, [{ kind: 'place', task: `a/${position + 2}`, node: 'n' }])
    }
    assert.deepEqual(scheduler.apply({ atMs: 9, kind: 'end', task: 'a/3', outcome: 'success' }), [])
  })

test('a bound of a gang is refused, and so is one that is no number', () => {
  const scheduler = new Scheduler()
  const submit = (more: object): void => {
    scheduler.apply({ atMs: 0, kind: 'submit', jobs: [{ name: 'j', count: 2, needs: {}, ...more }] })
  }
  assert.throws(() => submit({ gang: true, atOnceMax: 1 }), { code: 'scheduler.bad-input', message: /atOnceMax/ })
  for (const atOnceMax of [0, -1, 1.5, Number.NaN])
    assert.throws(() => submit({ atOnceMax }), { code: 'scheduler.bad-input' })
})
