/** The NATS driver passes the suite on a real server, but for the cases that kill, and on a disk in memory: those take longer. */
import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { Broker, inMemory, nats, needsBroker } from '../../../test/brokers.ts'
import { queueConformance } from '../conformance.ts'
import { natsPlaces } from './nats-place.test-helper.ts'

suite('nats queues', { skip: needsBroker(nats) }, () => {
  let broker: Broker | undefined
  const running = (): Broker => {
    assert.ok(broker !== undefined)
    return broker
  }
  before(async () => void (broker = await Broker.start(nats, inMemory)))
  after(() => broker?.[Symbol.asyncDispose]())

  queueConformance({ name: 'nats', shared: true, brief: true, makePlace: natsPlaces(running), chaosMs: 0 })
})
