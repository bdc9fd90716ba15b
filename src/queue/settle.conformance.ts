/** Conformance: a held message is settled once, by whoever holds it; what is not settled comes again; what is given up is kept. */
import assert from 'node:assert/strict'
import { sleep, systemClock } from '../base/index.ts'
import { jsonCodec } from './codec.ts'
import type { QueueCase } from './conformance.ts'
import {
  aborted,
  assertNothing,
  refuses,
  shortLeaseMs,
  sorted,
  take,
  takeOne,
  until,
  values,
} from './helpers.conformance.ts'

export const settleCases: readonly QueueCase[] = [
  {
    name: 'what is given back comes again at once, with the next attempt',
    needs: ['retry', 'attempt-count'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      for (const value of values(5)) await queue.send(value)
      for (const message of await take(queue, 5)) await message.retry()
      const again = await take(queue, 5)
      assert.deepEqual(sorted(again.map(({ value }) => value)), sorted(values(5)))
      assert.ok(again.every(({ attempt }) => attempt === 2))
      for (const message of again) await message.ack()
      await assertNothing(queue)
    },
  },
  {
    name: 'what is given back without counting keeps its attempt',
    needs: ['uncounted-retry', 'attempt-count'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      await queue.send(1)
      await (await takeOne(queue)).retry()
      for (const _round of values(3)) {
        const message = await takeOne(queue)
        assert.equal(message.attempt, 2)
        await message.retry({ countAsFailure: false })
      }
      await (await takeOne(queue)).ack()
    },
  },
  {
    name: 'what is given back for a time does not come sooner',
    needs: ['delayed-retry'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      await queue.send(1)
      const message = await takeOne(queue)
      const fromMs = systemClock.monotonicMs()
      await message.retry({ delayMs: 1500 })
      await queue.send(2)
      const first = await takeOne(queue)
      // On a machine that is slow enough its time is over by now.
      const late = systemClock.monotonicMs() - fromMs >= 1499
      assert.ok(first.value === 2 || late, 'it came too soon, or keeps others back')
      assert.deepEqual(new Set([first.value, (await takeOne(queue)).value]), new Set([1, 2]))
      assert.ok(systemClock.monotonicMs() - fromMs >= 1499, 'it came too soon')
    },
  },
  {
    name: 'settling twice the same way is no error, another way is, and the queue goes on',
    needs: ['retry'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      for (const value of values(3)) await queue.send(value)
      const [first, second, third] = await take(queue, 3)
      assert.ok(first !== undefined && second !== undefined && third !== undefined)
      await Promise.all([first.ack(), first.ack()])
      await first.ack()
      await refuses('queue.already-settled', () => first.retry())
      await second.ack()
      await third.retry()
      await refuses('queue.already-settled', () => third.ack())
      const again = await takeOne(queue)
      assert.equal(again.id, third.id)
      await again.ack()
      await assertNothing(queue)
      assert.equal(queue.metrics().acked, 3)
    },
  },
  {
    name: 'a lease that runs out gives the message to the next one',
    needs: ['lease', 'attempt-count'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      await queue.send(1)
      const lost = await takeOne(queue, shortLeaseMs)
      const message = await takeOne(queue)
      assert.deepEqual([message.id, message.attempt], [lost.id, 2])
      await message.ack()
    },
  },
  {
    name: 'the settlement of a holder whose lease is over is refused, and that of the new one counts',
    needs: ['fencing', 'retry', 'dead-letter'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      for (const value of values(3)) await queue.send(value)
      const lost = await take(queue, 3, shortLeaseMs)
      const held = await take(queue, 3)
      const [first, second, third] = lost
      assert.ok(first !== undefined && second !== undefined && third !== undefined)
      const { signal } = first
      await refuses('queue.lease-lost', () => first.ack())
      assert.ok(signal.aborted && first.signal.aborted, 'the holder is not told by its signal')
      await refuses('queue.lease-lost', () => first.ack())
      await refuses('queue.lease-lost', () => second.retry())
      await refuses('queue.lease-lost', () => third.reject('too late'))
      for (const message of held) await message.ack()
      await assertNothing(queue)
      assert.deepEqual([queue.metrics().leaseLost, queue.metrics().acked], [3, 3])
    },
  },
  {
    name: 'a lease that is extended holds, and ends when it is extended no more',
    needs: ['lease-extension', 'lease'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      await queue.send(1)
      const message = await takeOne(queue, 4 * shortLeaseMs)
      for (const _round of values(5)) {
        await sleep(systemClock, shortLeaseMs)
        await message.extend(4 * shortLeaseMs)
      }
      await assertNothing(queue, 0)
      assert.equal((await takeOne(queue)).id, message.id)
    },
  },
  {
    name: 'a handler that works longer than its lease keeps its message',
    needs: ['lease-extension', 'lease'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      await queue.send(1)
      let starts = 0
      const work = async (): Promise<void> => {
        starts += 1
        await sleep(systemClock, 4 * shortLeaseMs)
      }
      const consumers = [1, 2].map(() => queue.consume(work, { leaseMs: shortLeaseMs }))
      await until('it is done', () => queue.metrics().acked === 1)
      await Promise.all(consumers.map((consumer) => consumer.drain()))
      assert.equal(starts, 1)
    },
  },
  {
    name: 'a handler that keeps the event loop busy longer than its lease keeps its message',
    needs: ['steady-lease', 'lease'],
    alone: true,
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      await queue.send(1)
      let starts = 0
      const consumer = queue.consume(
        () => {
          starts += 1
          const endMs = systemClock.monotonicMs() + 3 * shortLeaseMs
          while (systemClock.monotonicMs() < endMs);
        },
        { leaseMs: shortLeaseMs },
      )
      await until('it is done', () => queue.metrics().acked + queue.metrics().leaseLost > 0)
      await consumer.drain()
      assert.deepEqual([starts, queue.metrics().acked, queue.metrics().leaseLost], [1, 1, 0])
    },
  },
  {
    name: 'a handler that takes too long has failed: its signal aborts and its message is tried again',
    needs: ['retry', 'lease-extension'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec, { retry: { firstDelayMs: 0 } })
      await queue.send(1)
      const attempts: number[] = []
      const consumer = queue.consume(
        async ({ attempt, signal }) => {
          attempts.push(attempt)
          if (attempt > 1) return
          await aborted(signal)
        },
        { timeoutMs: 1500, leaseMs: shortLeaseMs },
      )
      await until('the second attempt is done', () => queue.metrics().acked === 1)
      await consumer.drain()
      assert.deepEqual([attempts, queue.metrics().handlerTimedOut], [[1, 2], 1])
    },
  },
  {
    name: 'handlers that fail keep nothing back: all of the others arrive',
    needs: ['retry'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec, { retry: { firstDelayMs: 0, attemptsMax: 100 } })
      for (const value of values(50)) await queue.send(value)
      let failures = 0
      const done: unknown[] = []
      const consumer = queue.consume(({ value }) => {
        if (failures < 60 && Number(value) % 5 === 0) {
          failures += 1
          throw new Error('not yet')
        }
        done.push(value)
      })
      await until('all are done', () => queue.metrics().acked === 50)
      await consumer.drain()
      assert.equal(new Set(done).size, 50)
      assert.equal(queue.metrics().handlerFailed, failures)
    },
  },
  {
    name: 'a message whose handlers fail, run out of time and vanish is started as often as allowed, then dead with its cause',
    needs: ['retry', 'lease', 'dead-letter', 'attempt-count'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec, { retry: { attemptsMax: 4, firstDelayMs: 0 } })
      await queue.send({ poison: true }, { id: 'poison', headers: { 'x-kept': 'yes' } })
      // The first start is of a consumer that vanishes.
      await takeOne(queue, shortLeaseMs)
      const starts: number[] = []
      const consumer = queue.consume(
        async ({ attempt, signal }) => {
          starts.push(attempt)
          if (attempt === 3) await aborted(signal)
          throw new Error(`broken in attempt ${attempt}`)
        },
        { timeoutMs: 1000 },
      )
      await until('it is dead', () => queue.metrics().rejected === 1)
      await consumer.drain()
      await assertNothing(queue)
      assert.deepEqual(starts, [2, 3, 4])
      const [dead, ...rest] = await queue.deadLetters.peek()
      assert.deepEqual(rest, [])
      assert.deepEqual([dead?.id, dead?.cause, dead?.attempt], ['poison', 'broken in attempt 4', 4])
      assert.deepEqual({ ...dead?.headers }, { 'x-kept': 'yes' })
      assert.equal(Buffer.from(dead?.body ?? '').toString(), '{"poison":true}')
    },
  },
  {
    name: 'a message whose last consumer vanished is dead without another start',
    needs: ['lease', 'dead-letter', 'attempt-count'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec, { retry: { attemptsMax: 1 } })
      await queue.send(1)
      await takeOne(queue, shortLeaseMs)
      let starts = 0
      const consumer = queue.consume(() => void (starts += 1))
      await until('it is dead', () => queue.metrics().rejected === 1)
      await consumer.drain()
      assert.equal(starts, 0)
    },
  },
  {
    name: 'dead messages go back under their own id with attempts at zero, all or chosen ones, or are deleted',
    needs: ['dead-letter', 'redrive', 'attempt-count', 'purge'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      for (const id of ['a', 'b', 'c', 'd']) await queue.send(id, { id })
      for (const message of await take(queue, 4)) await message.reject(`because of ${message.id}`)
      await assertNothing(queue)
      const dead = await queue.deadLetters.peek()
      assert.deepEqual(
        dead.map(({ id, cause }) => `${id}: ${cause}`),
        ['a', 'b', 'c', 'd'].map((id) => `${id}: because of ${id}`),
      )
      assert.equal(await queue.deadLetters.redrive({ ids: ['b', 'unknown'] }), 1)
      const message = await takeOne(queue)
      assert.deepEqual([message.id, message.value, message.attempt], ['b', 'b', 1])
      await message.ack()
      assert.equal(await queue.deadLetters.redrive({ max: 2 }), 2)
      const back = await take(queue, 2)
      assert.deepEqual(sorted(back.map(({ id }) => id)), sorted(['a', 'c']))
      for (const one of back) await one.ack()
      assert.equal(await queue.deadLetters.purge(), 1)
      assert.deepEqual(await queue.deadLetters.peek(), [])
      await assertNothing(queue)
    },
  },
]
