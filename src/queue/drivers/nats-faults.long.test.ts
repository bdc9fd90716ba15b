/** Queues on NATS: what cannot be opened, is full, is set otherwise or does not answer is said, and nobody is stuck. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Broker, nats, natsBuffered, natsOld, needsBroker } from '../../../test/brokers.ts'
import { needsAll } from '../../../test/needs.ts'
import { jsonCodec } from '../codec.ts'
import { outlivesSilence, refuses, takeOne } from '../helpers.conformance.ts'
import type { QueueEvent } from '../metrics.ts'
import { openNatsQueues } from './nats.ts'

suite('nats servers that refuse, are full or say nothing', { skip: needsBroker(natsBuffered) }, () => {
  let broker: Broker | undefined
  const running = (): Broker => {
    assert.ok(broker !== undefined)
    return broker
  }
  const urlOf = (user: string): string => `nats://${user}@127.0.0.1:${running().port}`
  const monitor = (): string => `http://127.0.0.1:${running().second}`
  before(async () => void (broker = await Broker.start(natsBuffered)))
  after(() => broker?.[Symbol.asyncDispose]())

  test('what cannot be opened is said with its reason', async () => {
    await refuses('queue.bad-input', () => openNatsQueues({ url: 'not a URL' }))
    await refuses('queue.bad-input', () => openNatsQueues({ url: 'http://127.0.0.1' }))
    await refuses('queue.bad-input', () => openNatsQueues({ url: urlOf('stead:secret'), prefix: 'Bad Name' }))
    await refuses('queue.bad-input', () => openNatsQueues({ url: urlOf('stead:secret'), monitor: 'here' }))
    await refuses('queue.unavailable', () => openNatsQueues({ url: 'nats://127.0.0.1:1' }))
    const nobody = 'http://127.0.0.1:1'
    await refuses('queue.unavailable', () => openNatsQueues({ url: urlOf('stead:secret'), monitor: nobody }))
    await refuses('queue.not-authorized', () => openNatsQueues({ url: urlOf('stead:wrong') }))
    await using other = await Broker.start(natsBuffered)
    const ofOther = `http://127.0.0.1:${other.second}`
    await refuses('queue.bad-input', () => openNatsQueues({ url: urlOf('stead:secret'), monitor: ofOther }))
  })

  test('a server that confirms before it syncs is said to be buffered, and durability is refused', async () => {
    for (const options of [{}, { monitor: monitor() }]) {
      await using queues = await openNatsQueues({ url: urlOf('stead:secret'), prefix: 'soft.', ...options })
      await refuses('queue.unsupported', () => queues.declare('mail', jsonCodec, { needs: ['durable-send'] }))
      const queue = await queues.declare('mail', jsonCodec)
      assert.equal((await queue.send(1)).durability, 'buffered')
    }
  })

  test('a promise of durability ends with the server that kept it', { skip: needsBroker(nats) }, async () => {
    const events: QueueEvent[] = []
    await using kept = await Broker.start(nats)
    const [url, asked] = [`nats://stead:secret@127.0.0.1:${kept.port}`, `http://127.0.0.1:${kept.second}`]
    await using queues = await openNatsQueues({
      url,
      monitor: asked,
      patienceMs: 1000,
      onEvent: (event) => void events.push(event),
    })
    const queue = await queues.declare('mail', jsonCodec, { needs: ['durable-send'] })
    assert.equal((await queue.send(1)).durability, 'fsync')
    await kept.kill()
    await kept.start(natsBuffered)
    await refuses('queue.not-durable', () => queue.send(2))
    const consumer = queue.consume(() => {})
    await assert.rejects(consumer.ended, { code: 'queue.not-durable' })
  })

  const bothAges = needsAll(needsBroker(nats), needsBroker(natsOld))
  test('queues of an old server go on with a newer one, which can do more', { skip: bothAges }, async () => {
    await using aging = await Broker.start(natsOld)
    const options = { url: `nats://stead:secret@127.0.0.1:${aging.port}`, messagesMax: 100 }
    {
      await using queues = await openNatsQueues(options)
      await refuses('queue.unsupported', () => queues.declare('mail', jsonCodec, { needs: ['delayed-send'] }))
      await (await queues.declare('mail', jsonCodec)).send('kept')
    }
    await aging.kill()
    await aging.start(nats)
    await using queues = await openNatsQueues({ ...options, monitor: `http://127.0.0.1:${aging.second}` })
    const queue = await queues.declare('mail', jsonCodec, { needs: ['delayed-send', 'durable-send', 'backpressure'] })
    await queue.send('later', { delayMs: 500 })
    for (const value of ['kept', 'later']) {
      const message = await takeOne(queue)
      assert.equal(message.value, value)
      await message.ack()
    }
  })

  test('who may not send is told', async () => {
    await using queues = await openNatsQueues({ url: urlOf('mute:secret'), prefix: 'mute.' })
    const queue = await queues.declare('mail', jsonCodec)
    await refuses('queue.not-authorized', () => queue.send(1))
  })

  test('a server without room says so, and takes more when there is some', async () => {
    await using queues = await openNatsQueues({ url: urlOf('stead:secret'), prefix: 'full.', patienceMs: 500 })
    const queue = await queues.declare('mail', jsonCodec)
    const body = 'x'.repeat(500_000)
    let accepted = 0
    await refuses('queue.full', async () => {
      for (; accepted < 100; accepted += 1) await queue.send(body)
    })
    assert.ok(accepted >= 2)
    for (let index = 0; index < accepted; index += 1) await (await takeOne(queue)).ack()
    await queue.send('again')
    assert.equal((await takeOne(queue)).value, 'again')
  })

  test('a server that takes the connection and says nothing is told of, and nobody is stuck when it wakes', async () => {
    const events: QueueEvent[] = []
    await using queues = await openNatsQueues({
      url: urlOf('stead:secret'),
      prefix: 'still.',
      patienceMs: 100,
      onEvent: (event) => void events.push(event),
    })
    await outlivesSilence(queues, events, running())
  })
})
