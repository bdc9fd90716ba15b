/** The format of kept output: times there and back, names that sort, sizes within the total. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { archiveName, isArchive, parseOutputLine, rotationFor, stampOf } from './output.ts'
import { specLimits } from './spec.ts'

test('a line is read back with its time and its own spaces', () => {
  const timeMs = Date.UTC(2026, 10, 23, 4, 5, 6, 789)
  assert.deepEqual(parseOutputLine(`${stampOf(timeMs)}  two spaces of its own`), {
    timeMs,
    text: '  two spaces of its own',
  })
  assert.equal(parseOutputLine('no time'), null)
  assert.equal(stampOf(timeMs), '2026-11-23 04:05:06.789000000  ')
})

test('archive names sort as time does and are known again', () => {
  const names = [1, 999, 1000, 1_800_000_000_000].map(archiveName)
  assert.deepEqual([...names].sort(), names)
  assert.ok(names.every(isArchive))
  assert.equal(archiveName(0), '@400000000000000a00000000.s')
  assert.ok(!isArchive('current') && !isArchive('state'))
})

test('all files together stay within the total', () => {
  for (const total of [specLimits.outputBytesMin, specLimits.outputBytesMax]) {
    const { archives, fileBytes } = rotationFor(total)
    assert.ok((archives + 1) * (fileBytes + 8192 * 32) <= total)
    assert.ok(fileBytes >= 4096, 'what s6-log takes at least')
  }
})
