/** The example of the README runs and prints what the README says; its table of codes has every code there is. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
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
    writeFileSync(program, example.replace("'stead/queue'", JSON.stringify(import.meta.resolve('./index.ts'))))
    const flags = ['--disable-warning=ExperimentalWarning', program]
    assert.equal(execFileSync(process.execPath, flags, { cwd: folder, encoding: 'utf8', timeout: 120_000 }), output)
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('the README says when each error is thrown', () => {
  const source = readFileSync(join(import.meta.dirname, 'errors.ts'), 'utf8')
  const kinds = [...source.matchAll(/^ {2}\| '([a-z-]+)'/gm)].map(([, kind]) => kind)
  assert.ok(kinds.length > 20)
  assert.deepEqual(
    kinds.filter((kind) => !readme.includes(`\`queue.${kind}\``)),
    [],
  )
})
