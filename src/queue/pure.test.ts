/** The pure parts: settling, retrying, judging, checking needs; and the gather, with a driver that fails. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { isSteadError, ManualClock } from '../base/index.ts'
import { checkNeeds, emulated, native, refused } from './capability.ts'
import type { Capabilities } from './capability.ts'
import type { Decision } from './driver.ts'
import { embeddedCapabilities } from './drivers/ledger/capabilities.ts'
import { Together } from './drivers/together.ts'
import { valkeyTarget } from './drivers/valkey/names.ts'
import { failure } from './errors.ts'
import { Gather } from './gather.ts'
import { judge } from './history.ts'
import type { HistoryEvent } from './history.ts'
import { pauseMs } from './patience.ts'
import { defaultRetry, retryDelayMs, retryPolicy } from './retry.ts'
import { answered, stepOf, told } from './settle.ts'
import type { Standing, Step } from './settle.ts'

suite('settling', () => {
  const decisions: readonly Decision['kind'][] = ['ack', 'retry', 'reject', 'extend']
  const table: readonly [Standing, readonly Step[]][] = [
    [{ kind: 'held' }, ['tell', 'tell', 'tell', 'tell']],
    [{ kind: 'settling', by: 'ack' }, ['join', 'already-settled', 'already-settled', 'already-settled']],
    [{ kind: 'settling', by: 'retry' }, ['already-settled', 'join', 'already-settled', 'already-settled']],
    [{ kind: 'settled', by: 'ack' }, ['nothing', 'already-settled', 'already-settled', 'already-settled']],
    [{ kind: 'settled', by: 'reject' }, ['already-settled', 'already-settled', 'nothing', 'already-settled']],
    [{ kind: 'lost' }, ['lease-lost', 'lease-lost', 'lease-lost', 'lease-lost']],
  ]
  for (const [standing, steps] of table) {
    test(`a message that is ${standing.kind}${'by' in standing ? ` by ${standing.by}` : ''}`, () => {
      assert.deepEqual(
        decisions.map((decision) => stepOf(standing, decision)),
        steps,
      )
    })
  }

  test('answers move it on; a failed settlement can be made again', () => {
    const held: Standing = { kind: 'held' }
    assert.deepEqual(told(held, 'extend'), held)
    const settling = told(held, 'ack')
    assert.deepEqual(answered(settling, 'ack', 'done'), { kind: 'settled', by: 'ack' })
    assert.deepEqual(answered(settling, 'ack', 'lost'), { kind: 'lost' })
    assert.deepEqual(answered(settling, 'ack', 'error'), held)
    assert.deepEqual(answered(held, 'extend', 'lost'), { kind: 'lost' })
    // An extension that is answered after the settlement began says nothing about the settlement.
    assert.deepEqual(answered(settling, 'extend', 'lost'), settling)
  })
})

test('delays grow to their limit, and the last attempt has none', () => {
  const policy = retryPolicy({ attemptsMax: 4, firstDelayMs: 100, factor: 10, delayMsMax: 5000, jitter: 0 })
  assert.deepEqual(
    [1, 2, 3, 4, 5].map((attempt) => retryDelayMs(policy, attempt, 0.5)),
    [100, 1000, 5000, null, null],
  )
  assert.equal(retryDelayMs({ ...policy, jitter: 0.5 }, 1, 0.5), 75)
  assert.deepEqual(retryPolicy(), defaultRetry)
  for (const bad of [{ attemptsMax: 0 }, { factor: 0 }, { jitter: 2 }, { firstDelayMs: Number.NaN }]) {
    assert.throws(() => retryPolicy(bad), { code: 'queue.bad-input' })
  }
  assert.deepEqual([1, 2, 3, 100].map(pauseMs), [20, 40, 80, 2000])
})

test('everything that is missing is named at once, with what to do', () => {
  const capabilities: Capabilities = {
    ...embeddedCapabilities,
    priority: refused('it has none', 'Use another.'),
    fencing: refused('it cannot know', 'Make handlers idempotent.'),
    lease: emulated('somehow'),
    retry: native,
  }
  checkNeeds('x', 'X 1', capabilities, ['retry', 'lease'])
  assert.throws(
    () => checkNeeds('x', 'X 1', capabilities, ['retry', 'priority', 'fencing']),
    (error) => {
      assert.ok(isSteadError(error) && error.code === 'queue.unsupported')
      assert.equal(error.message, 'queues on x (X 1) cannot do: priority (it has none); fencing (it cannot know)')
      assert.equal(error.hint, 'Use another. Make handlers idempotent.')
      return true
    },
  )
})

suite('judging a history', () => {
  const sent = (n: number): HistoryEvent => ({ kind: 'sent', key: 'k', n })
  const started = (n: number): HistoryEvent => ({ kind: 'started', key: 'k', n })
  const trouble: HistoryEvent = { kind: 'trouble', inHandMax: 1 }

  test('what is right', () => {
    const history = [sent(1), sent(2), started(1), trouble, started(1), started(2)]
    assert.deepEqual(judge(history, { ordered: true }), [])
  })
  test('a loss', () => assert.deepEqual(judge([sent(1), sent(2), started(2)], { ordered: true }), ['k/1 was lost']))
  test('an overtaking', () => {
    const history = [sent(1), sent(2), started(2), started(1)]
    assert.deepEqual(judge(history, { ordered: true }), ['k/1 was started after k/2'])
    assert.deepEqual(judge(history, { ordered: false }), [])
  })
  test('a repetition that nothing explains', () => {
    const history = [sent(1), started(1), started(1), started(1), trouble]
    assert.deepEqual(judge(history, { ordered: false }), ['2 were started again, and trouble explains 1'])
  })
})

suite('gathering', () => {
  const limits = { itemsMax: 3, bytesMax: 100, flightsMax: 1, waitingMax: 5, waitingBytesMax: 1000 }
  const submitted = (gather: Gather<number, number>, item: number, bytes = 1): Promise<number> =>
    new Promise((resolve, reject) => gather.submit(item, bytes, { resolve, reject }))

  test('what comes in one turn leaves together, in order, in calls within the limits', async () => {
    const calls: (readonly number[])[] = []
    const gather = new Gather<number, number>('things', limits, async (items) => {
      calls.push(items)
      return items.map((item) => item * 2)
    })
    const results = await Promise.all([1, 2, 3, 4].map((item) => submitted(gather, item, item === 4 ? 200 : 1)))
    assert.deepEqual(results, [2, 4, 6, 8])
    assert.deepEqual(calls, [[1, 2, 3], [4]])
    await gather.idle()
  })

  test('more than may wait is refused, and a failed call fails its own items alone', async () => {
    let fail = true
    const gather = new Gather<number, number>('things', limits, async (items) => {
      if (fail) throw failure('unavailable', 'away', 'wait')
      return items
    })
    const outcomes = await Promise.allSettled([1, 2, 3, 4, 5, 6].map((item) => submitted(gather, item)))
    assert.deepEqual(
      outcomes.map((outcome) =>
        outcome.status === 'rejected' && isSteadError(outcome.reason) ? outcome.reason.code : '',
      ),
      [...Array.from({ length: 5 }, () => 'queue.unavailable'), 'queue.overloaded'],
    )
    fail = false
    assert.equal(await submitted(gather, 7), 7)
  })
})

suite('one call after the other', () => {
  /** What each call got; `end` ends the one that is under way. */
  function server(itemsMax: number, clock: ManualClock) {
    const calls: number[] = []
    let end = (): void => {}
    const together = new Together<number, number>(clock, itemsMax, async (_, items) => {
      calls.push(items.length)
      await new Promise<void>((resolve) => (end = resolve))
      return items
    })
    const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))
    return { together, calls, turn, end: async (): Promise<void> => (end(), turn()) }
  }
  const some = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index)

  test('those who were answered come along in the next call', async () => {
    const clock = new ManualClock()
    const { together, calls, turn, end } = server(1000, clock)
    const first = together.submit('a', some(250))
    const second = together.submit('a', some(750))
    await turn()
    clock.advance(8)
    await end()
    assert.deepEqual(await first, some(250))
    // Half as long as the call took, the next waits for as many as were answered.
    clock.advance(3)
    await turn()
    assert.deepEqual(calls, [250])
    const again = together.submit('a', some(250))
    await turn()
    assert.deepEqual(calls, [250, 1000])
    await end()
    assert.deepEqual(await second, some(750))
    assert.deepEqual(await again, some(250))
  })

  test('who does not come is not waited for longer than that', async () => {
    const clock = new ManualClock()
    const { together, calls, turn, end } = server(1000, clock)
    void together.submit('a', some(10))
    const second = together.submit('a', some(1))
    await turn()
    clock.advance(8)
    await end()
    clock.advance(4)
    await turn()
    assert.deepEqual(calls, [10, 1])
    await end()
    assert.deepEqual(await second, some(1))
  })

  test('one who is alone is never waited with', async () => {
    const clock = new ManualClock()
    const { together, calls, turn, end } = server(1000, clock)
    for (let count = 1; count <= 3; count += 1) {
      const sent = together.submit('a', some(1))
      await turn()
      assert.equal(calls.length, count)
      clock.advance(8)
      await end()
      assert.deepEqual(await sent, some(1))
    }
  })
})

test('the URL of a Valkey says whether it is encrypted, by either name', () => {
  const plain = { host: '127.0.0.1', port: 6379, db: 0 }
  for (const url of ['valkey://127.0.0.1', 'redis://127.0.0.1']) assert.deepEqual(valkeyTarget(url), plain)
  for (const protocol of ['valkeys', 'rediss']) {
    assert.deepEqual(valkeyTarget(`${protocol}://cache.example.org:7000/2`), {
      host: 'cache.example.org',
      port: 7000,
      db: 2,
      tls: { servername: 'cache.example.org' },
    })
    // No name of a host to ask a certificate for.
    assert.deepEqual(valkeyTarget(`${protocol}://127.0.0.1`), { ...plain, tls: {} })
  }
  assert.deepEqual(valkeyTarget('valkey://a:b%20c@[::1]/'), { ...plain, host: '::1', username: 'a', password: 'b c' })
  assert.throws(() => valkeyTarget('http://127.0.0.1'), { code: 'queue.bad-input' })
})
