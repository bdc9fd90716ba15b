/** Conformance: order, priority, delay and duplicates: what is promised about which message comes when, and how often. */
import assert from 'node:assert/strict'
import { sleep, systemClock } from '../base/index.ts'
import { jsonCodec } from './codec.ts'
import type { QueueCase } from './conformance.ts'
import { assertNothing, shortLeaseMs, take, takeOne, until, values } from './helpers.conformance.ts'

export const orderCases: readonly QueueCase[] = [
  {
    name: 'messages of one key come in their order and one at a time, whatever the number of workers',
    needs: ['ordering-key'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      const keys = ['a', 'b', 'c', 'd', 'e']
      for (const n of values(40)) await Promise.all(keys.map((key) => queue.send([key, n], { key })))
      const seen: Record<string, unknown[]> = {}
      const busy = new Set<string>()
      const consumers = [1, 2, 3, 4].map(() =>
        queue.consume(
          async ({ value, key }) => {
            assert.ok(key !== null && Array.isArray(value) && !busy.has(key), 'two of a key at once')
            busy.add(key)
            await sleep(systemClock, 1)
            ;(seen[key] ??= []).push(value[1])
            busy.delete(key)
          },
          { concurrency: 4 },
        ),
      )
      await until('all are done', () => queue.metrics().acked === 200)
      await Promise.all(consumers.map((consumer) => consumer.drain()))
      for (const key of keys) assert.deepEqual(seen[key], values(40), `the order of ${key}`)
    },
  },
  {
    name: 'a message of a key is kept back while the one before it is held, and others are not',
    needs: ['ordering-key'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      await queue.send(1, { key: 'k' })
      await queue.send(2, { key: 'k' })
      await queue.send('other', { key: 'o' })
      await queue.send('free')
      const messages = await take(queue, 3)
      assert.deepEqual(new Set(messages.map(({ value }) => value)), new Set([1, 'other', 'free']))
      await assertNothing(queue)
      for (const message of messages) await message.ack()
      assert.equal((await takeOne(queue)).value, 2)
    },
  },
  {
    name: 'the order of a key also holds when a message is given back, delayed, lost or dead',
    needs: ['ordering-key', 'order-after-retry', 'delayed-retry', 'lease', 'dead-letter'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      for (const value of [1, 2, 3]) await queue.send(value, { key: 'k' })
      await (await takeOne(queue)).retry()
      const second = await takeOne(queue)
      assert.deepEqual([second.value, second.attempt], [1, 2])
      await second.retry({ delayMs: 300 })
      const third = await takeOne(queue, shortLeaseMs)
      assert.deepEqual([third.value, third.attempt], [1, 3])
      const fourth = await takeOne(queue)
      assert.deepEqual([fourth.value, fourth.attempt], [1, 4])
      await fourth.reject('enough')
      for (const value of [2, 3]) {
        const message = await takeOne(queue)
        assert.equal(message.value, value)
        await message.ack()
      }
    },
  },
  {
    name: 'what waits comes by priority, and of one priority in the order it was sent',
    needs: ['priority'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      for (const priority of [0, 5, 9, 1, 5]) {
        await queue.send(`${priority}-first`, { priority })
        await queue.send(`${priority}-second`, { priority })
      }
      const order: unknown[] = []
      for (const _each of values(10)) {
        const message = await takeOne(queue)
        order.push(message.value)
        await message.ack()
      }
      const expected = ['9-first', '9-second', '5-first', '5-second', '5-first', '5-second', '1-first', '1-second']
      assert.deepEqual(order, [...expected, '0-first', '0-second'])
    },
  },
  {
    name: 'a delayed message does not come sooner, keeps nothing back, and also comes after opening again',
    needs: ['delayed-send'],
    async run(place) {
      const fromMs = systemClock.monotonicMs()
      {
        await using queues = await place.open()
        const queue = await queues.declare('mail', jsonCodec)
        await queue.send('late', { delayMs: 2500 })
        await queue.send('now')
        const message = await takeOne(queue)
        // On a machine that is slow enough its time is over by now, and this shows nothing.
        const late = systemClock.monotonicMs() - fromMs >= 2499
        assert.ok(message.value === 'now' || late, 'it came too soon, or keeps others back')
        if (message.value === 'late') return
        await message.ack()
        const nothing = await queue.receive({ waitMs: 0 })
        assert.ok(nothing.length === 0 || systemClock.monotonicMs() - fromMs >= 2499, 'it came too soon')
        if (nothing.length > 0) return
        if (place.elsewhere === null) {
          assert.equal((await takeOne(queue)).value, 'late')
          assert.ok(systemClock.monotonicMs() - fromMs >= 2499, 'it came too soon')
          return
        }
      }
      await using again = await place.open()
      assert.equal((await takeOne(await again.declare('mail', jsonCodec))).value, 'late')
      assert.ok(systemClock.monotonicMs() - fromMs >= 2499, 'it came too soon')
    },
  },
  {
    name: 'a key that was sent within the window is not queued again, and its sender is told',
    needs: ['dedup-key'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      const other = await queues.declare('other', jsonCodec)
      const dedup = { key: 'order-7', ms: 2000 }
      const fromMs = systemClock.monotonicMs()
      const results = await Promise.all(values(10).map((value) => queue.send(value, { dedup })))
      assert.equal(results.filter(({ duplicate }) => !duplicate).length, 1)
      assert.equal(new Set(results.map(({ id }) => id)).size, 1, 'a duplicate names the message that was there')
      assert.equal((await other.send(1, { dedup })).duplicate, false, 'the keys of another queue')
      // Also when the first one is gone, as long as the window lasts.
      await (await takeOne(queue)).ack()
      const again = await queue.send('again', { dedup })
      // On a machine so slow that the window is over by now nothing can be said of it.
      if (systemClock.monotonicMs() - fromMs < dedup.ms) assert.equal(again.duplicate, true)
      if (again.duplicate) await assertNothing(queue)
      else await (await takeOne(queue)).ack()
      await sleep(systemClock, 2500)
      assert.equal((await queue.send('after', { dedup })).duplicate, false)
      assert.equal((await takeOne(queue)).value, 'after')
      const { sent, duplicates } = queue.metrics()
      assert.deepEqual([sent, duplicates], again.duplicate ? [2, 10] : [3, 9])
    },
  },
]
