/** Drills on a real repository: what they prove, what they find, and that they leave nothing behind. */
import assert from 'node:assert/strict'
import { existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { needsFile } from '../../../test/needs.ts'
import { seededRandom, systemClock, systemRandom } from '../../base/index.ts'
import type { Backup, Backups } from '../backups.ts'
import type { Proof } from '../drill.ts'
import { parseTarget } from '../target.ts'
import { writeKey } from './key-file.ts'
import { openBackups } from './restic.ts'
import { flip, pick } from './flips.test-helper.ts'
import { type DrillOptions, runDrill } from './run-drill.ts'

suite('drills', { skip: needsFile('/usr/bin/restic', 'apt-get install restic') }, () => {
  const work = mkdtempSync(join(tmpdir(), 'stead-drill-'))
  const [disk, tree, workDir] = [join(work, 'disk'), join(work, 'tree'), join(work, 'drill')]
  const random = seededRandom(11)
  let given: { readonly backups: Backups; readonly backup: Backup } | undefined
  const drill = (more: Partial<DrillOptions> = {}): Promise<Proof> => {
    assert.ok(given)
    const prove: DrillOptions['prove'] = ({ dir, extraDir }) => {
      assert.equal(readFileSync(join(dir, 'rows'), 'utf8'), 'ten rows')
      assert.equal(extraDir, null)
      return Promise.resolve({ checks: ['rows: 10'] })
    }
    return runDrill({
      ...given,
      dir: workDir,
      extraDir: join(work, 'drill-extra'),
      read: 'everything',
      prove,
      clock: systemClock,
      ...more,
    })
  }

  before(async () => {
    const keyFile = join(work, 'key')
    await writeKey(keyFile, systemRandom)
    const target = parseTarget(disk)
    const backups = await openBackups({ target, keyFile, clock: systemClock, random: systemRandom })
    await backups.init()
    mkdirSync(tree)
    writeFileSync(join(tree, 'rows'), 'ten rows')
    writeFileSync(join(tree, 'noise'), seededRandom(1).bytes(2_000_000))
    const of = { app: 'shop', name: 'n', checkpoint: 'c', generation: 1, release: null, atMs: 1000 }
    given = { backups, backup: await backups.backUp(tree, of) }
  })
  after(() => rmSync(work, { recursive: true, force: true }))

  test('what was restored and asked is proved, also where a drill before was cut off', async () => {
    mkdirSync(workDir)
    writeFileSync(join(workDir, 'left'), 'by a drill that was killed')
    const { checks, failure, backup, app, atMs } = await drill()
    assert.deepEqual([checks, failure], [['2 files restored', 'rows: 10'], null])
    assert.deepEqual([backup, app, atMs], [given?.backup.id, 'shop', 1000])
    assert.deepEqual(readdirSync(workDir), [], 'it left something behind')
    rmSync(workDir, { recursive: true })
  })

  test('what does not start is not proved', async () => {
    const prove = (): Promise<never> => Promise.reject(new Error('db: invalid page in block 7.'))
    const { checks, failure } = await drill({ read: 'restored', prove })
    assert.deepEqual([checks, failure], [[], 'db: invalid page in block 7'])
    assert.ok(!existsSync(workDir))
  })

  test('a backup that is gone is not proved', async () => {
    assert.ok(given)
    const gone = { ...given.backup, id: 'gone' }
    assert.match((await drill({ backup: gone, read: 'restored' })).failure ?? '', /There is no backup "gone"/)
  })

  for (const place of ['data/*/*', 'index/*', 'snapshots/*', 'config', 'keys/*']) {
    test(`one flipped byte in ${place} is found`, async () => {
      const file = pick(globSync(place, { cwd: disk }).toSorted(), random)
      const flipped = flip(join(disk, file), random, place === 'keys/*')
      try {
        const proof = await drill()
        assert.notEqual(proof.failure, null, `${file} at ${flipped.at} was not found`)
      } finally {
        flipped.undo()
      }
      assert.ok(!existsSync(workDir))
    })
  }

  test('with the bytes as they were, all is well again', async () => {
    assert.equal((await drill({ read: 'restored' })).failure, null)
  })
})
