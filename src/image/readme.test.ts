/** The README: its example runs, and its table of errors is the one of the code. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

const readme = readFileSync(join(import.meta.dirname, 'README.md'), 'utf8')

test('README: the example runs', () => {
  const directory = mkdtempSync(join(tmpdir(), 'stead-image-readme-'))
  try {
    const example = (/```ts\n([^]*?)```/.exec(readme)?.[1] ?? '')
      .replace(/'stead\/([a-z]+)'/g, (_, room) => `'${join(import.meta.dirname, '..', room, 'index.ts')}'`)
      .replaceAll('/tmp/images', directory)
    writeFileSync(join(directory, 'example.mts'), example)
    const run = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', join(directory, 'example.mts')], {
      encoding: 'utf8',
      timeout: 60_000,
    })
    assert.equal(run.status, 0, run.stderr)
    assert.match(run.stdout, /^sha256:[0-9a-f]{12}: 1 layer\n1 \[ '\/bin\/server' \] plain 1000$/m)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})

test('README: lists every error code', () => {
  const sources = globSync('**/*.ts', { cwd: import.meta.dirname }).filter((name) => !name.endsWith('.test.ts'))
  const text = sources.map((name) => readFileSync(join(import.meta.dirname, name), 'utf8')).join('\n')
  const thrown = new Set([...text.matchAll(/code: '(image\.[a-z-]+)'/g)].map((match) => match[1]))
  const listed = [...readme.matchAll(/^\| `(image\.[a-z-]+)`/gm)].map((match) => match[1])
  assert.deepEqual(new Set(listed), thrown)
  assert.equal(listed.length, thrown.size)
})
