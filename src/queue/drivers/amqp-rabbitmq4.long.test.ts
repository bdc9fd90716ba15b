/**
 * The AMQP driver passes the whole suite on RabbitMQ 4.3, which changed what giving back means: `nack` counts no more towards the limit
 * of deliveries, `reject` does. What the driver says with `reject` ends; what others say with `nack` goes round for ever.
 */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import type { GetMessage } from 'amqplib'
import { Broker, needsBroker, rabbitmq4 } from '../../../test/brokers.ts'
import { needsAll, needsFile, needsRoot } from '../../../test/needs.ts'
import { queueConformance } from '../conformance.ts'
import { until } from '../helpers.conformance.ts'
import { amqpPlaces } from './amqp/place.test-helper.ts'

const bwrap = needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap')

suite('amqp queues on RabbitMQ 4.3', { skip: needsAll(needsRoot(), bwrap, needsBroker(rabbitmq4)) }, () => {
  let broker: Broker | undefined
  const running = (): Broker => {
    assert.ok(broker !== undefined)
    return broker
  }
  before(async () => void (broker = await Broker.start(rabbitmq4)))
  after(() => broker?.[Symbol.asyncDispose]())

  queueConformance({ name: 'amqp 4.3', shared: true, makePlace: amqpPlaces(running), chaosMs: 10_000 })

  test('a message that is nacked is given again beyond the limit; one that is rejected is not', async () => {
    const { connect } = await import('amqplib')
    const connection = await connect(`amqp://guest:guest@127.0.0.1:${running().port}/`)
    try {
      const channel = await connection.createChannel()
      const limits = { 'x-queue-type': 'quorum', 'x-delivery-limit': 2 }
      await channel.assertQueue('trap', { durable: true, arguments: limits })
      channel.sendToQueue('trap', Buffer.from('poison'), { persistent: true })
      const next = async (): Promise<GetMessage> => {
        const got: GetMessage[] = []
        await until('it comes', async () => {
          const message = await channel.get('trap')
          if (message !== false) got.push(message)
          return message !== false
        })
        const [message] = got
        assert.ok(message !== undefined)
        return message
      }
      for (let round = 0; round < 10; round += 1) channel.nack(await next(), false, true)
      for (let round = 0; round < 3; round += 1) channel.reject(await next(), true)
      await until('it is gone', async () => (await channel.checkQueue('trap')).messageCount === 0)
    } finally {
      await connection.close()
    }
  })
})
