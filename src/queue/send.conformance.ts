/** Conformance: what is sent arrives, whole, once while nothing fails, in its own queue; and each sender is told the truth. */
import assert from 'node:assert/strict'
import { bytesCodec, jsonCodec } from './codec.ts'
import type { QueueCase } from './conformance.ts'
import { assertNothing, patienceMs, refuses, sorted, take, takeOne, until, values } from './helpers.conformance.ts'

export const sendCases: readonly QueueCase[] = [
  {
    name: 'what was sent before anybody listened arrives, whole, and is gone when it is acknowledged',
    needs: [],
    async run(place) {
      const sent = values(100).map((n) => ({ n, text: 'ä\u{1F600}"\\', nested: [null, true, { x: 1.5 }] }))
      {
        await using queues = await place.open()
        const queue = await queues.declare('mail', jsonCodec)
        for (const value of sent) assert.equal((await queue.send(value)).duplicate, false)
        const messages = await take(queue, 100)
        assert.deepEqual(sorted(messages.map(({ value }) => value)), sorted(sent))
        assert.equal(new Set(messages.map(({ id }) => id)).size, 100)
        assert.ok(messages.every(({ attempt, key }) => attempt === 1 && key === null))
        await Promise.all(messages.map((message) => message.ack()))
        await assertNothing(queue)
      }
      await using again = await place.open()
      await assertNothing(await again.declare('mail', jsonCodec))
    },
  },
  {
    name: 'an answer of `fsync` or `replicated` is given, and what has it is there after opening again',
    needs: ['durable-send'],
    async run(place) {
      {
        await using queues = await place.open()
        const queue = await queues.declare('mail', jsonCodec)
        const { durability } = await queue.send('kept', { id: 'mine' })
        assert.ok(durability === 'fsync' || durability === 'replicated', durability)
      }
      await using again = await place.open()
      const message = await takeOne(await again.declare('mail', jsonCodec))
      assert.deepEqual([message.id, message.value], ['mine', 'kept'])
      await message.ack()
    },
  },
  {
    name: 'many senders and many consumers at once: none missing, none twice',
    needs: [],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      const got: unknown[] = []
      const consumers = [1, 2, 3].map(() =>
        queue.consume((message) => void got.push(message.value), { concurrency: 20 }),
      )
      await Promise.all(
        values(50).map(async (sender) => {
          for (const n of values(20)) await queue.send([sender, n])
        }),
      )
      await until('all arrived', () => queue.metrics().acked === 1000)
      assert.equal(new Set(got.map((value) => JSON.stringify(value))).size, 1000)
      assert.equal(got.length, 1000)
      await Promise.all(consumers.map((consumer) => consumer.drain()))
    },
  },
  {
    name: 'queues do not leak into each other',
    needs: [],
    async run(place) {
      await using queues = await place.open()
      const names = ['a', 'b', 'c', 'a.b', 'a-b']
      const made = await Promise.all(names.map((name) => queues.declare(name, jsonCodec)))
      await Promise.all(made.flatMap((queue) => values(10).map((n) => queue.send([queue.name, n]))))
      for (const queue of made) {
        const messages = await take(queue, 10)
        assert.deepEqual(sorted(messages.map(({ value }) => value)), sorted(values(10).map((n) => [queue.name, n])))
        await Promise.all(messages.map((message) => message.ack()))
        await assertNothing(queue, 0)
      }
    },
  },
  {
    name: 'headers arrive as they were sent, also strange ones',
    needs: ['headers'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      const headers = { plain: 'x', 'x-empty': '', 'x.dots_and~more!': 'ä=\u{1F600};"\n\t', '0': ' spaces ' }
      await queue.send(1, { headers })
      const message = await takeOne(queue)
      assert.deepEqual({ ...message.headers }, headers)
      await message.ack()
    },
  },
  {
    name: 'trace context arrives as it was sent',
    needs: ['headers'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      const trace = {
        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
        tracestate: 'vendor=1',
        baggage: 'user=7',
      }
      await queue.send(1, { trace })
      await queue.send(2)
      const messages = await take(queue, 2)
      const traces = Object.fromEntries(messages.map((message) => [JSON.stringify(message.value), message.trace]))
      assert.deepEqual(traces, { '1': trace, '2': null })
      await Promise.all(messages.map((message) => message.ack()))
    },
  },
  {
    name: 'any bytes arrive as they were sent',
    needs: ['binary-body'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('blobs', bytesCodec)
      const all = Uint8Array.from({ length: 1024 }, (_, index) => index & 255)
      const sent = [new Uint8Array(0), all, new Uint8Array([0x0d, 0x0a, 0, 0xff, 0xc3, 0x28]), all.subarray(13, 200)]
      for (const [index, body] of sent.entries()) await queue.send(body, { id: `b${index}` })
      for (const message of await take(queue, sent.length)) {
        assert.deepEqual([...message.value], [...(sent[Number(message.id.slice(1))] ?? [])], message.id)
        await message.ack()
      }
    },
  },
  {
    name: 'many in one call are answered one by one, and one bad one keeps none of the others back',
    needs: ['batch-send'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      const results = await queue.sendMany([
        { value: 1, id: 'one' },
        { value: Number.NaN },
        { value: 3, id: 'three', headers: { 'Bad Name': 'x' } },
        { value: 4, id: 'four' },
      ])
      assert.deepEqual(
        results.map((result) => (result.ok ? result.id : result.error.code)),
        ['one', 'queue.bad-input', 'queue.bad-input', 'four'],
      )
      const messages = await take(queue, 2)
      assert.deepEqual(sorted(messages.map(({ value }) => value)), sorted([1, 4]))
      await Promise.all(messages.map((message) => message.ack()))
      await assertNothing(queue)
    },
  },
  {
    name: 'closing waits for what was sent and handled, and refuses what comes later',
    needs: [],
    async run(place) {
      const queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      const sending = values(200).map((n) => queue.send(n))
      await Promise.all(sending.slice(0, 1))
      const closing = queues.close()
      const outcomes = await Promise.allSettled(sending)
      await closing
      await refuses('queue.closed', () => queues.declare('mail', jsonCodec))
      await assert.rejects(queue.send(1), 'a closed queue takes messages')
      await assert.rejects(queue.receive(), 'a closed queue gives messages')
      await queues.close()
      if (place.elsewhere === null) return
      await using again = await place.open()
      const accepted = outcomes.filter(({ status }) => status === 'fulfilled').length
      const messages = await take(await again.declare('mail', jsonCodec), accepted)
      await Promise.all(messages.map((message) => message.ack()))
    },
  },
  {
    name: 'a wait for messages ends when it is told to',
    needs: [],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      const controller = new AbortController()
      const waiting = queue.receive({ waitMs: 20_000, signal: controller.signal })
      controller.abort()
      assert.deepEqual(await waiting, [])
      assert.deepEqual(await queue.receive({ waitMs: 20_000, signal: controller.signal }), [])
      await queue.send('later')
      await (await takeOne(queue)).ack()
    },
  },
  {
    name: 'sending to a queue that is not there is an error',
    needs: ['no-silent-loss'],
    async run(place) {
      await using queues = await place.open({ patienceMs: 1000 })
      const queue = await queues.declare('mail', jsonCodec)
      await queues.remove('mail')
      await refuses('queue.no-such-queue', () => queue.send(1))
    },
  },
  {
    name: 'a request gets its answer, and one that nobody answers ends',
    needs: ['request-reply'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('sums', jsonCodec)
      const consumer = queue.consume(async (message) => {
        if (Array.isArray(message.value)) await queues.reply(message, jsonCodec, message.value.length)
      })
      const ask = (value: readonly number[] | null, timeoutMs: number): Promise<unknown> =>
        queues.request('sums', jsonCodec, value, jsonCodec, { timeoutMs })
      assert.deepEqual(
        await Promise.all([ask([1], patienceMs), ask([1, 2], patienceMs), ask([], patienceMs)]),
        [1, 2, 0],
      )
      await refuses('queue.no-reply', () => ask(null, 300))
      await consumer.drain()
    },
  },
]
