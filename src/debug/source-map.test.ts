/** Source maps: places there and back, in the format that compilers write. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseSourceMap } from './source-map.ts'

/** Two written lines that became lines 1 and 3 (from 0) of what runs; line 3 has two pieces. */
const map = JSON.stringify({ version: 3, sources: ['../src/web.ts'], mappings: ';AAAA;;AACA,IAAI' })

test('finds where a place was written, and where a written line runs', () => {
  const parsed = parseSourceMap(map, 'file:///app/dist/web.js.map')
  assert.ok(parsed !== null)
  assert.deepEqual(parsed.sources, ['file:///app/src/web.ts'])
  assert.equal(parsed.original(0, 0), null)
  assert.deepEqual(parsed.original(1, 12), { source: 'file:///app/src/web.ts', line: 0 })
  assert.deepEqual(parsed.original(3, 4), { source: 'file:///app/src/web.ts', line: 1 })
  assert.deepEqual(parsed.generated('file:///app/src/web.ts', 1), { line: 3, column: 0 })
  assert.deepEqual(parsed.generated('file:///app/src/web.ts', 0), { line: 1, column: 0 })
  assert.equal(parsed.generated('file:///app/src/web.ts', 2), null)
})

test('is no map when it is damaged', () => {
  for (const text of ['', '[]', '{"sources":1}', JSON.stringify({ sources: ['a'], mappings: 'A*' })]) {
    assert.equal(parseSourceMap(text, 'file:///a'), null, text)
  }
})
