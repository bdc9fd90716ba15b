/** The example of the README runs and prints what its comments say. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

test('the example of the README runs', async (t) => {
  const readme = readFileSync(join(import.meta.dirname, 'README.md'), 'utf8')
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  const directory = mkdtempSync(join(tmpdir(), 'stead-gateway-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const face = pathToFileURL(join(import.meta.dirname, 'index.ts')).href
  const file = join(directory, 'example.mts')
  writeFileSync(file, example.replace('stead/gateway', face))
  const { stdout } = await promisify(execFile)(process.execPath, [file], { timeout: 60_000 })
  assert.equal(stdout, 'hello 127.0.0.1\n\nweb-1 may stop\n')
})
