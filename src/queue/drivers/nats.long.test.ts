/** The NATS driver passes the whole suite on a real server that syncs each write, also when that is killed. */
import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { Broker, nats, needsBroker } from '../../../test/brokers.ts'
import { queueConformance } from '../conformance.ts'
import { natsPlaces } from './nats/place.test-helper.ts'

suite('nats queues', { skip: needsBroker(nats) }, () => {
  let broker: Broker | undefined
  const running = (): Broker => {
    assert.ok(broker !== undefined)
    return broker
  }
  before(async () => void (broker = await Broker.start(nats)))
  after(() => broker?.[Symbol.asyncDispose]())

  queueConformance({ name: 'nats', shared: true, makePlace: natsPlaces(running), chaosMs: 60_000 })
})
