/** Conformance: kill -9 of a holder, of a sender, and of the server. What was accepted is there; what was held comes again. */
import assert from 'node:assert/strict'
import { jsonCodec } from './codec.ts'
import type { QueueCase } from './conformance.ts'
import { patienceMs, sorted, take, takeOne, until, values } from './helpers.conformance.ts'
import { startWorker } from './process.conformance.ts'

export const crashCases: readonly QueueCase[] = [
  {
    name: 'what a killed process held comes again, with the next attempt',
    needs: ['lease', 'attempt-count'],
    wants: 'process',
    async run(place) {
      {
        await using queues = await place.open()
        const queue = await queues.declare('mail', jsonCodec)
        for (const value of values(5)) await queue.send(value, { id: `m${value}` })
      }
      const worker = startWorker(place, { hold: 5, leaseMs: 2000 })
      try {
        await worker.said(5)
      } finally {
        await worker.kill()
      }
      await using queues = await place.open()
      const messages = await take(await queues.declare('mail', jsonCodec), 5)
      assert.deepEqual(sorted(messages.map(({ id }) => id)), sorted(values(5).map((n) => `m${n}`)))
      assert.ok(messages.every(({ attempt }) => attempt === 2))
      for (const message of messages) await message.ack()
    },
  },
  {
    name: 'what a sender was told is safe is there after it was killed',
    needs: ['durable-send'],
    wants: 'process',
    async run(place) {
      const accepted = new Set<string>()
      for (const from of [1, 100_001]) {
        const worker = startWorker(place, { senders: 8, from }, ([, key, n]) => void accepted.add(`${key}/${n}`))
        try {
          await worker.said(100)
        } finally {
          await worker.kill()
        }
      }
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      const found = new Set<string>()
      const consumer = queue.consume(({ value }) => void (Array.isArray(value) && found.add(value.join('/'))), {
        concurrency: 100,
      })
      await until('all that was accepted arrived', () => [...accepted].every((item) => found.has(item)))
      await consumer.drain()
    },
  },
  {
    name: 'the same handle goes on after its server was killed, and nothing that was accepted is lost',
    needs: ['durable-send'],
    wants: 'restart',
    alone: true,
    async run(place) {
      await using queues = await place.open({ patienceMs })
      const queue = await queues.declare('mail', jsonCodec)
      const found = new Set<unknown>()
      const consumer = queue.consume(({ value }) => void found.add(value), { leaseMs: 2000 })
      const accepted = new Set<unknown>()
      const send = async (value: number): Promise<void> => {
        await queue.send(value)
        accepted.add(value)
      }
      for (let value = 0; value < 50; value += 1) await send(value)
      const during = Promise.allSettled(Array.from({ length: 50 }, (_, index) => send(100 + index)))
      await place.restart?.()
      await during
      for (let value = 200; value < 250; value += 1) await send(value)
      await until('all that was accepted arrived', () => [...accepted].every((item) => found.has(item)))
      await consumer.drain()
      assert.ok(accepted.size >= 100)
    },
  },
  {
    name: 'what is delayed or given back for a time also comes when the server was killed meanwhile',
    needs: ['delayed-send', 'delayed-retry', 'durable-send'],
    wants: 'restart',
    alone: true,
    async run(place) {
      await using queues = await place.open({ patienceMs })
      const queue = await queues.declare('mail', jsonCodec)
      await queue.send('retried')
      await (await takeOne(queue)).retry({ delayMs: 2000 })
      await queue.send('delayed', { delayMs: 2000 })
      await place.restart?.()
      const found = new Set<unknown>()
      const consumer = queue.consume(({ value }) => void found.add(value))
      await until('both came', () => found.size === 2)
      await consumer.drain()
      assert.deepEqual(found, new Set(['retried', 'delayed']))
    },
  },
]
