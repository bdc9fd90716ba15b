/** Files that look unchanged are not read again, unless they were written to at the very moment of the checkpoint before. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { needsFile } from '../../../test/needs.ts'
import { systemClock, systemRandom } from '../../base/index.ts'
import { parseTarget } from '../target.ts'
import { writeKey } from './key-file.ts'
import { openBackups } from './restic.ts'

test('which look at a file is trusted', { skip: needsFile('/usr/bin/restic', 'apt-get install restic') }, async () => {
  const work = mkdtempSync(join(tmpdir(), 'stead-unchanged-'))
  try {
    const [tree, keyFile, spy] = [join(work, 'tree'), join(work, 'key'), join(work, 'spy')]
    mkdirSync(tree)
    writeFileSync(spy, `#!/bin/sh\necho "$@" >> ${work}/seen\nexec /usr/bin/restic "$@"\n`, { mode: 0o755 })
    await writeKey(keyFile, systemRandom)
    const target = parseTarget(join(work, 'disk'))
    const backups = await openBackups({ target, keyFile, clock: systemClock, random: systemRandom, program: spy })
    await backups.init()
    const of = { app: 'shop', name: 'n', checkpoint: 'c', generation: 1, release: null }
    const data = async (atMs: number): Promise<string> => {
      await backups.backUp(tree, { ...of, atMs })
      const lines = readFileSync(join(work, 'seen'), 'utf8').split('\n')
      return lines.findLast((line) => line.includes('kind=data')) ?? ''
    }
    writeFileSync(join(tree, 'file'), 'written as the checkpoint was taken')
    const writtenMs = systemClock.nowMs()
    assert.match(await data(writtenMs), /--force/, 'there is nothing to compare with')
    assert.match(await data(writtenMs + 60_000), /--force/, 'the file may have been written to once more in that tick')
    assert.match(await data(writtenMs + 120_000), /--parent \S/, 'long after the last change nothing is in doubt')
    writeFileSync(join(tree, 'file'), 'written later')
    assert.match(await data(writtenMs + 180_000), /--parent \S/, 'what has changed shows it')
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
})
