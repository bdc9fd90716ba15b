/** The example of the README runs as it stands, but for where its imports come from. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'

test('the example runs', async () => {
  const readme = await readFile(join(import.meta.dirname, 'README.md'), 'utf8')
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1]
  assert.ok(example !== undefined)
  const source = (path: string): string => pathToFileURL(join(import.meta.dirname, '..', path)).href
  const text = example
    .replace(/'stead\/(\w+)\/conformance'/g, (_, room: string) => `'${source(`${room}/conformance.ts`)}'`)
    .replace(/'stead\/(\w+)'/g, (_, room: string) => `'${source(`${room}/index.ts`)}'`)
    .replace(`'pg'`, `'${import.meta.resolve('pg')}'`)
  const dir = await mkdtemp(join(tmpdir(), 'stead-readme-'))
  try {
    await writeFile(join(dir, 'example.mts'), text)
    await import(pathToFileURL(join(dir, 'example.mts')).href)
  } finally {
    await rm(dir, { recursive: true })
  }
})
