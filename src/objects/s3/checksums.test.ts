/** Checksums: known values, any division into pieces, and combination. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { seededRandom } from '../../base/index.ts'
import { combineChecksums, startChecksum } from './checksums.ts'
import type { ChecksumAlgorithm } from './checksums.ts'

const known: Readonly<Record<ChecksumAlgorithm, string>> = {
  CRC32: 'cbf43926',
  CRC32C: 'e3069283',
  CRC64NVME: 'ae8b14860a799888',
  SHA1: 'f7c3bc1d808e04732adf679965ccc34ca7ae3441',
  SHA256: '15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225',
}
const names: readonly ChecksumAlgorithm[] = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256']

function sumOf(name: ChecksumAlgorithm, pieces: readonly Uint8Array[]): string {
  const sum = startChecksum(name)
  for (const piece of pieces) sum.update(piece)
  return sum.digest()
}

suite('checksums', () => {
  test('of the digits 1 to 9', () => {
    for (const name of names) {
      const hex = Buffer.from(sumOf(name, [Buffer.from('123456789')]), 'base64').toString('hex')
      assert.equal(hex, known[name], name)
    }
  })

  test('are the same however the bytes are divided, and combine', () => {
    const random = seededRandom(11)
    const bytes = random.bytes(5000)
    for (const name of names) {
      const whole = sumOf(name, [bytes])
      for (const cut of [0, 1, 7, 8, 9, 2500, 4999, 5000]) {
        const pieces = [bytes.subarray(0, cut), bytes.subarray(cut)]
        assert.equal(sumOf(name, pieces), whole, `${name} cut at ${cut}`)
        if (name === 'SHA1' || name === 'SHA256') continue
        const parts = pieces.map((piece) => ({ value: sumOf(name, [piece]), bytes: piece.length }))
        assert.equal(combineChecksums(name, 'FULL_OBJECT', parts).value, whole, `${name} combined at ${cut}`)
      }
    }
  })

  test('of parts carry their number', () => {
    const parts = [{ value: sumOf('SHA256', [Buffer.from('a')]), bytes: 1 }]
    assert.match(combineChecksums('SHA256', 'COMPOSITE', parts).value, /^[A-Za-z0-9+/]{43}=-1$/)
  })
})
