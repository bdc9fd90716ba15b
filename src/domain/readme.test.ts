/** The README says what is so: its table is the drivers' own, every error code is listed, and its example runs. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../base/index.ts'
import { btrfsDriver, capabilityTable, copyDriver, xfsDriver } from './index.ts'

const here = import.meta.dirname
const readme = readFileSync(join(here, 'README.md'), 'utf8')
/** The README without the padding that the formatter gives to tables. */
const flat = readme.replaceAll(/ +/g, ' ').replaceAll(/-{3,}/g, '---')

test('the capability table is what the drivers say', () => {
  const table = capabilityTable([
    btrfsDriver({ clock: systemClock }),
    xfsDriver({ clock: systemClock }),
    copyDriver({ clock: systemClock, copyWith: 'cp' }),
  ])
  assert.ok(flat.includes(table.replaceAll(/ +/g, ' ')), `put this table into README.md:\n${table}`)
})

test('every error code is explained', () => {
  const sources = globSync('**/*.ts', { cwd: here }).filter((file) => !file.includes('.test.'))
  const thrown = sources.flatMap((file) =>
    [...readFileSync(join(here, file), 'utf8').matchAll(/\bcode: '(domain\.[a-z-]+)'/g)].map((match) => match[1] ?? ''),
  )
  const listed = [...flat.matchAll(/^\| `(domain\.[a-z-]+)` \|/gm)].map((match) => match[1] ?? '')
  assert.deepEqual(listed, [...new Set(thrown)].sort())
})

test('the example runs', () => {
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  const work = mkdtempSync(join(tmpdir(), 'domain-readme-'))
  try {
    const text = example
      .replace("'stead/domain'", JSON.stringify(join(here, 'index.ts')))
      .replace("'stead/base'", JSON.stringify(join(here, '../base/index.ts')))
      .replace('/var/lib/shop', join(work, 'shop'))
      .replace('10e9', '300e6')
    writeFileSync(join(work, 'example.ts'), text)
    const output = execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', join(work, 'example.ts')], {
      encoding: 'utf8',
    })
    assert.equal(output, 'first 2 spoilt\n')
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
})
