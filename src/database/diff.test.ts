/** The merge of two ordered streams of rows, against a plain count over maps. The whole diff is in `provider.test.ts`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { compareRows } from './diff.ts'
import type { RowDigest } from './diff.ts'

async function* batches(rows: readonly RowDigest[], size: number): AsyncGenerator<readonly RowDigest[]> {
  for (let at = 0; at < rows.length; at += size) yield rows.slice(at, at + size)
}

test('merged counts equal those of a comparison key by key', async () => {
  const random = seededRandom(21)
  for (let round = 0; round < 200; round++) {
    const side = (): readonly RowDigest[] => {
      const rows = new Map([...random.bytes(40)].map((byte) => [`${byte & 31}`.padStart(2, '0'), `${byte >> 7}`]))
      return [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, content]) => ({ key, content }))
    }
    const [before, after] = [side(), side()]
    const find = (rows: readonly RowDigest[], key: string): RowDigest | undefined => rows.find((row) => row.key === key)
    const expected = {
      added: after.filter((row) => find(before, row.key) === undefined).length,
      removed: before.filter((row) => find(after, row.key) === undefined).length,
      changed: before.filter((row) => (find(after, row.key)?.content ?? row.content) !== row.content).length,
    }
    assert.deepEqual(await compareRows(batches(before, 7), batches(after, 5)), expected)
  }
})

test('rows without a key of their own pair up one to one', async () => {
  const rows = (...contents: readonly string[]): readonly RowDigest[] =>
    contents.map((content) => ({ key: content, content }))
  const counts = await compareRows(batches(rows('a', 'a', 'b'), 2), batches(rows('a', 'b', 'b', 'c'), 3))
  assert.deepEqual(counts, { added: 2, removed: 1, changed: 0 })
})
