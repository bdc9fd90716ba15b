/** Processes of another machine, reached by the real OpenSSH: the same commands, and nothing is left there. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { until } from '../src/debug/bench.conformance.ts'
import { DapClient, listIn } from '../src/debug/dap-client.conformance.ts'
import { nodeProgram, probeLine, startPlain } from './debug-programs.ts'
import { needsSshServer, SshServer } from './ssh-server.ts'

/** What was brought and is there still. */
const left = (): readonly string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('stead-look.'))

test('a process of another machine is looked into, and nothing is left there', { skip: needsSshServer() }, async () => {
  await using server = await SshServer.start()
  const program = await startPlain(nodeProgram(process.execPath))('ticking')
  const before = left().length
  const place = `${server.url}/${program.pid}`
  try {
    await until(async () => (await program.lines()).length > 0, 'the program to print')
    const stack = await server.client.stead('stack', place)
    assert.equal(stack.code, 0, stack.stderr)
    assert.match(stack.stdout, /^main (?:waits|is running)/)
    const snapshot = await server.client.stead('snapshot', place, 'ticking.cjs:5', 'count', 'password', '--hits', '2')
    assert.equal(snapshot.code, 0, snapshot.stderr)
    assert.match(snapshot.stdout, /count = \d+\n {2}password = "\[redacted\]"\n/)
    const none = await server.client.stead('stack', `${server.url}/4194303`)
    assert.match(none.stderr, /there is no process 4194303/)
    const nameless = await server.client.stead('stack', `${server.url}/`)
    assert.match(nameless.stderr, /names no process/)
    await until(() => left().length === before, 'what was brought to be gone')
  } finally {
    await program.end()
  }
})

test('an editor reaches it, and a killed command leaves nothing', { skip: needsSshServer() }, async () => {
  await using server = await SshServer.start()
  const program = await startPlain(nodeProgram(process.execPath))('ticking')
  const before = left().length
  try {
    await until(async () => (await program.lines()).length > 0, 'the program to print')
    const debug = server.client.start('debug', `${server.url}/${program.pid}`, '--json')
    await debug.until(/"port":\d+/)
    const client = DapClient.to(Number(/"port":(\d+)/.exec(debug.output())?.[1]))
    await client.ask('initialize', { adapterID: 'node' })
    await client.ask('attach', {})
    await client.event('initialized')
    const source = { path: '/somewhere/ticking.cjs' }
    const set = await client.ask('setBreakpoints', { source, breakpoints: [{ line: probeLine }] })
    assert.equal(listIn(set, 'breakpoints')[0]?.['verified'], true)
    await client.ask('configurationDone')
    await client.event('stopped')
    const gone = new Promise((resolve) => debug.child.once('exit', resolve))
    debug.child.kill('SIGKILL')
    await gone
    const printed = (await program.lines()).length
    await until(async () => (await program.lines()).length > printed, 'the program to run on')
    await until(() => left().length === before, 'what was brought to be gone')
  } finally {
    await program.end()
  }
})
