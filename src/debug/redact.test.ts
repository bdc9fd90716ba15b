/** What is not shown: names that look like secrets, and texts that are known to be. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { types } from 'node:util'
import { describeValue } from './node/describe.ts'
import { looksSecret, mapTexts, redactedText, secretName, redactText } from './redact.ts'

const options = { secret: secretName, redacted: redactedText, isProxy: types.isProxy }

test('expressions are judged by their last name', () => {
  for (const secret of ['password', 'user.passwd', "env['API_KEY']", 'req.headers.authorization', 'sessionToken'])
    assert.ok(looksSecret(secret), secret)
  for (const plain of ['count', 'password.length', 'passenger', 'a + b', 'order.id'])
    assert.ok(!looksSecret(plain), plain)
})

test('known texts are taken out wherever they stand', () => {
  const value = { url: 'postgres://app:s3cret9@db', list: ['s3cret9', 1], s3cret9: true, short: 'abc' }
  const hide = (text: string): string => text.replaceAll('s3cret9', redactedText)
  assert.deepEqual(mapTexts(value, hide), {
    url: 'postgres://app:[redacted]@db',
    list: ['[redacted]', 1],
    '[redacted]': true,
    short: 'abc',
  })
})

test('a value is described without running any of its code', () => {
  let ran = 0
  const trap = new Proxy({}, { get: () => ran++, ownKeys: () => (ran++, []) })
  const self: Record<string, unknown> = { name: 'x' }
  self['self'] = self
  const value = {
    get costly() {
      return ran++
    },
    toJSON: () => ran++,
    trap,
    self,
    api_key: 'k',
    when: new Date(0),
    big: 10n,
    not: Number.NaN,
    map: new Map([['token', 't']]),
    bytes: new Uint8Array(3),
    error: new TypeError('bad'),
  }
  assert.deepEqual(describeValue(value, options), {
    costly: '[Getter]',
    toJSON: '[Function]',
    trap: '[Proxy]',
    self: { name: 'x', self: '[Circular]' },
    api_key: '[redacted]',
    when: '1970-01-01T00:00:00.000Z',
    big: '10n',
    not: 'NaN',
    map: { 'Map(1)': [['token', '[redacted]']] },
    bytes: '[3 bytes]',
    error: { message: 'bad' },
  })
  assert.equal(ran, 0)
})

test('secrets that stand in a text beside their names are taken out', () => {
  assert.equal(redactText(`{user = "a", password = 0x5f "b, c", n = 3}`), '{user = "a", password = [redacted], n = 3}')
  assert.equal(redactText(`{'api_key': 'c\\'d', 'x': 1}`), `{'api_key': [redacted], 'x': 1}`)
  assert.equal(redactText('main.User {Name: "a", Token: "b"}'), 'main.User {Name: "a", Token: [redacted]}')
  assert.equal(redactText('counted = 12'), 'counted = 12')
  assert.equal(redactText('Order {id=1, api_key=[redacted]}'), 'Order {id=1, api_key=[redacted]}')
})

test('a description is bounded', () => {
  const wide = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`k${index}`, { deep: [1, 2, 3] }]))
  const text = JSON.stringify(describeValue([wide, wide, 'x'.repeat(1e6)], options))
  assert.ok(text.length < 20_000, String(text.length))
})
