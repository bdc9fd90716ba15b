/** The example of the README runs and prints what the README says; its tables of errors are whole. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

const readme = readFileSync(join(import.meta.dirname, 'README.md'), 'utf8')

test('the example of the README', async () => {
  const [, example = '', output = ''] = /```ts\n(.*?)```\s+```text\n(.*?)```/s.exec(readme) ?? []
  const folder = await mkdtemp(join(tmpdir(), 'stead-readme-'))
  try {
    const program = join(folder, 'example.mts')
    writeFileSync(program, example.replace("'stead/check'", JSON.stringify(import.meta.resolve('./index.ts'))))
    assert.equal(execFileSync(process.execPath, [program], { cwd: folder, encoding: 'utf8' }), output)
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('README.md lists every error and problem of the room, and no other', () => {
  const files = globSync('**/*.ts', { cwd: import.meta.dirname }).filter((path) => !path.endsWith('.test.ts'))
  const texts = files.map((path) => readFileSync(join(import.meta.dirname, path), 'utf8')).join('\n')
  const used = new Set(texts.match(/'check\.[a-z-]+'/g)?.map((code) => code.slice(1, -1)))
  const listed = new Set([...readme.matchAll(/^\| `(check\.[a-z-]+)`/gm)].map((match) => match[1] ?? ''))
  assert.deepEqual([...listed].sort(), [...used].sort())
})
