/** What of Pulsar needs no broker: messages as it carries them, and refusals before any I/O. The suite is long. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { refuses } from '../helpers.conformance.ts'
import { messageOf, sendOf } from './pulsar/message.ts'
import { openPulsarQueues } from './pulsar.ts'

suite('queues on Pulsar', () => {
  test('messages come back as they were, also those of another program', () => {
    const message = {
      id: 'a b',
      body: new Uint8Array([0, 255]),
      headers: { h: 'ä\n' },
      sentAtMs: 7,
      counted: 2,
      cause: 'because',
      attempts: 3,
    }
    const { payload, properties, deliverAt } = sendOf(message, 99)
    assert.equal(deliverAt, 99)
    const back = messageOf({ messageId: 'CAE=', payload, properties, redeliveryCount: 1 })
    assert.deepEqual(back, { ...message, attempt: 4 })
    const text = sendOf({ ...message, body: 'ä', cause: null, attempts: 0 }, null)
    assert.ok(!('deliverAt' in text))
    assert.equal(messageOf({ messageId: 'CAE=', ...text }).body, 'ä')
    const foreign = messageOf({ messageId: 'CAE=', payload: 'eA==' })
    assert.deepEqual([foreign.id, foreign.attempt, foreign.cause], ['CAE=', 1, null])
    assert.deepEqual(foreign.body, new Uint8Array([120]))
  })

  test('what cannot be queues on Pulsar is refused before any I/O', async () => {
    const url = 'http://127.0.0.1:8080'
    for (const bad of [
      { url: 'pulsar://127.0.0.1:6650' },
      { url: 'nowhere' },
      { url: 'http://name:word@host' },
      { url, namespace: 'default' },
      { url, prefix: 'Bad' },
      { url, messagesMax: 0 },
    ]) {
      await refuses('queue.bad-input', () => openPulsarQueues(bad))
    }
  })
})
