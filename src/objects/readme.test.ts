/** The example of the README runs and prints what the README says. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

test('the example of the README', async () => {
  const readme = readFileSync(join(import.meta.dirname, 'README.md'), 'utf8')
  const [, example = '', output = ''] = /```ts\n(.*?)```\s+```text\n(.*?)```/s.exec(readme) ?? []
  const folder = await mkdtemp(join(tmpdir(), 'stead-readme-'))
  try {
    const program = join(folder, 'example.mts')
    writeFileSync(program, example.replace("'stead/objects'", JSON.stringify(import.meta.resolve('./index.ts'))))
    assert.equal(execFileSync(process.execPath, [program], { cwd: folder, encoding: 'utf8' }), output)
  } finally {
    await rm(folder, { recursive: true })
  }
})
