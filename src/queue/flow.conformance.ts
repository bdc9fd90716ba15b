/** Conformance: nobody is flooded: bounds on both sides, pausing, draining; and the figures are the truth. */
import assert from 'node:assert/strict'
import { isSteadError, messageOf, sleep, systemClock } from '../base/index.ts'
import { jsonCodec } from './codec.ts'
import type { QueueCase } from './conformance.ts'
import { aborted, assertNothing, refuses, sorted, take, takeOne, until, values } from './helpers.conformance.ts'

export const flowCases: readonly QueueCase[] = [
  {
    name: 'a consumer holds no more than it may, and works on as many at once',
    needs: [],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      await Promise.all(values(200).map((value) => queue.send(value)))
      let now = 0
      let most = 0
      // The first ones wait until there are as many as there may be, however slowly they come.
      const full = Promise.withResolvers<void>()
      const consumer = queue.consume(
        async () => {
          now += 1
          most = Math.max(most, now)
          if (now >= 7) full.resolve()
          assert.ok(queue.metrics().inFlight <= 7)
          await full.promise
          await sleep(systemClock, 2)
          now -= 1
        },
        { concurrency: 7 },
      )
      await until('all are done', () => queue.metrics().acked === 200)
      await consumer.drain()
      assert.equal(most, 7)
      assert.equal(queue.metrics().handlerFailed, 0)
    },
  },
  {
    name: 'a group of messages is settled together, but for those that the handler settles itself',
    needs: ['retry', 'dead-letter'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      await Promise.all(values(30).map((value) => queue.send(value)))
      const sizes: number[] = []
      const consumer = queue.consumeBatch(
        async (messages) => {
          sizes.push(messages.length)
          for (const message of messages) {
            if (message.value === 3) await message.reject('not this one')
            if (message.value === 4 && message.attempt === 1) await message.retry()
          }
        },
        { sizeMax: 10 },
      )
      await until('all are done', () => queue.metrics().acked === 29)
      await consumer.drain()
      assert.ok(sizes.every((size) => size <= 10))
      assert.deepEqual([queue.metrics().rejected, queue.metrics().retried], [1, 1])
    },
  },
  {
    name: 'a queue that is full refuses more, says that it may pass, and takes more when there is room',
    needs: ['backpressure'],
    messagesMax: 50,
    async run(place) {
      await using queues = await place.open({ patienceMs: 500 })
      const queue = await queues.declare('mail', jsonCodec)
      let accepted = 0
      const refusal = await (async () => {
        for (; accepted < 10_000; accepted += 1) {
          const refused = await queue.send(accepted).then(
            () => null,
            (error: unknown) => error,
          )
          if (refused !== null) return refused
        }
      })()
      assert.ok(isSteadError(refusal) && refusal.code === 'queue.full' && refusal.retry === 'later', messageOf(refusal))
      assert.ok(accepted >= 1)
      const held = await take(queue, accepted)
      assert.deepEqual(sorted(held.map(({ value }) => value)), sorted(values(accepted)))
      for (const message of held) await message.ack()
      await queue.send('again')
      assert.equal((await takeOne(queue)).value, 'again')
    },
  },
  {
    name: 'more than may wait in a program is refused, and nothing that was accepted is lost',
    needs: ['purge'],
    alone: true,
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      const body = 'x'.repeat(500_000)
      const outcomes = await Promise.allSettled(values(600).map((n) => queue.send([n, body])))
      const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []))
      assert.ok(refused.length > 0, '300 MB were taken into memory')
      for (const error of refused) assert.ok(isSteadError(error) && error.code === 'queue.overloaded', String(error))
      assert.equal(queue.metrics().sent + queue.metrics().sendFailed, 600)
      assert.equal(await queue.purge(), 600 - refused.length)
    },
  },
  {
    name: 'a paused consumer takes nothing, and goes on when it is resumed',
    needs: [],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      const consumer = queue.consume(() => {})
      await queue.send(1)
      await until('the first is done', () => queue.metrics().acked === 1)
      consumer.pause()
      await sleep(systemClock, 300)
      await queue.send(2)
      await sleep(systemClock, 300)
      assert.equal(queue.metrics().received, 1)
      consumer.resume()
      await until('the second is done', () => queue.metrics().acked === 2)
      await consumer.drain()
    },
  },
  {
    name: 'draining finishes what is in hand, takes nothing new, and gives back what is not done in time',
    needs: ['retry'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      await Promise.all(values(30).map((value) => queue.send(value)))
      let ended = 0
      const consumer = queue.consume(
        async ({ value, signal }) => {
          if (value !== 0) return sleep(systemClock, 20)
          await aborted(signal)
          ended += 1
        },
        { concurrency: 10 },
      )
      await until('it works', () => queue.metrics().inFlight > 0 && queue.metrics().acked > 0)
      const before = queue.metrics()
      const { released } = await consumer.drain(1500)
      await consumer.ended
      const { received, acked, inFlight } = queue.metrics()
      assert.ok(received <= before.received + 10, 'it took more after it was told to stop')
      await until('the handler that was left has ended', () => ended === released)
      const rest = await take(queue, 30 - acked)
      assert.equal(new Set(rest.map(({ value }) => value)).size, 30 - acked)
      for (const message of rest) await message.ack()
      await assertNothing(queue)
      assert.ok(inFlight <= released)
    },
  },
  {
    name: 'consumers that come and go lose nothing',
    needs: [],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      await Promise.all(values(300).map((value) => queue.send(value)))
      const done = new Set<unknown>()
      for (const round of values(6)) {
        const consumer = queue.consume(({ value }) => void done.add(value), { concurrency: 5 })
        await until('some are done', () => done.size >= Math.min(300, 50 * (round + 1)))
        await consumer.drain()
      }
      assert.equal(done.size, 300)
      await assertNothing(queue)
    },
  },
  {
    name: 'counts, a look, and a purge say what is there',
    needs: ['counts', 'peek', 'purge', 'delayed-send', 'dead-letter'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      for (const value of values(6)) await queue.send(value, { id: `m${value}`, headers: { n: `${value}` } })
      await queue.send('late', { delayMs: 3_600_000 })
      const [first] = await take(queue, 1)
      await (await takeOne(queue)).reject('enough')
      assert.deepEqual(await queue.counts(), { ready: 4, delayed: 1, held: 1, dead: 1 })
      const seen = await queue.peek(3)
      assert.deepEqual(
        seen.map(({ id, headers, body }) => [id, headers['n'], Buffer.from(body).toString()]),
        ['2', '3', '4'].map((n) => [`m${n}`, n, n]),
      )
      assert.equal(await queue.purge(), 5)
      assert.deepEqual(await queue.counts(), { ready: 0, delayed: 0, held: 1, dead: 1 })
      await first?.ack()
      assert.deepEqual(await queue.counts(), { ready: 0, delayed: 0, held: 0, dead: 1 })
    },
  },
  {
    name: 'the figures equal what happened',
    needs: ['retry', 'dead-letter'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec, { retry: { attemptsMax: 2, firstDelayMs: 0 } })
      const truth = { started: 0, failed: 0, returned: 0 }
      const consumer = queue.consume(({ value }) => {
        truth.started += 1
        if (Number(value) % 10 === 0) {
          truth.failed += 1
          throw new Error('every tenth')
        }
        truth.returned += 1
      })
      await Promise.all(values(100).map((value) => queue.send(value)))
      await refuses('queue.too-large', () => queue.send('x'.repeat(20_000_000)))
      await until('all are settled', () => queue.metrics().acked + queue.metrics().rejected === 100)
      await consumer.drain()
      assert.deepEqual(truth, { started: 110, failed: 20, returned: 90 })
      assert.deepEqual(queue.metrics(), {
        sent: 100,
        duplicates: 0,
        sendFailed: 0,
        received: 110,
        acked: 90,
        retried: 10,
        rejected: 10,
        leaseLost: 0,
        handlerFailed: 20,
        handlerTimedOut: 0,
        invalid: 0,
        inFlight: 0,
      })
    },
  },
]
