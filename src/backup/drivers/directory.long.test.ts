/** The conformance suite on a directory, and what is special about one: keys in files, a machine without the tool, places that are refused. */
import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { needsFile } from '../../../test/needs.ts'
import { systemClock, systemRandom } from '../../base/index.ts'
import type { BackupOf, Backups } from '../backups.ts'
import { backupConformance } from '../conformance.ts'
import { parseTarget } from '../target.ts'
import { exportKey, writeKey } from './key-file.ts'
import { openBackups } from './restic.ts'

const restic = needsFile('/usr/bin/restic', 'apt-get install restic')

backupConformance({
  name: 'directory',
  skip: restic,
  open() {
    const dir = mkdtempSync(join(tmpdir(), 'stead-backup-target-'))
    return Promise.resolve({
      target: parseTarget(join(dir, 'disk')),
      close: () => Promise.resolve(rmSync(dir, { recursive: true, force: true })),
    })
  },
})

suite('backups in a directory', { skip: restic }, () => {
  const work = mkdtempSync(join(tmpdir(), 'stead-backup-dir-'))
  const keyFile = join(work, 'key')
  const tree = join(work, 'tree')
  const of: BackupOf = { app: 'shop', name: 'n', checkpoint: 'c', generation: 1, release: null, atMs: 1000 }
  const open = (path: string, more: { readonly keyFile?: string; readonly program?: string } = {}): Promise<Backups> =>
    openBackups({ target: parseTarget(path), keyFile, clock: systemClock, random: systemRandom, ...more })
  after(() => rmSync(work, { recursive: true, force: true }))

  test("a key is made once, is its owner's alone, and can be carried elsewhere", async () => {
    await writeKey(keyFile, systemRandom)
    await assert.rejects(writeKey(keyFile, systemRandom), { code: 'backup.key-exists' })
    const { key, advice } = await exportKey(keyFile)
    assert.match(key, /^(?:[0-9a-z]{4}-){8}[0-9a-z]{4}$/)
    assert.ok(advice.length > 0)
    const elsewhere = join(work, 'elsewhere')
    await writeKey(elsewhere, systemRandom, ` ${key.toUpperCase().replaceAll('0', 'O').replaceAll('-', ' ')}\n`)
    assert.equal(readFileSync(elsewhere, 'utf8'), readFileSync(keyFile, 'utf8'))
    chmodSync(elsewhere, 0o640)
    await assert.rejects(open('/nowhere', { keyFile: elsewhere }), { code: 'backup.file-exposed' })
    await assert.rejects(open('/nowhere', { keyFile: join(work, 'none') }), { code: 'backup.key-missing' })
    writeFileSync(
      join(work, 'typo'),
      key.replace(/.$/, (last) => (last === 'a' ? 'b' : 'a')),
      { mode: 0o600 },
    )
    await assert.rejects(open('/nowhere', { keyFile: join(work, 'typo') }), { code: 'backup.bad-key' })
  })

  test('a machine without restic, or with an old one, is told so', async () => {
    await assert.rejects(open('/nowhere', { program: join(work, 'restic') }), {
      code: 'backup.no-tool',
      hint: /apt-get install restic/,
    })
    writeFileSync(join(work, 'old'), '#!/bin/sh\necho restic 0.12.1 compiled with go\n', { mode: 0o755 })
    await assert.rejects(open('/nowhere', { program: join(work, 'old') }), { code: 'backup.old-tool' })
  })

  test('neither key nor target may lie in what is backed up', async () => {
    mkdirSync(tree)
    await writeKey(join(tree, 'key'), systemRandom)
    const within = await open(join(work, 'away'), { keyFile: join(tree, 'key') })
    await assert.rejects(within.backUp(tree, of), { code: 'backup.inside' })
    const target = await open(join(tree, 'deeper', 'disk'))
    await assert.rejects(target.backUp(tree, of), { code: 'backup.inside' })
    await assert.rejects(target.backUp(join(work, 'no-tree'), of), { code: 'backup.unreadable' })
    await assert.rejects(target.backUp(work, { ...of, name: 'two words' }), { code: 'backup.bad-name' })
  })

  test('no secret is in the arguments of the tool, and what it gets is its own', async () => {
    const spy = join(work, 'spy')
    writeFileSync(
      spy,
      `#!/bin/sh\ncase "$1" in version) exec /usr/bin/restic version;; esac\n{ echo "$@"; env; } > ${work}/seen\nexec /usr/bin/restic "$@"\n`,
      { mode: 0o755 },
    )
    process.env['STEAD_TEST_PRIVATE'] = 'not for children'
    try {
      const backups = await open(join(work, 'no-disk'), { program: spy })
      await assert.rejects(backups.list(), { code: 'backup.no-repository' })
    } finally {
      delete process.env['STEAD_TEST_PRIVATE']
    }
    const seen = readFileSync(join(work, 'seen'), 'utf8')
    assert.match(seen, /RESTIC_PASSWORD_FILE=/)
    assert.ok(!seen.includes((await exportKey(keyFile)).key) && !seen.includes('not for children'))
  })
})
