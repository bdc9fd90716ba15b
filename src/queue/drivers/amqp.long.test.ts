/** The AMQP driver passes the whole suite on a real RabbitMQ, also when that is killed; what cannot be opened is said. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Broker, needsBroker, rabbitmq } from '../../../test/brokers.ts'
import { jsonCodec } from '../codec.ts'
import { queueConformance } from '../conformance.ts'
import { refuses, takeOne } from '../helpers.conformance.ts'
import { amqpPlaces } from './amqp/place.test-helper.ts'
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

  test("the server's own client finds what was sent, and what it sends arrives", async () => {
    const { connect } = await import('amqplib')
    const url = `amqp://guest:guest@127.0.0.1:${running().port}/`
    await using queues = await openAmqpQueues({ url, prefix: 'below.' })
    const mail = await queues.declare('mail', jsonCodec)
    await mail.send('ours')
    const connection = await connect(queues.native.url)
    try {
      const channel = await connection.createConfirmChannel()
      const { queue } = queues.native.namesOf('mail')
      assert.equal((await channel.checkQueue(queue)).messageCount, 1)
      await (await takeOne(mail)).ack()
      channel.sendToQueue(queue, Buffer.from('"theirs"'))
      await channel.waitForConfirms()
      assert.equal((await takeOne(mail)).value, 'theirs')
    } finally {
      await connection.close()
    }
  })

  test('what cannot be opened is said with its reason', async () => {
    await refuses('queue.bad-input', () => openAmqpQueues({ url: 'not a URL' }))
    await refuses('queue.bad-input', () => openAmqpQueues({ url: 'amqp://127.0.0.1', prefix: 'Bad Name' }))
    await refuses('queue.unavailable', () => openAmqpQueues({ url: 'amqp://guest:guest@127.0.0.1:1/' }))
    const url = `amqp://guest:wrong@127.0.0.1:${running().port}/`
    await refuses('queue.not-authorized', () => openAmqpQueues({ url }))
    const nowhere = `amqp://guest:guest@127.0.0.1:${running().port}/nowhere`
    await assert.rejects(openAmqpQueues({ url: nowhere }), {
      code: 'queue.unavailable',
      message: /\/nowhere does not open the virtual host$/,
    })
  })
})
