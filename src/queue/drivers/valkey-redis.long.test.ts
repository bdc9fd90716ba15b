/** The Valkey driver passes the whole suite on the server that Debian 12 has. */
import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { Broker, needsBroker, redis } from '../../../test/brokers.ts'
import { queueConformance } from '../conformance.ts'
import { valkeyPlaces } from './valkey/place.test-helper.ts'

suite('redis queues', { skip: needsBroker(redis) }, () => {
  let broker: Broker | undefined
  const running = (): Broker => {
    assert.ok(broker !== undefined)
    return broker
  }
  before(async () => void (broker = await Broker.start(redis)))
  after(() => broker?.[Symbol.asyncDispose]())

  queueConformance({ name: 'redis', shared: true, makePlace: valkeyPlaces(running), chaosMs: 10_000 })
})
