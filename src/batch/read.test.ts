/** What is read at start, where it is more than a store gives at once. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Json } from '../base/index.ts'
import { listBytesMax, openMemoryStore, valueBytesMax } from '../store/index.ts'
import { readRecords } from './read.ts'
import { keys } from './records.ts'

test('more tasks than a store gives at once are read all the same', async () => {
  await using store = openMemoryStore()
  const sentence = 'x'.repeat(valueBytesMax - 1000)
  const row: Json = [4, 1, 'n', 1, 2, 1, 'code', sentence, [], null, 0]
  const records = Math.ceil(listBytesMax / sentence.length) + 3
  for (let index = 0; index < records; index++) await store.putIf(keys.tasks(index % 13, index), { '0': row }, 0)
  await store.putIf(keys.tasks(130, 0), { '0': row }, 0)
  const { tasks } = await readRecords(store)
  assert.deepEqual(
    [...tasks.keys()].toSorted((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130],
  )
  assert.equal(
    [...tasks.values()].reduce((sum, chunks) => sum + chunks.length, 0),
    records + 1,
  )
})
