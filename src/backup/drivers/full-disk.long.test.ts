/** A target that is full, then gone, then back; and a place that has no room for what is restored. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { needsAll, needsFile, needsRoot } from '../../../test/needs.ts'
import { seededRandom, systemClock, systemRandom } from '../../base/index.ts'
import type { BackupOf } from '../backups.ts'
import { parseTarget } from '../target.ts'
import { writeKey } from './key-file.ts'
import { openBackups } from './restic.ts'

const skip = needsAll(needsFile('/usr/bin/restic', 'apt-get install restic'), needsRoot())

test('a disk that is full, and then gone, and then back', { skip }, async () => {
  const work = mkdtempSync(join(tmpdir(), 'stead-backup-full-'))
  const [disk, tree, keyFile] = [join(work, 'small'), join(work, 'tree'), join(work, 'key')]
  const of: BackupOf = { app: 'shop', name: 'n', checkpoint: 'c', generation: 1, release: null, atMs: 1000 }
  mkdirSync(tree)
  await writeKey(keyFile, systemRandom)
  mkdirSync(disk)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'none', disk])
  try {
    const backups = await openBackups({
      target: parseTarget(join(disk, 'backups')),
      keyFile,
      clock: systemClock,
      random: systemRandom,
    })
    await backups.init()
    writeFileSync(join(tree, 'file'), seededRandom(2).bytes(1_000_000))
    const good = await backups.backUp(tree, of)
    const large = join(work, 'large')
    mkdirSync(large)
    writeFileSync(join(large, 'noise'), seededRandom(3).bytes(20_000_000))
    await assert.rejects(backups.backUp(large, { ...of, atMs: 2000 }), { code: 'backup.target-full', retry: 'later' })
    assert.deepEqual(await backups.list(), [good])
    renameSync(join(disk, 'backups'), join(disk, 'unplugged'))
    await assert.rejects(backups.backUp(tree, of), { code: 'backup.no-repository', hint: /mounted/ })
    assert.ok(!existsSync(join(disk, 'backups')), 'nothing is written to where the disk should be')
    renameSync(join(disk, 'unplugged'), join(disk, 'backups'))
    await backups.forget([])
    await backups.restore(good.id, join(work, 'from-small'))
    assert.deepEqual(readFileSync(join(work, 'from-small/file')), readFileSync(join(tree, 'file')))
    // A place without room for what is restored is left as it was.
    const tiny = join(work, 'tiny')
    mkdirSync(tiny)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', tiny])
    try {
      await assert.rejects(backups.restore(good.id, join(tiny, 'to')), { code: 'backup.no-room' })
      assert.ok(!existsSync(join(tiny, 'to')))
    } finally {
      execFileSync('umount', [tiny])
    }
  } finally {
    execFileSync('umount', [disk])
    rmSync(work, { recursive: true, force: true })
  }
})
