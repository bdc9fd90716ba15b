/** What a person can get wrong with backups, through the real command: a sentence with a hint, and nothing is made. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { Workbench } from './command-line.ts'
import { needsFile } from './needs.ts'
import { assertRefused, type Refusal } from './small-app.ts'

suite('backups that cannot be', { skip: needsFile('/usr/bin/restic', 'apt-get install restic') }, () => {
  const cases: readonly (readonly [readonly string[], Refusal])[] = [
    [['backup', 'shop'], { code: 2, says: /where are the backups/, hint: /--to \/mnt/ }],
    [['backup', 'shop', '--to', 's3:https://me:mine@host/bucket'], { says: /at host has more/, hint: /environment/ }],
    [['backup', '.', '--to', '/nowhere'], { says: /There is no app file|no app/, hint: /./ }],
    [['backup', 'ls', '--from', '/nowhere'], { says: /key of backups cannot be read/, hint: /kept elsewhere/ }],
    [['restore', '--from', '/nowhere'], { says: /key of backups/, hint: /./ }],
  ]
  for (const [words, refusal] of cases) {
    test(`stead ${words.join(' ')}`, async () => {
      await using bench = new Workbench()
      assertRefused(await bench.stead(...words), refusal)
      assert.ok(!existsSync(join(bench.dir, 's', 'keys', 'backup.key')), 'no key is made')
    })
  }

  test('a key that others can read is not used, and one of nobody opens nothing', async () => {
    await using bench = new Workbench()
    const keys = join(bench.dir, 's', 'keys')
    mkdirSync(keys, { recursive: true })
    writeFileSync(join(keys, 'backup.key'), 'anything', { mode: 0o644 })
    const exposed = { says: /can be read by others/, hint: /chmod 600/ }
    assertRefused(await bench.stead('backup', 'ls', '--from', bench.dir), exposed)
  })
})
