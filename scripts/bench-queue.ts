/**
 * The embedded queues, beside what the disk and SQLite alone do in the same run: sends with 1, 100 and 1,000 callers, and messages
 * processed in batches. Bodies of 256 bytes, real fsync. Prints a table; decides nothing. A few seconds.
 */
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { json, openEmbeddedQueues } from '../src/queue/index.ts'
import { body, processed, sends, shown } from './bench-queue-measure.ts'

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

const folder = mkdtempSync(join(tmpdir(), 'stead-bench-queue-'))
try {
  await using queues = await openEmbeddedQueues({ path: join(folder, 'queues.db') })
  const queue = await queues.declare('bench', json)
  for (const size of sizes) {
    const disk = diskFloor(folder, size)
    const sqlite = sqliteFloor(folder, size)
    const { perSecond, cpuMicroseconds } = await sends(
      queue,
      size,
      messages[size === 1 ? 1 : size === 100 ? 100 : 1000],
    )
    const goal = size === 100 ? '   [goal: at least 60,000/s]' : ''
    process.stdout.write(
      `send, ${`${size} callers`.padEnd(13)} ${shown(perSecond).padStart(10)}  ${cpuMicroseconds.toFixed(1)} µs CPU; ` +
        `bare disk ${shown(disk)}, bare SQLite ${shown(sqlite)}: ${(perSecond / sqlite).toFixed(2)} of it${goal}\n`,
    )
  }
  for (const size of [100, 1000]) {
    const { perSecond, cpuMicroseconds } = await processed(queue, size, 40_000)
    const goal = size === 1000 ? '   [goal: at least 40,000/s]' : ''
    process.stdout.write(
      `processed in batches of ${String(size).padEnd(5)} ${shown(perSecond).padStart(10)}  ${cpuMicroseconds.toFixed(1)} µs CPU${goal}\n`,
    )
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
