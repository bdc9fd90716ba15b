/** What of Kafka needs no server: the book of a member, messages as records, and refusals before any I/O. The suite is long. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { refuses } from '../helpers.conformance.ts'
import { KafkaBook } from './kafka/book.ts'
import { messageOfRecord, newKafkaMessage, recordOf } from './kafka/message.ts'
import { openKafkaQueues } from './kafka.ts'

/** A book of one partition with records of these keys, from offset 10 on. */
function bookOf(...keys: readonly (string | null)[]): KafkaBook<string> {
  const book = new KafkaBook<string>(new Map([[0, 10n]]))
  for (const [index, key] of keys.entries()) book.add(0, 10n + BigInt(index), key, 7, `m${index}`)
  return book
}

const names = (entries: readonly { readonly message: string }[]): readonly string[] =>
  entries.map(({ message }) => message)

suite('the book of a member of a group', () => {
  test('a partition is settled up to its first record that is not', () => {
    const book = bookOf(null, null, null)
    const [first, second, third] = book.take(10)
    assert.ok(first !== undefined && second !== undefined && third !== undefined)
    book.settle(second)
    assert.deepEqual([book.settled(), book.aheadMax], [[[0, 10n]], 1])
    book.settle(first)
    assert.deepEqual([book.settled(), book.aheadMax], [[[0, 12n]], 0])
    book.settle(third)
    assert.deepEqual(book.settled(), [[0, 13n]])
    book.settle(third)
    assert.deepEqual([book.settled(), book.inHand, book.waiting], [[[0, 13n]], 0, 0])
  })

  test('records of a key leave one at a time, in their order, also after one was given back', () => {
    const book = bookOf('a', 'a', 'b', null)
    const taken = book.take(10)
    assert.deepEqual(names(taken), ['m0', 'm2', 'm3'])
    assert.deepEqual(book.take(10), [])
    const [first] = taken
    assert.ok(first !== undefined)
    book.giveBack(first, 2)
    const [again] = book.take(1)
    assert.deepEqual([again?.message, again?.attempt], ['m0', 2])
    assert.deepEqual([book.waiting, book.waitingBytes], [1, 7])
    book.settle(first)
    assert.deepEqual(names(book.take(10)), ['m1'])
  })

  test('what was taken in before changes nothing, and batches may end with what is no message', () => {
    const book = bookOf(null)
    book.add(0, 10n, null, 7, 'again')
    book.add(7, 0n, null, 7, 'of another partition')
    assert.equal(book.waiting, 1)
    book.skipTo(0, 15n)
    assert.deepEqual([book.nexts(), book.settled()], [[[0, 15n]], [[0, 10n]]])
    const [only] = book.take(1)
    assert.ok(only !== undefined)
    book.settle(only)
    assert.deepEqual(book.settled(), [[0, 15n]])
    book.skipTo(0, 20n)
    assert.deepEqual(book.settled(), [[0, 20n]])
  })

  test('what waits can be forgotten, and what is held stays', () => {
    const book = bookOf('a', 'a', null)
    const [held] = book.take(1)
    assert.ok(held !== undefined)
    book.dropWaiting()
    assert.deepEqual([book.take(10), book.waiting, book.waitingBytes], [[], 0, 0])
    book.settle(held)
    assert.deepEqual(book.settled(), [[0, 13n]])
  })
})

test('messages come back from records as they were, also those of another program', () => {
  const sent = {
    id: 'a',
    body: new Uint8Array([0, 255]),
    headers: { h: 'ä' },
    key: 'k',
    priority: 0,
    delayMs: 0,
    dedup: null,
  }
  const message = { ...newKafkaMessage(sent, 7), cause: 'because', attempts: 3 }
  const { key = null, value, headers } = recordOf('mail', message)
  assert.deepEqual(
    messageOfRecord({ key, value, headers: [...headers] }, () => 'place'),
    {
      ...message,
      body: new Uint8Array([0, 255]),
    },
  )
  const foreign = messageOfRecord({ key: null, value: null, headers: [] }, () => 'place')
  assert.deepEqual([foreign.id, foreign.body.length, foreign.key, foreign.cause], ['place', 0, null, null])
})

test('what cannot be queues on Kafka is refused before any I/O', async () => {
  const brokers = ['127.0.0.1:9092']
  for (const bad of [
    { brokers: [] },
    { brokers: ['nowhere'] },
    { prefix: 'Bad' },
    { partitions: 0 },
    { replicas: 0 },
  ]) {
    await refuses('queue.bad-input', () => openKafkaQueues({ brokers, ...bad }))
  }
})
