/**
 * The embedded queues, beside what the disk and SQLite alone do in the same run: sends with 1, 100 and 1,000 callers, and messages
 * processed in batches; then the same inside a snapshot domain (a btrfs image), where this machine can have one. Bodies of 256
 * bytes, real fsync. Prints a table; decides nothing. A few seconds.
 */
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { systemClock } from '../src/base/index.ts'
import { btrfsDriver, missingForBtrfs } from '../src/domain/index.ts'
import { json, openEmbeddedQueues } from '../src/queue/index.ts'
import { body, processed, sends, shown } from './bench-queue-measure.ts'
import type { Rate } from './bench-queue-measure.ts'

const floorMs = 1000
const sizes = [1, 100, 1000]
const messages = { 1: 300, 100: 40_000, 1000: 60_000 }

/** Groups of so many bodies appended and made durable, one after another: what no queue on this disk can pass. */
function diskFloor(folder: string, group: number): number {
  const file = openSync(join(folder, 'floor'), 'w')
  const bytes = Buffer.alloc(group * body.length, 'x')
  let count = 0
  const startMs = performance.now()
  while (performance.now() - startMs < floorMs) {
    writeSync(file, bytes)
    fdatasyncSync(file)
    count += group
  }
  const rate = (count * 1000) / (performance.now() - startMs)
  closeSync(file)
  return rate
}

/** The same as rows of one narrow table in SQLite, synchronous=FULL: what is left when everything that makes a queue is not there. */
function sqliteFloor(folder: string, group: number): number {
  const db = new DatabaseSync(join(folder, `floor-${group}.db`))
  db.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (n INTEGER PRIMARY KEY, body TEXT) STRICT',
  )
  const insert = db.prepare('INSERT INTO t (body) VALUES (?)')
  let count = 0
  const startMs = performance.now()
  while (performance.now() - startMs < floorMs) {
    db.exec('BEGIN')
    for (let row = 0; row < group; row += 1) insert.run(body)
    db.exec('COMMIT')
    count += group
  }
  const rate = (count * 1000) / (performance.now() - startMs)
  db.close()
  return rate
}

const done = 40_000

/** Prints what the queues of a file in `folder` do; answers the rates. Of `beside`, if there is such a run, its share. */
async function measuredIn(folder: string, beside: readonly number[]): Promise<readonly number[]> {
  await using queues = await openEmbeddedQueues({ path: join(folder, 'queues.db') })
  const queue = await queues.declare('bench', json)
  const rates: number[] = []
  const line = (what: string, rate: Rate, more: string): void => {
    const of = beside[rates.length]
    const share = of === undefined ? '' : `; ${(rate.perSecond / of).toFixed(2)} of that outside`
    rates.push(rate.perSecond)
    const figures = `${shown(rate.perSecond).padStart(10)}  ${rate.cpuMicroseconds.toFixed(1)} µs CPU`
    process.stdout.write(`${what.padEnd(31)} ${figures}${share}${more}\n`)
  }
  for (const size of sizes) {
    const disk = diskFloor(folder, size)
    const sqlite = sqliteFloor(folder, size)
    const rate = await sends(queue, size, messages[size === 1 ? 1 : size === 100 ? 100 : 1000])
    const share = (rate.perSecond / sqlite).toFixed(2)
    const goal = size === 100 && beside.length === 0 ? '   [goal: at least 60,000/s]' : ''
    line(
      `send, ${size} callers`,
      rate,
      `; bare disk ${shown(disk)}, bare SQLite ${shown(sqlite)}: ${share} of it${goal}`,
    )
  }
  for (const size of [100, 1000]) {
    const goal = size === 1000 && beside.length === 0 ? '   [goal: at least 40,000/s]' : ''
    line(`processed in batches of ${size}`, await processed(queue, size, done), goal)
  }
  return rates
}

const folder = mkdtempSync(join(tmpdir(), 'stead-bench-queue-'))
try {
  const rates = await measuredIn(folder, [])
  const missing = await missingForBtrfs(folder)
  if (missing.length > 0) process.stdout.write(`inside a domain: not here: ${missing.join('; ')}\n`)
  else {
    const root = join(folder, 'domain')
    const driver = btrfsDriver({ clock: systemClock, reserveBytes: () => 0 })
    const domain = await driver.open({ id: 'bench', root, home: 'here', sizeBytes: 2 ** 30 })
    process.stdout.write('inside a domain:\n')
    try {
      await measuredIn(domain.path, rates)
    } finally {
      await domain.close()
      await driver.destroy(root)
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
