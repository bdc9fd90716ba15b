/** The suite for the Pulsar driver on a real broker, also when that is killed. README.md says what of it has been seen to pass. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Broker, needsBroker, pulsar } from '../../../test/brokers.ts'
import { jsonCodec } from '../codec.ts'
import { queueConformance } from '../conformance.ts'
import { outlivesSilence, until } from '../helpers.conformance.ts'
import type { QueueEvent } from '../metrics.ts'
import { pulsarPlaces } from './pulsar/place.test-helper.ts'
import { openPulsarQueues } from './pulsar.ts'

suite('pulsar queues', { skip: needsBroker(pulsar) }, () => {
  let broker: Broker | undefined
  const running = (): Broker => {
    assert.ok(broker !== undefined)
    return broker
  }
  before(async () => void (broker = await Broker.start(pulsar)))
  after(() => broker?.[Symbol.asyncDispose]())

  queueConformance({ name: 'pulsar', shared: true, makePlace: pulsarPlaces(running), chaosMs: 60_000 })

  test('what nobody asks for any more goes to others, though this process is still there', async () => {
    const options = { url: `http://127.0.0.1:${running().port}`, prefix: 'idle.' }
    await using queues = await openPulsarQueues(options)
    const queue = await queues.declare('mail', jsonCodec)
    // It has asked for many, and stops asking before they come.
    assert.deepEqual(await queue.receive({ max: 100, waitMs: 100 }), [])
    await using others = await openPulsarQueues(options)
    const other = await others.declare('mail', jsonCodec)
    const done = new Set<unknown>()
    const consumer = other.consume(({ value }) => void done.add(value))
    await Promise.all(Array.from({ length: 20 }, (_, value) => queue.send(value)))
    await until('all arrived where somebody works', () => done.size === 20)
    await consumer.drain()
  })

  test('a broker that answers nothing any more is told of in time, and work goes on when it does', async () => {
    const events: QueueEvent[] = []
    const url = `http://127.0.0.1:${running().port}`
    await using queues = await openPulsarQueues({
      url,
      prefix: 'half.',
      onEvent: (event) => void events.push(event),
      patienceMs: 1000,
    })
    await outlivesSilence(queues, events, running())
  })
})
