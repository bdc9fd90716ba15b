/** Queues on Valkey: what cannot be opened, is full, is set otherwise or does not answer is said, and nobody is stuck. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Broker, needsBroker, valkey, valkeyBuffered, valkeyCache } from '../../../test/brokers.ts'
import { jsonCodec } from '../codec.ts'
import { refuses, take, takeOne, until } from '../helpers.conformance.ts'
import type { QueueEvent } from '../metrics.ts'
import { openValkeyQueues } from './valkey.ts'

suite('valkey servers that refuse, are full or say nothing', { skip: needsBroker(valkeyBuffered) }, () => {
  let broker: Broker | undefined
  const urlOf = (of: Broker | undefined = broker): string => {
    assert.ok(of !== undefined)
    return `valkey://:secret@127.0.0.1:${of.port}`
  }
  before(async () => void (broker = await Broker.start(valkeyBuffered)))
  after(() => broker?.[Symbol.asyncDispose]())

  test('what cannot be opened is said with its reason', async () => {
    await refuses('queue.bad-input', () => openValkeyQueues({ url: 'not a URL' }))
    await refuses('queue.bad-input', () => openValkeyQueues({ url: 'http://127.0.0.1' }))
    await refuses('queue.bad-input', () => openValkeyQueues({ url: urlOf(), prefix: 'Bad Name' }))
    await refuses('queue.unavailable', () => openValkeyQueues({ url: 'valkey://127.0.0.1:1' }))
    await refuses('queue.not-authorized', () => openValkeyQueues({ url: urlOf().replace('secret', 'wrong') }))
    await refuses('queue.not-authorized', () => openValkeyQueues({ url: urlOf().replace(':secret@', '') }))
    await using cache = await Broker.start(valkeyCache)
    await refuses('queue.not-durable', () => openValkeyQueues({ url: urlOf(cache) }))
  })

  test('a server that confirms before it syncs is said to be buffered, and durability is refused', async () => {
    await using queues = await openValkeyQueues({ url: urlOf(), prefix: 'soft.' })
    await refuses('queue.unsupported', () => queues.declare('mail', jsonCodec, { needs: ['durable-send'] }))
    const queue = await queues.declare('mail', jsonCodec)
    assert.equal((await queue.send(1)).durability, 'buffered')
  })

  test('a promise of durability ends with the server that kept it', { skip: needsBroker(valkey) }, async () => {
    await using kept = await Broker.start(valkey)
    await using queues = await openValkeyQueues({ url: urlOf(kept), patienceMs: 1000 })
    const queue = await queues.declare('mail', jsonCodec, { needs: ['durable-send'] })
    assert.equal((await queue.send(1)).durability, 'fsync')
    await kept.kill()
    await kept.start(valkeyBuffered)
    await refuses('queue.not-durable', () => queue.send(2))
    const consumer = queue.consume(() => {})
    await assert.rejects(consumer.ended, { code: 'queue.not-durable' })
  })

  test('a server without memory says so, gives what it has, and then takes more', async () => {
    await using queues = await openValkeyQueues({ url: urlOf(), prefix: 'full.', patienceMs: 500 })
    const queue = await queues.declare('mail', jsonCodec)
    const body = 'x'.repeat(500_000)
    let accepted = 0
    await refuses('queue.full', async () => {
      for (; accepted < 100; accepted += 1) await queue.send(body)
    })
    assert.ok(accepted >= 2)
    const [first, ...rest] = await take(queue, accepted)
    await first?.reject('a dead letter is written also then')
    for (const message of rest) await message.ack()
    assert.equal((await queue.counts()).dead, 1)
    await queue.send('again')
    assert.equal((await takeOne(queue)).value, 'again')
    await queues.remove('mail')
  })

  test('a server that takes the connection and says nothing is told of, and nobody is stuck when it wakes', async () => {
    const events: QueueEvent[] = []
    await using queues = await openValkeyQueues({
      url: urlOf(),
      prefix: 'still.',
      patienceMs: 100,
      onEvent: (event) => void events.push(event),
    })
    const queue = await queues.declare('mail', jsonCodec)
    const consumer = queue.consume(() => {})
    await queue.send(1)
    await until('the first is done', () => queue.metrics().acked === 1)
    broker?.freeze()
    try {
      await refuses('queue.outcome-unknown', () => queue.send(2))
      await until('the consumer tells that nothing answers', () => events.some(({ kind }) => kind === 'not-received'))
    } finally {
      broker?.thaw()
    }
    await queue.send(3)
    await until('it goes on', () => queue.metrics().acked >= 2)
    await consumer.drain()
  })

  test("somebody who empties the server's memory of scripts stops nobody", async () => {
    await using queues = await openValkeyQueues({ url: urlOf(), prefix: 'flushed.' })
    const queue = await queues.declare('mail', jsonCodec)
    const { Valkey } = await import('iovalkey')
    const client = new Valkey(urlOf().replace('valkey:', 'redis:'))
    await client.script('FLUSH')
    await client.quit()
    await queue.send(1)
    await (await takeOne(queue)).ack()
  })
})
