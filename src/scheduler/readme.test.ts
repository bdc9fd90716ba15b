/** The README says what is so: its example prints what it shows, and its table of errors is complete. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

const here = import.meta.dirname
const readme = readFileSync(join(here, 'README.md'), 'utf8')

test('the example prints what is shown below it', () => {
  const [, example = '', shown = ''] = /```ts\n([\s\S]*?)```\n\n```text\n([\s\S]*?)```/.exec(readme) ?? []
  const work = mkdtempSync(join(tmpdir(), 'scheduler-readme-'))
  try {
    const text = example.replace("'stead/scheduler'", JSON.stringify(join(here, 'index.ts')))
    writeFileSync(join(work, 'example.ts'), text)
    const output = execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', join(work, 'example.ts')], {
      encoding: 'utf8',
    })
    assert.equal(output, shown)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
})

test('every error code is explained', () => {
  const thrown = [...readFileSync(join(here, 'errors.ts'), 'utf8').matchAll(/\bcode: '(scheduler\.[a-z-]+)'/g)]
  const listed = [...readme.matchAll(/^\| `(scheduler\.[a-z-]+)` +\|/gm)]
  assert.deepEqual(
    listed.map(([, code = '']) => code),
    thrown.map(([, code = '']) => code).toSorted((a, b) => (a < b ? -1 : 1)),
  )
})
