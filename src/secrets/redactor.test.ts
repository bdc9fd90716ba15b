/** Redaction: every form of a value is found, wherever chunks end, and nothing else is touched. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { isFailure } from './conformance.ts'
import { patternsOf } from './patterns.ts'
import { redacted, Redactor } from './redactor.ts'

const through = (redactor: Redactor, chunks: readonly Uint8Array[]): string =>
  Buffer.concat([...chunks.map((chunk) => redactor.write(chunk)), redactor.end()]).toString()

const of = (...values: readonly string[]): Redactor =>
  new Redactor(values.flatMap((value) => patternsOf(Buffer.from(value))))

const value = 'p/ss w"rd+ü=42'

test('a value is found in every form that programs write it in', () => {
  const url = encodeURIComponent(value)
  const forms: Record<string, string> = {
    plain: value,
    'a URL': `https://user:${url}@host`,
    'a URL in small letters': url.toLowerCase(),
    'a form': url.replaceAll('%20', '+'),
    JSON: JSON.stringify({ password: value }),
    'JSON in ASCII': JSON.stringify({ password: value }).replace('ü', '\\u00fc'),
    'JSON with slashes escaped': JSON.stringify({ password: value }).replaceAll('/', '\\/'),
    hex: Buffer.from(value).toString('hex'),
    'hex in capitals': Buffer.from(value).toString('hex').toUpperCase(),
  }
  for (let before = 0; before < 7; before += 1) {
    for (let after = 0; after < 4; after += 1) {
      const bytes = Buffer.from(`${'x'.repeat(before)}${value}${'y'.repeat(after)}`)
      forms[`base64 with ${before} before and ${after} after`] = bytes.toString('base64')
      forms[`base64url with ${before} before and ${after} after`] = bytes.toString('base64url')
    }
  }
  for (const [name, form] of Object.entries(forms)) {
    const out = through(of(value), [Buffer.from(`before ${form} after\n`)])
    assert.ok(out.includes(redacted) && out.startsWith('before ') && out.endsWith(' after\n'), `${name}: ${out}`)
    // Of base64 at most the characters at the edges are left, which the neighbours share.
    assert.ok(out.length <= 'before  after\n'.length + form.length - value.length + redacted.length, `${name}: ${out}`)
  }
})

test('however the stream is cut, the same comes out', () => {
  const random = seededRandom(11)
  const roll = (sides: number): number => (random.bytes(1)[0] ?? 0) % sides
  const values = ['hunter2hunter2', 'hunter2hunter2-longer', 'abcabcabc', 'zzzzzzzz', 'line one of it\nline two of it']
  const patterns = values.flatMap((each) => patternsOf(Buffer.from(each))).map((pattern) => pattern.toString('latin1'))
  for (let round = 0; round < 400; round += 1) {
    const pieces = Array.from({ length: 12 }, () => {
      const picked = values[roll(values.length)] ?? ''
      const encoded = [
        picked,
        Buffer.from(picked).toString('base64'),
        picked.slice(0, roll(picked.length)),
        'abc',
        'z',
        '\n',
        ' ok ',
      ]
      return encoded[roll(encoded.length)] ?? ''
    })
    const text = Buffer.from(pieces.join(''))
    const whole = through(of(...values), [text])
    const chunks: Buffer[] = []
    for (let at = 0; at < text.length;) {
      const size = 1 + roll(9)
      chunks.push(text.subarray(at, at + size))
      at += size
    }
    assert.equal(through(of(...values), chunks), whole, JSON.stringify(pieces))
    for (const pattern of patterns) assert.ok(!Buffer.from(whole).toString('latin1').includes(pattern), whole)
  }
})

test('a value of which another is the start is taken whole', () => {
  const redactor = of('password', 'password-and-more')
  assert.equal(through(redactor, [Buffer.from('a password'), Buffer.from('-and-more b')]), `a ${redacted} b`)
  assert.equal(through(redactor, [Buffer.from('a password'), Buffer.from('-and-less b')]), `a ${redacted}-and-less b`)
  assert.equal(through(redactor, [Buffer.from('a password')]), `a ${redacted}`)
})

test('bytes that are no text pass unchanged, and a value of such bytes is found', () => {
  const bytes = Buffer.from([0, 255, 254, 10, 13, 128, 200, 0, 7])
  const redactor = new Redactor(patternsOf(bytes.subarray(1, 8)))
  const other = Buffer.from(Array.from({ length: 256 }, (_, index) => index))
  assert.deepEqual(Buffer.concat([redactor.write(other), redactor.end()]), other)
  assert.deepEqual(redactor.write(bytes), Buffer.from(`\0${redacted}\x07`, 'latin1'))
})

test('each line of a value of several lines is found by itself, but not what all keys have', () => {
  const key =
    '-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7\n-----END PRIVATE KEY-----\n'
  const redactor = of(key)
  assert.equal(redactor.text('> MIIEvQIBADANBgkqhkiG9w0BAQEFAASC <'), `> ${redacted} <`)
  assert.equal(redactor.text('-----BEGIN PRIVATE KEY-----'), '-----BEGIN PRIVATE KEY-----')
})

test('a value that is too short is refused, without being shown', () => {
  assert.throws(
    () => patternsOf(Buffer.from('12345')),
    (error) => {
      assert.ok(isFailure('too-short')(error) && !String(error).includes('12345'))
      return true
    },
  )
  assert.ok(patternsOf(Buffer.from('123456')).length > 0)
})

test('without values nothing is held back', () => {
  const redactor = new Redactor([])
  assert.equal(redactor.write(Buffer.from('as it is')).toString(), 'as it is')
  assert.equal(redactor.text('ü'), 'ü')
})
