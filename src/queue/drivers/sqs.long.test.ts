/**
 * The SQS driver passes the suite on two emulators, standard and FIFO, with a minute of killed processes; and its server is killed where
 * that keeps its messages. Signatures are checked by the emulator that can.
 */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Broker, fauxqs, fauxqsKeeping, moto, needsBroker } from '../../../test/brokers.ts'
import type { BrokerKind } from '../../../test/brokers.ts'
import { queueConformance } from '../conformance.ts'
import { crashCases } from '../crash.conformance.ts'
import { refuses } from '../helpers.conformance.ts'
import { sqsOptions, sqsPlaces } from './sqs-place.test-helper.ts'
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
    queueConformance({ name: fifo ? 'sqs-fifo' : 'sqs', shared: true, makePlace, chaosMs: 60_000 })
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

suite('sqs queues that cannot be opened', { skip: needsBroker(moto) }, () => {
  // From the first call on, it looks at keys and signatures.
  const broker = running({ ...moto, env: () => ({ INITIAL_NO_AUTH_ACTION_COUNT: '0' }) })

  test('a wrong key is said', async () => {
    await refuses('queue.not-authorized', () => openSqsQueues(sqsOptions(broker())))
  })
})
