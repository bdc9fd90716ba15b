/** The README says what is so: every error code is listed, and its example runs. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

const here = import.meta.dirname
const readme = readFileSync(join(here, 'README.md'), 'utf8')

test('every error code is explained', () => {
  const sources = globSync('**/*.ts', { cwd: here }).filter((file) => !file.includes('.test.'))
  const thrown = sources.flatMap((file) =>
    [...readFileSync(join(here, file), 'utf8').matchAll(/\bcode: '(debug\.[a-z-]+)'/g)].map((match) => match[1] ?? ''),
  )
  const listed = [...readme.matchAll(/^\| `(debug\.[a-z-]+)` +\|/gm)].map((match) => match[1] ?? '')
  assert.deepEqual(listed, [...new Set(thrown)].sort())
})

test('the example runs', () => {
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  const work = mkdtempSync(join(tmpdir(), 'stead-debug-readme-'))
  try {
    const text = example
      .replace("'stead/debug'", JSON.stringify(join(here, 'index.ts')))
      .replace("'stead/base'", JSON.stringify(join(here, '../base/index.ts')))
    writeFileSync(join(work, 'example.ts'), text)
    const output = execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', join(work, 'example.ts')], {
      encoding: 'utf8',
    })
    assert.match(output, /^node \d+\.\d+/)
    assert.match(output, /name: 'main'/)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
})
