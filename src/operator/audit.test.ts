/** The record on disk: what an edit, a cut, a crash and a full disk do to it. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, suite, test } from 'node:test'
import { needsRoot } from '../../test/needs.ts'
import { isSteadError, ManualClock } from '../base/index.ts'
import { type AuditLimits, type AuditRecord, openAudit } from './audit-file.ts'
import type { Event } from './audit.ts'

const clock = new ManualClock(Date.parse('2026-03-01T12:00:00Z'))

function event(operation: string): Event {
  return {
    who: 'ann',
    from: 'socket',
    operation,
    app: 'shop',
    part: null,
    outcome: 'done',
    code: null,
    of: null,
    omitted: 0,
  }
}

suite('the audit record', () => {
  let dir = ''
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'audit-'))))
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  const open = (limits?: AuditLimits): Promise<AuditRecord> => openAudit(dir, clock, limits)
  const files = (): string[] =>
    readdirSync(dir)
      .filter((name) => name.endsWith('.jsonl'))
      .sort()
  const write = async (count: number, limits?: AuditLimits): Promise<void> => {
    await using record = await open(limits)
    for (let index = 0; index < count; index += 1) await record.append(event(`op ${index}`), index % 2 === 0)
  }
  const fault = async (limits?: AuditLimits): Promise<string | null> => {
    await using record = await open(limits)
    return (await record.verify()).fault
  }
  const path = (): string => join(dir, files().at(-1) ?? '')

  test('goes on over restarts, and many at once keep their order', async () => {
    await write(3)
    await using record = await open()
    const lines = await Promise.all(
      Array.from({ length: 100 }, (_, index) => record.append(event(`more ${index}`), true)),
    )
    assert.deepEqual(
      lines.map(({ n }) => n),
      Array.from({ length: 100 }, (_, index) => index + 4),
    )
    const verdict = await record.verify()
    assert.deepEqual([verdict.intact, verdict.lines, verdict.first, verdict.head.n], [true, 103, 1, 103])
    const found = await Array.fromAsync(record.lines({ app: 'shop', who: 'ann', sinceMs: clock.nowMs() }))
    assert.equal(found.length, 103)
    assert.deepEqual(await Array.fromAsync(record.lines({ app: 'blog', who: null, sinceMs: null })), [])
  })

  test('shows a line that was edited', async () => {
    await write(5)
    writeFileSync(path(), readFileSync(path(), 'utf8').replace('op 2', 'op 9'))
    assert.match((await fault()) ?? '', /^line 3 of audit-000000000001\.jsonl \(number 3\) was changed$/)
  })

  test('shows a line that was taken out, at the beginning, within and at the end', async () => {
    for (const gone of [0, 2, 4]) {
      rmSync(dir, { recursive: true, force: true })
      await write(5)
      const lines = readFileSync(path(), 'utf8').trimEnd().split('\n')
      writeFileSync(path(), `${lines.toSpliced(gone, 1).join('\n')}\n`)
      assert.match(
        (await fault()) ?? '',
        gone === 0 ? /missing/ : gone === 2 ? /cut out/ : /the end is cut off/,
        `line ${gone}`,
      )
    }
  })

  test('a cut at the end still shows after more was written', async () => {
    await write(5)
    const text = readFileSync(path(), 'utf8').trimEnd().split('\n')
    writeFileSync(path(), `${text.slice(0, 3).join('\n')}\n`)
    await write(2)
    assert.match((await fault()) ?? '', /^between number 3 and line 4 .* \(number 6\)/)
  })

  test('a line that a crash cut in half is taken away, and nothing is amiss', async () => {
    await write(4)
    appendFileSync(path(), '{"n":5,"who":"an')
    await write(1)
    assert.equal(await fault(), null)
    // The end may be known to be earlier than it is, when the machine died between the two.
    writeFileSync(join(dir, 'audit.head'), '')
    assert.equal(await fault(), null)
  })

  test('a full disk leaves room to record what mends it, and then says so', { skip: needsRoot() }, async () => {
    const disk = join(dir, 'disk')
    mkdirSync(disk)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk])
    try {
      await using record = await openAudit(disk, clock)
      await record.append(event('before'), true)
      assert.throws(() => writeFileSync(join(disk, 'filling'), Buffer.alloc(2 * 1024 * 1024)), { code: 'ENOSPC' })
      let written = 0
      let refused: unknown = null
      while (refused === null && written < 10_000) {
        await record.append(event(`op ${written}`), true).then(
          () => (written += 1),
          (error: unknown) => (refused = error),
        )
      }
      assert.ok(written > 100, `${written} lines`)
      assert.ok(isSteadError(refused) && refused.code === 'operator.not-recorded')
      assert.equal((await record.verify()).fault, null)
      rmSync(join(disk, 'filling'))
      await record.append(event('after'), true)
      const verdict = await record.verify()
      assert.deepEqual([verdict.fault, verdict.lines], [null, written + 2])
    } finally {
      execFileSync('umount', [disk])
    }
  })

  test('is bounded: old files go, and that is no cut', async () => {
    const limits = { fileBytesMax: 2000, filesMax: 3 }
    await write(60, limits)
    assert.equal(files().length, 3)
    assert.equal(await fault(limits), null)
    rmSync(join(dir, files()[1] ?? ''))
    assert.match((await fault(limits)) ?? '', /cut out/)
  })
})
