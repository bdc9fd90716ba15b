/** What is Kafka's own, on a real server: groups that rebalance, members that idle, dead letters in a log, topics that keep too little, names. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Broker, kafka, kafkaWithNames, needsBroker } from '../../../test/brokers.ts'
import { jsonCodec } from '../codec.ts'
import {
  assertNothing,
  outlivesSilence,
  refuses,
  sorted,
  take,
  takeOne,
  until,
  values,
} from '../helpers.conformance.ts'
import type { QueueEvent } from '../metrics.ts'
import type { Queues } from '../queues.ts'
import { openKafkaQueues } from './kafka.ts'
import type { KafkaQueuesOptions } from './kafka.ts'

suite('kafka queues and their groups', { skip: needsBroker(kafka) }, () => {
  let broker: Broker | undefined
  const running = (): Broker => {
    assert.ok(broker !== undefined)
    return broker
  }
  before(async () => void (broker = await Broker.start(kafka)))
  after(() => broker?.[Symbol.asyncDispose]())
  const open = (options: Partial<KafkaQueuesOptions> = {}): Promise<Queues> =>
    openKafkaQueues({ brokers: [`127.0.0.1:${running().port}`], partitions: 4, flushEach: true, ...options })

  test('when another member comes, what is held comes again, and its old holders are told', async () => {
    await using queues = await open({ prefix: 'rebalance.' })
    const queue = await queues.declare('mail', jsonCodec, { needs: ['fencing'] })
    await Promise.all(values(20).map((value) => queue.send(value)))
    const held = await take(queue, 20, 600_000)
    await using others = await open({ prefix: 'rebalance.' })
    const other = await others.declare('mail', jsonCodec)
    const done = new Set<unknown>()
    const consumers = [queue, other].map((one) => one.consume(({ value }) => void done.add(value)))
    await until('all came again', () => done.size === 20)
    await until('both members have worked', () => other.metrics().acked > 0)
    for (const message of held) await refuses('queue.lease-lost', () => message.ack())
    await Promise.all(consumers.map((consumer) => consumer.drain()))
  })

  test('a member that neither waits nor holds leaves its partitions to others', async () => {
    await using queues = await open({ prefix: 'idle.' })
    const queue = await queues.declare('mail', jsonCodec)
    await assertNothing(queue)
    await using others = await open({ prefix: 'idle.' })
    const other = await others.declare('mail', jsonCodec)
    await Promise.all(values(20).map((value) => queue.send(value)))
    const done = new Set<unknown>()
    const consumer = other.consume(({ value }) => void done.add(value))
    await until('all arrived where somebody works', () => done.size === 20)
    await consumer.drain()
  })

  test('dead letters are seen, put back by their ids, and deleted; those that stay keep all they have', async () => {
    await using queues = await open({ prefix: 'dead.' })
    const queue = await queues.declare('mail', jsonCodec, { needs: ['dead-letter', 'redrive', 'purge'] })
    for (const id of ['a', 'b', 'c', 'd']) await queue.send(id, { id, headers: { of: id } })
    for (const message of await take(queue, 4)) await message.reject(`because of ${message.id}`)
    await assertNothing(queue)
    const dead = await queue.deadLetters.peek()
    assert.deepEqual(
      sorted(dead.map(({ id, cause }) => `${id}: ${cause}`)),
      sorted(['a', 'b', 'c', 'd'].map((id) => `${id}: because of ${id}`)),
    )
    assert.equal(await queue.deadLetters.redrive({ ids: ['b', 'unknown'] }), 1)
    const back = await takeOne(queue)
    assert.deepEqual([back.id, back.value, back.attempt, { ...back.headers }], ['b', 'b', 1, { of: 'b' }])
    await back.ack()
    const rest = await queue.deadLetters.peek()
    assert.deepEqual(sorted(rest.map(({ id }) => id)), sorted(['a', 'c', 'd']))
    assert.ok(rest.every(({ id, cause, attempt }) => cause === `because of ${id}` && attempt === 1))
    assert.equal(await queue.deadLetters.redrive({ max: 2 }), 2)
    for (const message of await take(queue, 2)) await message.ack()
    assert.equal(await queue.deadLetters.purge(), 1)
    assert.deepEqual(await queue.deadLetters.peek(), [])
  })

  test('a topic that keeps less than is asked for is refused, and one replica in memory is no durability', async () => {
    await using weak = await open({ prefix: 'weak.', flushEach: false })
    await weak.declare('mail', jsonCodec)
    await refuses('queue.unsupported', () => weak.declare('mail', jsonCodec, { needs: ['durable-send'] }))
    await using strong = await open({ prefix: 'weak.' })
    await refuses('queue.not-durable', () => strong.declare('mail', jsonCodec))
  })

  test('a server that answers nothing any more is told of in time, and work goes on when it does', async () => {
    const events: QueueEvent[] = []
    await using queues = await open({ prefix: 'half.', onEvent: (event) => void events.push(event), patienceMs: 1000 })
    await outlivesSilence(queues, events, running())
  })
})

suite('kafka queues of a server that asks for names', { skip: needsBroker(kafkaWithNames) }, () => {
  test('the right name opens, and another is said', async () => {
    await using broker = await Broker.start(kafkaWithNames)
    const brokers = [`127.0.0.1:${broker.port}`]
    const sasl = { mechanism: 'PLAIN', username: 'stead', password: 'secret' } as const
    await using queues = await openKafkaQueues({ brokers, sasl })
    const queue = await queues.declare('mail', jsonCodec)
    await queue.send(1)
    await (await takeOne(queue)).ack()
    await refuses('queue.not-authorized', () => openKafkaQueues({ brokers, sasl: { ...sasl, password: 'wrong' } }))
  })
})
