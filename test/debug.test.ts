/** `stead stack`, `snapshot` and `profile` of a process that Stead knows nothing of. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { until } from '../src/debug/conformance.ts'
import { Workbench } from './command-line.ts'
import { nodeProgram, startPlain } from './debug-programs.ts'

test('a process is looked into by its id', async () => {
  await using bench = new Workbench()
  const out = mkdtempSync(join(tmpdir(), 'stead-debug-out-'))
  const program = await startPlain(nodeProgram(process.execPath))('ticking')
  const pid = ['--pid', String(program.pid)]
  try {
    await until(async () => (await program.lines()).length > 0, 'the program to print')
    const [stack, snapshot, profile] = [
      await bench.stead('stack', ...pid),
      await bench.stead('snapshot', 'ticking.cjs:5', 'count', 'password', ...pid, '--hits', '2'),
      await bench.stead('profile', ...pid, '--seconds', '1', '--out', join(out, 'p'), '--json'),
    ]
    assert.equal(stack.code, 0, stack.stderr)
    assert.match(stack.stdout, /^main (?:waits|is running)/)
    assert.match(stack.stderr, /opened its inspector .* until the debugger leaves/)
    assert.equal(snapshot.code, 0, snapshot.stderr)
    assert.match(snapshot.stdout, /count = \d+\n {2}password = "\[redacted\]"\n/)
    assert.equal(profile.code, 0, profile.stderr)
    assert.match(readFileSync(join(out, 'p.svg'), 'utf8'), /<svg .*<\/svg>\n$/s)
    assert.ok(Array.isArray(JSON.parse(readFileSync(join(out, 'p.cpuprofile'), 'utf8')).nodes))
  } finally {
    await program.end()
    rmSync(out, { recursive: true, force: true })
  }
})

test('what is wrong is said in a sentence', async () => {
  await using bench = new Workbench()
  const none = await bench.stead('stack', '--pid', '4194303')
  assert.deepEqual([none.code === 0, none.stderr.includes('there is no process 4194303')], [false, true], none.stderr)
  const other = await bench.stead('stack', '--pid', '1')
  assert.match(other.stderr, /process 1 runs \S+, for which there is no recipe|you may not look into process 1/)
  const missing = await bench.stead('snapshot', 'a.ts', 'b')
  assert.match(missing.stderr, /stead snapshot needs FILE:LINE/)
})
