/** Amounts: units mean what they say, nonsense is refused, and writing and reading are inverse. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { formatBytes, formatDuration, parseBytes, parseDuration } from './units.ts'

test('units mean what they say', () => {
  assert.equal(parseBytes('256MB'), 256_000_000)
  assert.equal(parseBytes('256MiB'), 268_435_456)
  assert.equal(parseBytes('1.5GB'), 1_500_000_000)
  assert.equal(parseBytes('0B'), 0)
  assert.equal(parseDuration('500ms'), 500)
  assert.equal(parseDuration('1.5h'), 5_400_000)
  assert.equal(parseDuration('7d'), 604_800_000)
})

test('what is no amount is refused', () => {
  for (const text of [
    '',
    '256',
    'MB',
    '256 MB',
    '-1MB',
    '1e3MB',
    '256mb',
    '256M',
    '1.MB',
    '.5MB',
    '1,5MB',
    '9'.repeat(20) + 'TB',
  ]) {
    assert.equal(parseBytes(text), null, text)
  }
  for (const text of ['', '30', 's', '30 s', '-1s', '1min', '30S', '1e3s', 'Infinityms']) {
    assert.equal(parseDuration(text), null, text)
  }
})

test('an amount that is written is read as the same amount, at every size', () => {
  const random = seededRandom(7)
  const units = [1, 1000, 1024, 1000 ** 2, 1024 ** 2, 1000 ** 3, 1024 ** 3, 60_000, 3_600_000, 86_400_000]
  for (let round = 0; round < 2000; round++) {
    const bytes = Buffer.from(random.bytes(3))
    const amount = bytes.readUInt16LE() * (units[(bytes[2] ?? 0) % units.length] ?? 1)
    assert.equal(parseBytes(formatBytes(amount)), amount, formatBytes(amount))
    assert.equal(parseDuration(formatDuration(amount)), amount, formatDuration(amount))
  }
  assert.equal(formatBytes(256_000_000), '256MB')
  assert.equal(formatBytes(268_435_456), '256MiB')
  assert.equal(formatDuration(90_000), '90s')
})
