/** The Kafka driver passes the whole suite on a real server, also when that is killed; what cannot be opened is said. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Broker, kafka, needsBroker } from '../../../test/brokers.ts'
import { queueConformance } from '../conformance.ts'
import { refuses } from '../helpers.conformance.ts'
import { kafkaPlaces } from './kafka/place.test-helper.ts'
import { openKafkaQueues } from './kafka.ts'

suite('kafka queues', { skip: needsBroker(kafka) }, () => {
  let broker: Broker | undefined
  const running = (): Broker => {
    assert.ok(broker !== undefined)
    return broker
  }
  before(async () => void (broker = await Broker.start(kafka)))
  after(() => broker?.[Symbol.asyncDispose]())

  queueConformance({ name: 'kafka', shared: true, makePlace: kafkaPlaces(running), chaosMs: 60_000 })

  test('what cannot be opened is said with its reason', async () => {
    await refuses('queue.bad-input', () => openKafkaQueues({ brokers: [] }))
    await refuses('queue.bad-input', () => openKafkaQueues({ brokers: ['x:1'], prefix: 'Bad Name' }))
    await refuses('queue.unavailable', () => openKafkaQueues({ brokers: ['127.0.0.1:1'] }))
  })
})
