/** What the pages say is so: the example of the README runs, every error code is listed, and so is the table of the howto. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { postgresLedger } from './drivers/postgres.ts'

const here = import.meta.dirname

test('the example runs', async () => {
  const readme = await readFile(join(here, 'README.md'), 'utf8')
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1]
  assert.ok(example !== undefined)
  const text = example.replace("'stead/effects'", `'${pathToFileURL(join(here, 'index.ts')).href}'`)
  const dir = await mkdtemp(join(tmpdir(), 'stead-readme-'))
  try {
    await writeFile(join(dir, 'example.mts'), text)
    await import(pathToFileURL(join(dir, 'example.mts')).href)
  } finally {
    await rm(dir, { recursive: true })
  }
})

test('every error code is explained', () => {
  const declared = /export type EffectFailure =\n([\s\S]*?)\n\n/.exec(
    readFileSync(join(here, 'errors.ts'), 'utf8'),
  )?.[1]
  const codes = [...(declared ?? '').matchAll(/'([a-z-]+)'/g)].map((match) => `effects.${match[1]}`)
  const listed = [...readFileSync(join(here, 'README.md'), 'utf8').matchAll(/^\| `(effects\.[a-z-]+)` /gm)]
  assert.deepEqual(
    listed.map((match) => match[1]),
    codes.toSorted(),
  )
  const sources = globSync('**/*.ts', { cwd: here }).map((file) => readFileSync(join(here, file), 'utf8'))
  for (const code of codes)
    assert.ok(
      sources.some((text) => text.includes(`'${code.slice('effects.'.length)}'`)),
      code,
    )
})

test('the table of the howto is the one that is made', () => {
  const page = readFileSync(join(here, '../../docs/howto/send-mail-and-go-back.md'), 'utf8')
  const plain = (text: string): string =>
    text
      .replaceAll(/--.*$/gm, '')
      .replaceAll(/\s+/g, ' ')
      .replaceAll(/ ?([(),]) ?/g, '$1')
      .trim()
  const shown = /create table[\s\S]*?\n\);/.exec(page)?.[0] ?? ''
  const { createTable } = postgresLedger({ query: async () => ({ rows: [] }) })
  assert.ok(shown !== '' && plain(createTable.join(' ')).includes(plain(shown)), createTable.join('\n'))
})
