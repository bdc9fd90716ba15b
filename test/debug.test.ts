/** `stead stack`, `snapshot`, `profile` and `debug` of a process that Stead knows nothing of. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { until } from '../src/debug/bench.conformance.ts'
import { DapClient, listIn } from '../src/debug/dap-client.conformance.ts'
import { Workbench } from './command-line.ts'
import { nodeProgram, probeLine, startPlain } from './debug-programs.ts'
import { needsRoot } from './needs.ts'

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

test('an editor is let in, and nobody else', { skip: needsRoot() }, async () => {
  await using bench = new Workbench()
  const program = await startPlain(nodeProgram(process.execPath))('ticking')
  try {
    await until(async () => (await program.lines()).length > 0, 'the program to print')
    const debug = bench.start('debug', '--pid', String(program.pid), '--write', '--json')
    await debug.until(/"port":\d+/)
    const port = Number(/"port":(\d+)/.exec(debug.output())?.[1])
    const launch = JSON.parse(readFileSync(join(bench.appDir, '.vscode/launch.json'), 'utf8'))
    assert.equal(launch.configurations[0].debugServer, port)

    const script = `require('net').connect(${port}, '127.0.0.1').on('error', () => {}).on('close', () => process.exit(7)).write('x')`
    const stranger = spawnSync('/usr/bin/env', ['node', '-e', script], { uid: 65_534, gid: 65_534, timeout: 30_000 })
    assert.equal(stranger.status, 7, String(stranger.stderr))
    await debug.until(/a program of user 65534 was refused/)

    const client = DapClient.to(port)
    await client.ask('initialize', { adapterID: 'node' })
    await client.ask('attach', {})
    await client.event('initialized')
    const source = { path: '/somewhere/ticking.cjs' }
    const set = await client.ask('setBreakpoints', { source, breakpoints: [{ line: probeLine }] })
    assert.equal(listIn(set, 'breakpoints')[0]?.['verified'], true)
    await client.ask('configurationDone')
    await client.event('stopped')
    await client.ask('disconnect')
    await until(() => debug.child.exitCode !== null, 'the command to end')
    assert.equal(debug.child.exitCode, 0, debug.output())
    const before = (await program.lines()).length
    await until(async () => (await program.lines()).length > before, 'the program to run on')
  } finally {
    await program.end()
  }
})

test('what is wrong is said in a sentence', async () => {
  await using bench = new Workbench()
  const none = await bench.stead('stack', '--pid', '4194303')
  assert.deepEqual([none.code === 0, none.stderr.includes('there is no process 4194303')], [false, true], none.stderr)
  const other = await bench.stead('stack', '--pid', '1')
  assert.match(
    other.stderr,
    /process 1 runs \S+, for which there is no recipe|you may not look into process 1|was stripped|has neither gdb|stopped for/,
  )
  const missing = await bench.stead('snapshot', 'a.ts', 'b')
  assert.match(missing.stderr, /stead snapshot needs FILE:LINE/)
})
