/**
 * One flipped bit, anywhere at the target, is found by the next drill; or it lies in the words that describe the key, and
 * nothing comes of it.
 */
import assert from 'node:assert/strict'
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { needsFile } from '../../../test/needs.ts'
import { seededRandom, systemClock, systemRandom } from '../../base/index.ts'
import { parseTarget } from '../target.ts'
import { flip, pick } from './flips.test-helper.ts'
import { writeKey } from './key-file.ts'
import { openBackups } from './restic.ts'
import { runDrill } from './run-drill.ts'

const flipsMax = 60
const restic = needsFile('/usr/bin/restic', 'apt-get install restic')

test('sixty flipped bits, one after another, are all found', { skip: restic, timeout: 600_000 }, async (t) => {
  const work = mkdtempSync(join(tmpdir(), 'stead-flips-'))
  try {
    const [disk, tree, keyFile] = [join(work, 'disk'), join(work, 'tree'), join(work, 'key')]
    await writeKey(keyFile, systemRandom)
    const clock = systemClock
    const backups = await openBackups({ target: parseTarget(disk), keyFile, clock, random: systemRandom })
    await backups.init()
    mkdirSync(tree)
    const random = seededRandom(Number(process.env['STEAD_TEST_SEED'] ?? 23))
    const of = { app: 'shop', name: 'n', checkpoint: 'c', generation: 1, release: null, atMs: 1000 }
    // Two, so that there is data that only the older one uses.
    writeFileSync(join(tree, 'noise'), random.bytes(300_000))
    await backups.backUp(tree, of)
    writeFileSync(join(tree, 'noise'), random.bytes(300_000))
    const backup = await backups.backUp(tree, { ...of, atMs: 2000 })

    const harmless: string[] = []
    for (let n = 0; n < flipsMax; n += 1) {
      const files = globSync(['data/*/*', 'index/*', 'snapshots/*', 'keys/*', 'config'], { cwd: disk }).toSorted()
      const file = pick(files, random)
      const flipped = flip(join(disk, file), random, false)
      const proof = await runDrill({
        backups,
        backup,
        dir: join(work, 'drill'),
        extraDir: join(work, 'drill-extra'),
        read: 'everything',
        prove: () => Promise.resolve({ checks: [] }),
        clock,
      })
      const text = readFileSync(join(disk, file), 'latin1')
      flipped.undo()
      if (proof.failure !== null) continue
      harmless.push(`${file.slice(0, 8)} at ${flipped.at}`)
      assert.ok(
        file.startsWith('keys/') && flipped.at < text.indexOf('"kdf"'),
        `${file} at ${flipped.at} was not found`,
      )
    }
    t.diagnostic(
      `${flipsMax - harmless.length} found, ${harmless.length} harmless, in words about the key: ${harmless.join(', ')}`,
    )
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
})
