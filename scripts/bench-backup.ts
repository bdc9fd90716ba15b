/**
 * What backups cost: 100 MB, half of it noise and half of it text, backed up, backed up again after a change, restored; beside
 * `cp` and `tar` on the same disk in the same run. Needs restic. Prints a table; decides nothing.
 *
 *     scripts/node scripts/bench-backup.ts
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
  readdirSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openBackups, parseTarget, writeKey } from '../src/backup/index.ts'
import { seededRandom, systemClock, systemRandom } from '../src/base/index.ts'

const files = 100
const fileBytes = 1_000_000

const work = mkdtempSync(join(tmpdir(), 'stead-bench-backup-'))
const [tree, disk, keyFile] = [join(work, 'tree'), join(work, 'disk'), join(work, 'key')]

async function timed(what: string, bytes: () => number, run: () => unknown): Promise<void> {
  const startMs = performance.now()
  await run()
  const seconds = ((performance.now() - startMs) / 1000).toFixed(2)
  process.stdout.write(
    `${what.padEnd(44)}${`${seconds} s`.padStart(10)}${`${(bytes() / 1e6).toFixed(1)} MB`.padStart(12)}\n`,
  )
}

function sizeOf(path: string): number {
  const found = statSync(path)
  if (!found.isDirectory()) return found.size
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0)
}

function text(n: number): Buffer {
  const line = (row: number): string =>
    `${row}\t${createHash('sha256').update(`${n}/${row}`).digest('hex')}\t2026-01-01\tpaid\n`
  return Buffer.from(Array.from({ length: 12_000 }, (_, row) => line(row)).join('')).subarray(0, fileBytes)
}

try {
  mkdirSync(tree)
  for (let n = 0; n < files; n += 1) {
    writeFileSync(join(tree, `file-${n}`), n % 2 === 0 ? seededRandom(n + 1).bytes(fileBytes) : text(n))
  }
  execFileSync('sync')
  await writeKey(keyFile, systemRandom)
  const backups = await openBackups({ target: parseTarget(disk), keyFile, clock: systemClock, random: systemRandom })
  await backups.init()
  const of = { app: 'bench', name: 'n', checkpoint: 'c', generation: 1, release: null }
  let before = 0
  const grown = (): number => {
    const now = sizeOf(disk)
    const by = now - before
    before = now
    return by
  }
  process.stdout.write(
    `${`${sizeOf(tree) / 1e6} MB in ${files} files`.padEnd(44)}${'time'.padStart(10)}${'written'.padStart(12)}\n`,
  )
  const copy = join(work, 'copy')
  await timed(
    'cp -a, synced',
    () => sizeOf(copy),
    () => execFileSync('sh', ['-c', `cp -a ${tree} ${copy} && sync -f ${copy}`]),
  )
  const tar = join(work, 'tar')
  await timed(
    'tar | gzip -1, synced',
    () => sizeOf(tar),
    () => execFileSync('sh', ['-c', `tar -C ${tree} -c . | gzip -1 > ${tar} && sync -f ${tar}`]),
  )
  grown()
  await timed('first backup', grown, () => backups.backUp(tree, { ...of, atMs: systemClock.nowMs() }))
  await timed('backup again, nothing changed', grown, () => backups.backUp(tree, { ...of, atMs: systemClock.nowMs() }))
  for (let n = 0; n < files; n += 10) {
    const file = openSync(join(tree, `file-${n}`), 'r+')
    writeSync(file, Buffer.alloc(8192, n), 0, 8192, 500_000)
    closeSync(file)
  }
  await timed('backup after 10 pages of 8 kB have changed', grown, () =>
    backups.backUp(tree, { ...of, atMs: systemClock.nowMs() }),
  )
  const [backup] = (await backups.list()).slice(-1)
  const restored = join(work, 'restored')
  if (backup !== undefined) {
    await timed(
      'restore, compared and synced',
      () => sizeOf(restored),
      () => backups.restore(backup.id, restored),
    )
  }
  await timed(
    'verify, every byte at the target',
    () => 0,
    () => backups.verify('data'),
  )
} finally {
  rmSync(work, { recursive: true, force: true })
}
