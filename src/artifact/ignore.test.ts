/** Patterns of .steadignore, as a table. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bundleIgnore, ignoreLines } from './ignore.ts'
import { isSteadError } from '../base/index.ts'

const cases: readonly (readonly [pattern: string, ignored: readonly string[], kept: readonly string[]])[] = [
  ['a.txt', ['a.txt', 'x/a.txt'], ['b.txt', 'a.txt2']],
  ['/a.txt', ['a.txt'], ['x/a.txt']],
  ['x/a.txt', ['x/a.txt'], ['y/x/a.txt']],
  ['*.log', ['a.log', '.log', 'x/y.log'], ['a.log.gz', 'log']],
  ['a?c', ['abc', 'x/aéc'], ['ac', 'abbc']],
  ['x/*', ['x/a'], ['x/a/b', 'x']],
  ['**/tmp', ['tmp', 'a/tmp', 'a/b/tmp'], ['a/tmpx']],
  ['a/**/z', ['a/z', 'a/b/z', 'a/b/c/z'], ['z', 'b/a/z']],
  ['logs/', ['logs/', 'x/logs/'], ['logs']],
  ['[ab]', ['[ab]'], ['a']],
  ['\\!x', ['!x'], ['x']],
]

for (const [pattern, ignored, kept] of cases) {
  test(`ignore: ${pattern}`, () => {
    const ignore = ignoreLines([pattern])
    const isIgnored = (path: string): boolean => ignore(path.replace(/\/$/, ''), path.endsWith('/'))
    for (const path of ignored) assert.equal(isIgnored(path), true, path)
    for (const path of kept) assert.equal(isIgnored(path), false, path)
  })
}

test('ignore: the last line that matches decides, but what never belongs in a bundle stays out', () => {
  const ignore = bundleIgnore('# a comment\n*.md\n\n!README.md\n!*.pyc\n!.git\n')
  assert.equal(ignore('a.md', false), true)
  assert.equal(ignore('README.md', false), false)
  assert.equal(ignore('a.pyc', false), true)
  assert.equal(ignore('.git', true), true)
  assert.equal(ignore('x/node_modules/.cache', true), true)
  assert.equal(ignore('node_modules', true), false)
})

test('ignore: a pattern made of stars takes no longer than others', () => {
  const ignore = ignoreLines(['*a'.repeat(100) + 'b', '**/a/'.repeat(50) + 'b'])
  assert.equal(ignore('a'.repeat(250), false), false)
  assert.equal(ignore('a/'.repeat(500) + 'a', false), false)
})

test('ignore: too many patterns are refused', () => {
  assert.throws(
    () => bundleIgnore('x\n'.repeat(1001)),
    (error) => isSteadError(error) && error.code === 'artifact.ignore-refused',
  )
})
