/** The README: its example runs, and its table of errors is the one of the code. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'node:test'
import { temporaryDirectory } from './support.test.ts'

const readme = readFileSync(join(import.meta.dirname, 'README.md'), 'utf8')

test('README: the example runs', (context) => {
  const example = /```ts\n([^]*?)```/.exec(readme)?.[1] ?? ''
  const src = join(import.meta.dirname, '..')
  const local = example.replace(
    /'stead\/([a-z]+)'/g,
    (_, room) => `'${pathToFileURL(join(src, room, 'index.ts')).href}'`,
  )
  const directory = temporaryDirectory(context)
  const path = join(directory, 'example.mts')
  writeFileSync(path, local)
  const env = { ...process.env, TMPDIR: directory }
  const argv = ['--disable-warning=ExperimentalWarning', path]
  const run = spawnSync(process.execPath, argv, { env, encoding: 'utf8', timeout: 60_000 })
  assert.equal(run.status, 0, run.stderr)
  assert.match(run.stdout, /^bundle [0-9a-f]{12}: 1 files/m)
})

test('README: lists every error code', () => {
  const sources = globSync('*.ts', { cwd: import.meta.dirname }).filter((name) => !name.endsWith('.test.ts'))
  const text = sources.map((name) => readFileSync(join(import.meta.dirname, name), 'utf8')).join('\n')
  const thrown = new Set([...text.matchAll(/'(artifact\.[a-z-]+)'/g)].map((match) => match[1]))
  const listed = new Set([...readme.matchAll(/^\| `(artifact\.[a-z-]+)`/gm)].map((match) => match[1]))
  assert.deepEqual(listed, thrown)
})
