/** Python's table for debuggers, as far as it is believed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { offsetsBytes, remoteOffsets } from './offsets.ts'

/** As Python 3.14.8 has it, in the places that are read. */
function table(version = 0x030e08f0n): Buffer {
  const bytes = Buffer.alloc(offsetsBytes)
  bytes.write('xdebugpy')
  const fields: readonly (readonly [offset: number, value: bigint])[] = [
    [8, version],
    [40, 808n],
    [80, 7360n],
    [712, 24n],
    [720, 304n],
    [728, 8076n],
    [736, 0n],
    [744, 4n],
    [752, 512n],
  ]
  for (const [offset, value] of fields) bytes.writeBigUInt64LE(value, offset)
  return bytes
}

test('the table of 3.14 is read', () => {
  const expected = { interpreters: 808, mainThread: 7360, enabled: 8076, flags: 24, pending: 304, path: 308 }
  assert.deepEqual(remoteOffsets(table()), { ...expected, pathBytesMax: 512 })
})

test('tables of other versions, and what is none, are not believed', () => {
  assert.equal(remoteOffsets(table(0x030d01f0n)), null)
  assert.equal(remoteOffsets(table(0x030f00a1n)), null)
  assert.equal(remoteOffsets(Buffer.alloc(offsetsBytes)), null)
  assert.equal(remoteOffsets(table().subarray(0, 700)), null)
  const wild = table()
  wild.writeBigUInt64LE(2n ** 60n, 80)
  assert.equal(remoteOffsets(wild), null)
})
