/** The Valkey driver passes the suite on a real server, but for the cases that kill, and on a disk in memory: those take longer. */
import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { Broker, inMemory, needsBroker, valkey } from '../../../test/brokers.ts'
import { queueConformance } from '../conformance.ts'
import { valkeyPlaces } from './valkey-place.test-helper.ts'

suite('valkey queues', { skip: needsBroker(valkey) }, () => {
  let broker: Broker | undefined
  const running = (): Broker => {
    assert.ok(broker !== undefined)
    return broker
  }
  before(async () => void (broker = await Broker.start(valkey, inMemory)))
  after(() => broker?.[Symbol.asyncDispose]())

  queueConformance({ name: 'valkey', shared: true, brief: true, makePlace: valkeyPlaces(running), chaosMs: 0 })
})
