/** The Valkey driver passes the suite on a real server, but for the cases that kill, and on a disk in memory: those take longer. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Broker, inMemory, needsBroker, valkey } from '../../../test/brokers.ts'
import { jsonCodec } from '../codec.ts'
import { queueConformance } from '../conformance.ts'
import { valkeyPlaces } from './valkey/place.test-helper.ts'
import { openValkeyQueues } from './valkey.ts'

suite('valkey queues', { skip: needsBroker(valkey) }, () => {
  let broker: Broker | undefined
  const running = (): Broker => {
    assert.ok(broker !== undefined)
    return broker
  }
  before(async () => void (broker = await Broker.start(valkey, inMemory)))
  after(() => broker?.[Symbol.asyncDispose]())

  queueConformance({ name: 'valkey', shared: true, brief: true, makePlace: valkeyPlaces(running), chaosMs: 0 })

  test("the server's own client finds what was sent", async () => {
    const { Valkey } = await import('iovalkey')
    const url = `valkey://:secret@127.0.0.1:${running().port}`
    await using queues = await openValkeyQueues({ url, prefix: 'below.' })
    const queue = await queues.declare('mail', jsonCodec)
    await queue.send('ours')
    const client = new Valkey(queues.native.options)
    assert.equal(await client.zcard(`${queues.native.baseOf('mail')}:ready`), 1)
    await client.quit()
  })
})
