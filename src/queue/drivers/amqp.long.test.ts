/** The AMQP driver passes the whole suite on a real RabbitMQ, also when that is killed; what cannot be opened is said. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Broker, needsBroker, rabbitmq } from '../../../test/brokers.ts'
import { queueConformance } from '../conformance.ts'
import { refuses } from '../helpers.conformance.ts'
import { amqpPlaces } from './amqp-place.test-helper.ts'
import { openAmqpQueues } from './amqp.ts'

suite('amqp queues', { skip: needsBroker(rabbitmq) }, () => {
  let broker: Broker | undefined
  const running = (): Broker => {
    assert.ok(broker !== undefined)
    return broker
  }
  before(async () => void (broker = await Broker.start(rabbitmq)))
  after(() => broker?.[Symbol.asyncDispose]())

  queueConformance({ name: 'amqp', shared: true, makePlace: amqpPlaces(running), chaosMs: 60_000 })

  test('what cannot be opened is said with its reason', async () => {
    await refuses('queue.bad-input', () => openAmqpQueues({ url: 'not a URL' }))
    await refuses('queue.bad-input', () => openAmqpQueues({ url: 'amqp://127.0.0.1', prefix: 'Bad Name' }))
    await refuses('queue.unavailable', () => openAmqpQueues({ url: 'amqp://guest:guest@127.0.0.1:1/' }))
    const url = `amqp://guest:wrong@127.0.0.1:${running().port}/`
    await refuses('queue.not-authorized', () => openAmqpQueues({ url }))
  })
})
