/** What an instance printed, over its starts. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { sleep, systemClock as clock } from '../base/index.ts'
import { processDriver } from '../sandbox/index.ts'
import { Attempts } from './attempts.ts'

suite('attempts', () => {
  test('a follower is told what an attempt that has ended printed once, and then what the next one prints', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'st-'))
    const driver = processDriver({ clock, groups: null })
    const attempts = new Attempts(join(dir, 'records'), driver, clock)
    const run = async (text: string): Promise<void> => {
      const { number, recordDir } = await attempts.next()
      const sandbox = await driver.start({
        id: `shop.job.${number}`,
        argv: ['/bin/sh', '-c', `echo ${text}`],
        env: { PATH: '/usr/bin:/bin' },
        cwd: dir,
        mounts: [],
        files: [],
        hostUid: process.getuid?.() === 0 ? 65_534 : (process.getuid?.() ?? 1),
        limits: { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: null },
        syscalls: 'none',
        network: null,
        recordDir,
        outputBytesMax: 1024 * 1024,
      })
      await sandbox.exited
    }
    const stop = new AbortController()
    const lines: string[] = []
    try {
      await run('first')
      const following = (async () => {
        for await (const { text } of attempts.output({ follow: true, signal: stop.signal })) lines.push(text)
      })()
      // Long enough for it to look for a successor some times.
      await sleep(clock, 1000)
      await run('second')
      const endMs = clock.monotonicMs() + 20_000
      while (!lines.includes('second') && clock.monotonicMs() < endMs) await sleep(clock, 20)
      stop.abort()
      await following
      assert.deepEqual(lines, ['first', 'second'])
    } finally {
      stop.abort()
      await attempts.remove()
      rmSync(dir, { recursive: true, force: true })
    }
  })
})
