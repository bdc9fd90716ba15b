/** The README says what is so: every error code is listed and none that is not there, and its example runs. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

const here = import.meta.dirname
const readme = readFileSync(join(here, 'README.md'), 'utf8')

test('every error code is in the table', () => {
  const sources = globSync('**/*.ts', { cwd: here }).filter((path) => !/\.test(?:-helper)?\.ts$/.test(path))
  const thrown = sources.flatMap((path) =>
    [...readFileSync(join(here, path), 'utf8').matchAll(/code: '(certificates\.[a-z-]+)'/g)].map((match) => match[1]),
  )
  const listed = [...readme.matchAll(/^\| `(certificates\.[a-z-]+)`/gm)].map((match) => match[1])
  assert.deepEqual(
    listed,
    [...new Set(thrown)].sort((a = '', b = '') => (a < b ? -1 : 1)),
  )
})

test('the example runs', async (t) => {
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  const dir = mkdtempSync(join(tmpdir(), 'stead-readme-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const text = example.replace(/'stead\/(\w+)'/g, (_, room: string) => {
    return `'${pathToFileURL(join(here, '..', room, 'index.ts')).href}'`
  })
  const file = join(dir, 'example.mts')
  writeFileSync(file, text)
  const { stdout } = await promisify(execFile)(process.execPath, [file], { timeout: 60_000 })
  assert.equal(stdout, 'hello\n')
})
