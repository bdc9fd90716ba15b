/**
 * The SQS driver passes the suite on two emulators, standard and FIFO, with a minute of killed processes; and its server is killed where
 * that keeps its messages. Signatures are checked by the emulator that can.
 */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Broker, fauxqs, fauxqsKeeping, moto, needsBroker } from '../../../test/brokers.ts'
import type { BrokerKind } from '../../../test/brokers.ts'
import { fauxqsPackage } from '../../../test/fetched.ts'
import { jsonCodec } from '../codec.ts'
import { queueConformance } from '../conformance.ts'
import { crashCases } from '../crash.conformance.ts'
import { refuses, until } from '../helpers.conformance.ts'
import type { QueueEvent } from '../metrics.ts'
import { sendCases } from '../send.conformance.ts'
import { sqsOptions, sqsPlaces } from './sqs/place.test-helper.ts'
import { openSqsQueues } from './sqs.ts'

function running(kind: BrokerKind): () => Broker {
  let broker: Broker | undefined
  before(async () => void (broker = await Broker.start(kind)))
  after(() => broker?.[Symbol.asyncDispose]())
  return () => {
    assert.ok(broker !== undefined)
    return broker
  }
}

suite('sqs queues', { skip: needsBroker(fauxqs) }, () => {
  const broker = running(fauxqs)
  for (const fifo of [false, true]) {
    const makePlace = sqsPlaces(broker, { fifo, messageBytesMax: 1_048_576, keeps: false })
    queueConformance({
      name: `${fifo ? 'sqs-fifo' : 'sqs'}, ${fauxqsPackage.source}`,
      shared: true,
      makePlace,
      chaosMs: 60_000,
    })
  }
})

suite('sqs queues on a server that is killed', { skip: needsBroker(fauxqsKeeping) }, () => {
  const broker = running(fauxqsKeeping)
  const makePlace = sqsPlaces(broker, { fifo: false, messageBytesMax: 262_144, keeps: true })
  for (const item of crashCases.filter(({ wants }) => wants === 'restart')) {
    test(item.name, async () => {
      await using place = await makePlace()
      await item.run(place, { name: 'sqs', shared: true, makePlace, chaosMs: 0 })
    })
  }
})

suite('sqs queues on a server that is half open', { skip: needsBroker(fauxqs) }, () => {
  const broker = running(fauxqs)

  test('a server that answers nothing any more is told of in time, and work goes on when it does', async () => {
    const events: QueueEvent[] = []
    await using queues = await openSqsQueues({
      ...sqsOptions(broker()),
      onEvent: (event) => void events.push(event),
      patienceMs: 1000,
    })
    const queue = await queues.declare('mail', jsonCodec)
    const consumer = queue.consume(() => {})
    await queue.send(1)
    await until('the first is done', () => queue.metrics().acked === 1)
    broker().freeze()
    try {
      await refuses('queue.outcome-unknown', () => queue.send(2))
      await until('the consumer tells that nothing answers', () => events.some(({ kind }) => kind === 'not-received'))
    } finally {
      broker().thaw()
    }
    await queue.send(3)
    await until('it goes on', () => queue.metrics().acked >= 2)
    await consumer.drain()
  })
})

suite('sqs queues on moto', { skip: needsBroker(moto) }, () => {
  // It answers in seconds when it is asked for much at once, and gives one message to two that ask at the same moment.
  const broker = running(moto)
  const makePlace = sqsPlaces(broker, { fifo: false, messageBytesMax: 262_144, keeps: false })
  for (const item of sendCases.filter(({ name }) => !/many senders|anybody listened|leak/.test(name))) {
    test(item.name, async () => {
      await using place = await makePlace()
      await item.run(place, { name: 'sqs', shared: true, makePlace, chaosMs: 0 })
    })
  }
})

suite('sqs queues that cannot be opened', { skip: needsBroker(moto) }, () => {
  // From the first call on, it looks at keys and signatures.
  const broker = running({ ...moto, env: () => ({ INITIAL_NO_AUTH_ACTION_COUNT: '0' }) })

  test('a wrong key is said', async () => {
    await refuses('queue.not-authorized', () => openSqsQueues(sqsOptions(broker())))
  })
})
