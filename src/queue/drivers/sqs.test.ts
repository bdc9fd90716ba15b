/** What of SQS needs no minutes: signatures, messages as text, refusals before any I/O, and one round on an emulator. The suite is long. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Broker, fauxqs, needsBroker } from '../../../test/brokers.ts'
import { jsonCodec } from '../codec.ts'
import { refuses, take, takeOne } from '../helpers.conformance.ts'
import { sqsOptions } from './sqs/place.test-helper.ts'
import { newText, openedText, textOf } from './sqs/message.ts'
import { Signer } from './sqs/signature.ts'
import { openSqsQueues } from './sqs.ts'

const credentials = {
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  sessionToken: null,
}

suite('signatures for SQS', () => {
  const atMs = Date.UTC(2015, 7, 30, 12, 36)

  test('the signature of the example that AWS publishes', () => {
    const { authorization } = new Signer(credentials, 'us-east-1', 'service').signed(
      { host: 'example.amazonaws.com' },
      '',
      atMs,
    )
    assert.equal(
      authorization,
      'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ' +
        'SignedHeaders=host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b',
    )
  })

  test('the token of lent credentials is signed, and a new day has a new key', () => {
    const signer = new Signer({ ...credentials, sessionToken: 'lent' }, 'us-east-1', 'sqs')
    const [today, tomorrow] = [0, 1].map((days) => signer.signed({ host: 'x' }, '{}', atMs + days * 86_400_000))
    assert.equal(today?.['x-amz-security-token'], 'lent')
    assert.match(today?.['authorization'] ?? '', /20150830.*SignedHeaders=host;x-amz-date;x-amz-security-token,/)
    assert.match(tomorrow?.['authorization'] ?? '', /20150831/)
    assert.deepEqual(signer.signed({ host: 'x' }, '{}', atMs), today)
  })
})

suite('messages as SQS carries them', () => {
  const base = { id: 'a', headers: { h: '\u{1F600}\ufffe' }, key: 'k', priority: 0, delayMs: 0, dedup: null }
  const there = (body: string | Uint8Array): { readonly text: string; readonly back: Uint8Array } => {
    const { body: text, attribute } = newText({ ...base, body }, 7)
    const received = { MessageId: 'server', Body: text, MessageAttributes: { stead: { StringValue: attribute } } }
    const opened = openedText(received)
    assert.deepEqual([opened.id, opened.headers, opened.key, opened.sentAtMs], ['a', base.headers, 'k', 7])
    assert.ok(!/[\ud800-\udfff\ufffe]/.test(text + attribute))
    return { text, back: opened.body }
  }

  test('plain text stays as it is, and everything else comes back as it was', () => {
    assert.equal(there('{"to":"Änne"}').text, '{"to":"Änne"}')
    for (const body of ['', '\u0000', '\u{1F600}', '\ufffe', ' '])
      assert.equal(Buffer.from(there(body).back).toString(), body)
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index)
    assert.deepEqual([...there(bytes).back], [...bytes])
    assert.equal(there(new Uint8Array(0)).back.length, 0)
  })

  test('room is kept for the cause of death, and what others sent is taken as it is', () => {
    const living = newText({ ...base, body: 'x' }, 7)
    const company = { id: 'a', headers: base.headers, key: 'k', priority: 0, sentAtMs: 7, counted: 0 }
    const dead = textOf({ ...company, cause: '\u0000'.repeat(2000), attempts: 5 }, 'x')
    assert.ok(dead.bytes <= living.bytes)
    const foreign = openedText({ MessageId: 'm', Body: 'hello', Attributes: { SentTimestamp: '9' } })
    assert.deepEqual([foreign.id, Buffer.from(foreign.body).toString(), foreign.sentAtMs], ['m', 'hello', 9])
  })
})

test('what cannot be SQS queues is refused before any I/O, and a server that is not there is said', async () => {
  const base = { region: 'eu-central-1', accessKeyId: 'x', secretAccessKey: 'y' }
  for (const bad of [
    { region: 'no region' },
    { prefix: 'Bad' },
    { endpoint: 'ftp://x' },
    { messageBytesMax: 1 },
    { pollSeconds: 21 },
  ]) {
    await refuses('queue.bad-input', () => openSqsQueues({ ...base, ...bad }))
  }
  await refuses('queue.unavailable', () => openSqsQueues({ ...base, endpoint: 'http://127.0.0.1:1' }))
})

test(
  'standard and FIFO queues on an emulator: sent, given back, settled, refused',
  { skip: needsBroker(fauxqs) },
  async () => {
    await using broker = await Broker.start(fauxqs)
    for (const fifo of [false, true]) {
      await using queues = await openSqsQueues({ ...sqsOptions(broker), fifo })
      const mail = await queues.declare('mail', jsonCodec, { needs: ['durable-send', 'lease', 'delayed-retry'] })
      await mail.send(1, { id: 'one', headers: { tenant: '7' }, ...(fifo ? { key: 'k' } : { delayMs: 1 }) })
      await mail.send(2, fifo ? { key: 'k' } : {})
      if (!fifo) for (const message of await take(mail, 2)) await message.retry()
      const first = await takeOne(mail)
      await first.reject('because')
      assert.equal((await mail.deadLetters.peek())[0]?.cause, 'because')
      await (await takeOne(mail)).ack()
      await refuses('queue.too-large', () => mail.send('x'.repeat(262_000)))
      await refuses('queue.unsupported', () => queues.declare('mail', jsonCodec, { needs: ['priority'] }))
      await refuses('queue.too-large', () => queues.declare('x'.repeat(90), jsonCodec))
    }
  },
)
