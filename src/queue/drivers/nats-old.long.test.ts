/** The NATS driver passes the whole suite on the server that Debian 12 has. */
import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { Broker, natsOld, needsBroker } from '../../../test/brokers.ts'
import { queueConformance } from '../conformance.ts'
import { natsPlaces } from './nats/place.test-helper.ts'

suite('nats 2.9 queues', { skip: needsBroker(natsOld) }, () => {
  let broker: Broker | undefined
  const running = (): Broker => {
    assert.ok(broker !== undefined)
    return broker
  }
  before(async () => void (broker = await Broker.start(natsOld)))
  after(() => broker?.[Symbol.asyncDispose]())

  queueConformance({ name: 'nats 2.9', shared: true, makePlace: natsPlaces(running), chaosMs: 10_000 })
})
