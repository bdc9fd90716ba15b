/** What a person can get wrong with backups, through the real command: a sentence with a hint, and nothing is made. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { openBackups, parseTarget, writeKey } from '../src/backup/index.ts'
import { systemClock, systemRandom } from '../src/base/index.ts'
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

  test('the key of others, backups of a newer Stead, half of one, and a second key', async () => {
    await using bench = new Workbench()
    const [place, keys] = [join(bench.dir, 'backups'), join(bench.dir, 's', 'keys')]
    const made = await bench.stead('backup', 'key', '--make')
    assert.equal(made.code, 0, made.stderr)
    assertRefused(await bench.stead('backup', 'key', '--make'), { says: /key of backups .* already/, hint: /need it/ })
    const keyFile = join(keys, 'backup.key')
    const backups = await openBackups({
      target: parseTarget(place),
      keyFile,
      clock: systemClock,
      random: systemRandom,
    })
    await backups.init()
    const ls = ['backup', 'ls', '--from', place] as const
    const keep = (...tags: readonly string[]): void => {
      const options = [
        '-r',
        place,
        '--password-file',
        keyFile,
        'backup',
        '-q',
        ...tags.flatMap((tag) => ['--tag', tag]),
      ]
      execFileSync('restic', [...options, bench.appDir], { stdio: 'ignore' })
    }
    // What a backup has left that was killed before its record.
    keep('stead=1', 'kind=data', 'of=half', 'app=shop')
    const half = await bench.stead(...ls)
    assert.deepEqual([half.code, half.stdout], [0, ''])
    assert.match(half.stderr, /There is no backup at/)
    const none = await bench.stead('restore', 'shop', '--from', place, '--to', join(bench.dir, 'files'))
    assertRefused(none, { says: /no backup of shop/, hint: /none at all/ })
    assert.ok(!existsSync(join(bench.dir, 'files')), 'nothing is made')

    keep('stead=2', 'kind=record', 'of=new')
    assertRefused(await bench.stead(...ls), { says: /backups of format 2/, hint: /newer one/ })

    rmSync(keyFile)
    await writeKey(keyFile, systemRandom)
    const before = readdirSync(join(place, 'snapshots'))
    assertRefused(await bench.stead(...ls), { says: /another key|key does not open/, hint: /./ })
    assert.deepEqual(readdirSync(join(place, 'snapshots')), before)
  })
})
