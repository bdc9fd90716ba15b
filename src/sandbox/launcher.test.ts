/** The scripts around a program, run by a real shell: the gate, the kept exit, quoting. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { filterProgram } from './filter.ts'
import { gateScript, initScript, keepExitScript, launcherScript, quote } from './launcher.ts'

/** Runs a script with a gate; `answer` is what the supervisor says, null when it dies instead. */
async function behindGate(
  script: string,
  answer: string | null,
  argv: readonly string[],
): Promise<{ code: number | null; out: string }> {
  const child = spawn('/bin/sh', ['-c', script, 'sh', ...argv], { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] })
  const gate = child.stdio[3] as Duplex
  let out = ''
  child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (out += chunk.toString()))
  gate.on('error', () => undefined)
  await once(gate, 'data')
  if (answer === null) gate.destroy()
  else gate.end(answer)
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, out: out.trim() }
}

for (const [name, script] of Object.entries({ initScript, gateScript })) {
  test(`${name}: the program runs when it is let go`, async () => {
    assert.deepEqual(await behindGate(script, 'go\n', ['sh', '-c', 'echo ran; exit 5']), { code: 5, out: 'ran' })
  })

  test(`${name}: the program never runs when its supervisor dies before, or says anything else`, async () => {
    for (const answer of [null, '', 'g', 'gone\n']) {
      assert.deepEqual(await behindGate(script, answer, ['echo', 'ran']), { code: 125, out: '' })
    }
  })
}

test('the kept exit is that of the program, also of one that a signal ended', () => {
  const directory = mkdtempSync(`${tmpdir()}/stead-launcher-`)
  try {
    const exitFile = `${directory}/it's kept`
    // A gate that has been passed: input that says `go` on every read.
    const run = (program: string): string => {
      const script = `exec 3<<'END'\ngo\nEND\n${keepExitScript([], exitFile, '/bin/mv')}`.replaceAll(
        '>&3',
        '>/dev/null',
      )
      spawnSync('/bin/sh', ['-c', script, 'sh', 'sh', '-c', program])
      return readFileSync(exitFile, 'utf8').trim()
    }
    assert.equal(run('exit 7'), '7')
    assert.equal(run('kill -9 $$'), '137')
    assert.deepEqual(readdirSync(directory), ["it's kept"], 'nothing half-written is left')
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('quoting survives what a path may hold', () => {
  for (const text of ['plain', "it's", '$(id) `id` "x" \\', 'two\nlines', '']) {
    assert.equal(spawnSync('/bin/sh', ['-c', `printf %s ${quote(text)}`], { encoding: 'utf8' }).stdout, text)
  }
})

test('nothing a user wrote stands in the launcher but quoted paths', () => {
  const script = launcherScript({
    mkfifo: '/usr/bin/mkfifo',
    recordDir: '/var/$(id)',
    logger: ['/usr/bin/s6-log', '/var/$(id)/output'],
    filter: ['/usr/bin/perl', '-e', filterProgram, '/var/$(id)/texts'],
    last: 'exec "$@"',
  })
  assert.ok(!script.replaceAll(/'[^']*'/g, '').includes('$(id)'))
})
