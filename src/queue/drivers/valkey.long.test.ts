/** The Valkey driver passes the whole suite on a real server that syncs each write, also when that is killed. */
import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { Broker, needsBroker, valkey } from '../../../test/brokers.ts'
import { queueConformance } from '../conformance.ts'
import { valkeyPlaces } from './valkey/place.test-helper.ts'

suite('valkey queues', { skip: needsBroker(valkey) }, () => {
  let broker: Broker | undefined
  const running = (): Broker => {
    assert.ok(broker !== undefined)
    return broker
  }
  before(async () => void (broker = await Broker.start(valkey)))
  after(() => broker?.[Symbol.asyncDispose]())

  queueConformance({ name: 'valkey', shared: true, makePlace: valkeyPlaces(running), chaosMs: 60_000 })
})
