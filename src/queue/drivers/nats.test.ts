/** The NATS driver passes the suite on a real server, but for the cases that kill, and on a disk in memory: those take longer. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Broker, inMemory, nats, needsBroker } from '../../../test/brokers.ts'
import { jsonCodec } from '../codec.ts'
import { queueConformance } from '../conformance.ts'
import { takeOne } from '../helpers.conformance.ts'
import { natsPlaces } from './nats/place.test-helper.ts'
import { openNatsQueues } from './nats.ts'

suite('nats queues', { skip: needsBroker(nats) }, () => {
  let broker: Broker | undefined
  const running = (): Broker => {
    assert.ok(broker !== undefined)
    return broker
  }
  before(async () => void (broker = await Broker.start(nats, inMemory)))
  after(() => broker?.[Symbol.asyncDispose]())

  queueConformance({ name: 'nats', shared: true, brief: true, makePlace: natsPlaces(running), chaosMs: 0 })

  test("the server's own client finds what was sent, and what it sends arrives", async () => {
    const { connect } = await import('@nats-io/transport-node')
    const { jetstream, jetstreamManager } = await import('@nats-io/jetstream')
    const url = `nats://stead:secret@127.0.0.1:${running().port}`
    await using queues = await openNatsQueues({ url, prefix: 'below.' })
    const queue = await queues.declare('mail', jsonCodec)
    await queue.send('ours')
    const { options, namesOf } = queues.native
    await using connection = await connect({ ...options })
    const { stream, ready } = namesOf('mail')
    assert.equal((await (await jetstreamManager(connection)).streams.info(stream)).state.messages, 1)
    await (await takeOne(queue)).ack()
    await jetstream(connection).publish(ready, '"theirs"')
    assert.equal((await takeOne(queue)).value, 'theirs')
  })
})
