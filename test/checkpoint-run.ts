/** One run of the checkpoint proof: a domain on btrfs, real stores, as many checkpoints, each read back and judged. */
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Cleanup, initdb, Server, socketDirectory, unpackPostgres } from '../scripts/bench-domain-rig.ts'
import { seededRandom, systemClock } from '../src/base/index.ts'
import { btrfsDriver } from '../src/domain/index.ts'
import { progressOf, readCopy, startLoad, stores, violations } from './checkpoint-proof.ts'
import type { Contents } from './checkpoint-proof.ts'
import { needsAll, needsFile, needsFileSystem, needsRoot } from './needs.ts'

/** Why it cannot run here, or false. */
export const checkpointProofSkip: string | false = needsAll(
  needsRoot(),
  needsFile('/usr/sbin/mkfs.btrfs', 'apt-get install btrfs-progs'),
  needsFile('/dev/loop-control', 'loop devices in the kernel'),
  needsFileSystem('btrfs'),
)

const settings = { max_wal_size: '96MB', min_wal_size: '32MB', shared_buffers: '64MB', max_connections: '20' }

/** Takes and judges checkpoints under load; throws with what is out of order. Answers a line for the reader. */
export async function proveCheckpoints(checkpoints: number): Promise<string> {
  await using cleanup = new Cleanup()
  const work = mkdtempSync(join(tmpdir(), 'stead-proof-'))
  chmodSync(work, 0o755)
  cleanup.push(() => rmSync(work, { recursive: true, force: true }))
  const bin = unpackPostgres(work)
  const sockets = socketDirectory(work)
  const driver = btrfsDriver({ clock: systemClock, reserveBytes: () => 0 })
  const root = join(work, 'domain')
  const domain = await driver.open({ id: 'proof', root, home: 'here', sizeBytes: 1.5 * 2 ** 30 })
  cleanup.push(() => driver.destroy(root))
  cleanup.push(() => domain.close())
  chmodSync(root, 0o755)
  initdb(bin, join(domain.path, 'postgres'), 'nothing')
  const live = new Server(bin, join(domain.path, 'postgres'), sockets, 6000, settings)
  cleanup.push(() => live.stop('SIGQUIT'))
  assert.ok(await live.ready(), live.complaint)
  const random = seededRandom(20_261_129)
  const load = await startLoad(domain.path, live, { lanes: 6, restMs: 0 }, (sides) => (random.bytes(4)[3] ?? 0) % sides)
  cleanup.push(() => load.stop())

  const tookMs: number[] = []
  const duringMax = { writes: 0 }
  let before: Contents | null = null
  let mixedUp = 0
  for (let number = 1; number <= checkpoints; number += 1) {
    const name = `c${number}`
    // Two checkpoints are never of the same state.
    await progressOf(load)
    const askedAt = load.book.now()
    const startMs = systemClock.monotonicMs()
    await domain.checkpoint(name)
    tookMs.push(systemClock.monotonicMs() - startMs)
    const answeredAt = load.book.now()
    const copy = await domain.clone(`look-${number}`, name)
    const contents = await readCopy(copy.path, (data) => new Server(bin, data, sockets, 6001, settings))
    assert.deepEqual(violations(load.book, contents, askedAt, answeredAt).slice(0, 5), [], `checkpoint ${number}`)
    assert.deepEqual(load.failures, [], 'no writer was refused')
    duringMax.writes = Math.max(duringMax.writes, answeredAt - askedAt)
    // The proof of the proof: stores that are not of one moment are found out.
    if (before !== null) {
      for (const old of stores) {
        const mixed = { ...contents, [old]: before[old] }
        if (violations(load.book, mixed, 0, Number.POSITIVE_INFINITY).length > 0) mixedUp += 1
      }
    }
    before = contents
    await domain.delete(`look-${number}`)
    await domain.delete(name)
  }
  assert.equal(mixedUp, (checkpoints - 1) * stores.length, 'stores of two moments were taken for one')
  assert.ok(duringMax.writes > 1, 'nothing was written while a checkpoint was taken')
  const sorted = tookMs.toSorted((a, b) => a - b)
  const at = (share: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0).toFixed(0)
  const counts = stores.map((store) => `${load.book.count(store)} ${store}`).join(', ')
  return `${checkpoints} checkpoints, 0 violations; acknowledged: ${counts}; median ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`
}
