/** What is kept of programs is bounded, whatever they make of their arguments, and holds no value, where it is cut neither. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { keepEvidence } from './evidence.ts'

const skip = existsSync('/proc/self/cmdline') ? false : 'needs /proc'

test('long arguments and many lines are cut, and no part of a value stays at the cut', { skip }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'st-'))
  const secret = 'a-value-of-a-secret'.repeat(20)
  const child = spawn('sleep', ['30'], { argv0: `sleep${'x'.repeat(16 * 1024 - 105)}${secret}${'y'.repeat(60_000)}` })
  try {
    await once(child, 'spawn')
    const pids = Array.from({ length: 50 }, () => child.pid ?? 0)
    const output = Array.from({ length: 100_000 }, (_, index) => `line ${index}`)
    const redact = (text: string): string => text.replaceAll(secret, '[secret]')
    const kept = keepEvidence(dir, { pids: [...pids, 0], output, refused: [], redact })
    assert.deepEqual(kept, ['processes.txt', 'files.txt', 'maps.txt', 'sockets.txt', 'output.txt'])
    for (const name of kept) assert.ok(statSync(join(dir, name)).size <= 256 * 1024, name)
    const processes = readFileSync(join(dir, 'processes.txt'), 'utf8')
    assert.match(processes, /^process \d+: sleepx+\[secret\]y+\n {2}runs .*\n {2}Name:\tsleep\n/)
    assert.ok(!processes.includes('a-value'))
    assert.match(readFileSync(join(dir, 'maps.txt'), 'utf8'), /\[stack\]/)
    assert.match(readFileSync(join(dir, 'output.txt'), 'utf8'), /^line 0\nline 1\n/)
  } finally {
    child.kill('SIGKILL')
    rmSync(dir, { recursive: true })
  }
})
