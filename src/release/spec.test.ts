/** The specification and the tests name one another: every invariant has its test where it says, and no test holds one that is not there. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '../..')
const spec = readFileSync(join(root, 'docs/spec-releases.md'), 'utf8')

/** Invariant and file, as `R1 src/release/property.test.ts`. */
const stated = [...spec.matchAll(/^- (R\d+): .+?((?: `[^`]+\.test\.ts`)+)$/gm)].flatMap(([, name = '', files = '']) =>
  [...files.matchAll(/`([^`]+)`/g)].map(([, file = '']) => `${name} ${file}`),
)

/** The same, from the titles of tests. */
const held = globSync('src/release/*.test.ts', { cwd: root }).flatMap((file) =>
  [...readFileSync(join(root, file), 'utf8').matchAll(/^\s*test\(\s*['`]((?:R\d+(?:, )?)+): /gm)].flatMap(
    ([, names = '']) => names.split(', ').map((name) => `${name} ${file}`),
  ),
)

test('every invariant has its test, and every test its invariant', () => {
  assert.ok(stated.length >= 25)
  assert.deepEqual([...new Set(held)].toSorted(), stated.toSorted())
})

test('invariants are numbered without gaps', () => {
  const numbers = [...new Set(stated.map((line) => line.split(' ')[0]))]
  assert.deepEqual(
    numbers,
    numbers.map((_, index) => `R${index + 1}`),
  )
})
