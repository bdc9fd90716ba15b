/** The README says what is so: every error code is listed, and its example runs. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { needsFile } from '../../test/needs.ts'

const here = import.meta.dirname
const readme = readFileSync(join(here, 'README.md'), 'utf8')

test('every error code is explained', () => {
  const sources = globSync('**/*.ts', { cwd: here }).filter((file) => !file.includes('.test.'))
  const thrown = sources.flatMap((file) =>
    [...readFileSync(join(here, file), 'utf8').matchAll(/\bcode: '(backup\.[a-z-]+)'/g)].map((match) => match[1] ?? ''),
  )
  const listed = [...readme.matchAll(/^\| `(backup\.[a-z-]+)` +\|/gm)].map((match) => match[1] ?? '')
  assert.deepEqual(listed, [...new Set(thrown)].sort())
})

test('the example runs', { skip: needsFile('/usr/bin/restic', 'apt-get install restic') }, async () => {
  const work = mkdtempSync(join(tmpdir(), 'stead-backup-readme-'))
  try {
    mkdirSync(join(work, 'shop'))
    writeFileSync(join(work, 'shop/orders'), 'three')
    const example = (/```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? '')
      .replace("'stead/backup'", JSON.stringify(join(here, 'index.ts')))
      .replace("'stead/base'", JSON.stringify(join(here, '../base/index.ts')))
      .replace('/etc/shop/backup.key', join(work, 'key'))
      .replace('/mnt/disk/backups', join(work, 'disk'))
      .replace('/var/lib/shop', join(work, 'shop'))
      .replaceAll('/var/tmp/', `${work}/`)
    writeFileSync(join(work, 'example.ts'), example)
    const args = ['--disable-warning=ExperimentalWarning', join(work, 'example.ts')]
    const { stdout } = await promisify(execFile)(process.execPath, args)
    assert.match(stdout, /^proved \d+ seconds? ago: 1 files restored; orders: three\n$/)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
})
