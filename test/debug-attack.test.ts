/** Who may not look into a program: another part of the app, another user of the machine, a local process without a right. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from '../src/debug/bench.conformance.ts'
import { DapClient } from '../src/debug/dap-client.conformance.ts'
import { listeningSockets } from '../src/debug/drivers/proc.ts'
import { Workbench } from './command-line.ts'
import { nodeProgram, startPlain } from './debug-programs.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'
import { appFile } from './small-app.ts'

const nobody = 65_534
const ticking = `setInterval(function tick() {
  return process.uptime()
}, 50)
require('node:http').createServer((question, answer) => answer.end('ok')).listen(process.env.PORT)`
/** Tries every address that it knows of, at the port that it is told; prints what answered. */
const attacker = `const [port, ...hosts] = process.argv.slice(1)
const tries = hosts.map((host) => new Promise((resolve) => {
  const socket = require('node:net').connect({ port, host, timeout: 3000 })
  socket.on('connect', () => resolve('in at ' + host)).on('timeout', () => resolve('silent')).on('error', (error) => resolve(error.code))
}))
Promise.all(tries).then((results) => { console.log(results.join(' ')); process.exit() })`

test(
  'a part does not reach the debugger in another part, that uses it or not',
  { skip: needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'install bubblewrap')) },
  async () => {
    await using bench = new Workbench()
    const declared = `const web = service('web', { from: './web', run: ['node', 'server.js'], http: 3000 })
      const near = service('near', { from: './web', run: ['node', 'server.js'], http: 3000, use: { web } })
      const far = service('far', { from: './web', run: ['node', 'server.js'], http: 3000 })`
    bench.write({ 'app.ts': appFile(declared, '{ parts: { web, near, far } }'), 'web/server.js': ticking })
    const up = bench.up('--port', '0')
    await up.until(/small runs, after/)
    const debug = bench.start('debug', 'web', '--json')
    await debug.until(/"port":\d+/)
    const client = DapClient.to(Number(/"port":(\d+)/.exec(debug.output())?.[1]))
    await client.ask('initialize', { adapterID: 'node' })
    await client.ask('attach', {})
    await client.event('initialized')
    const { parts } = JSON.parse((await bench.stead('status', '--json')).stdout)
    const pid: number = parts.find((one: { readonly part: string }) => one.part === 'web').pid
    const inspector = listeningSockets(pid).find(({ localPort }) => localPort !== 3000)
    assert.ok(inspector !== undefined, 'its inspector listens, in its own network')
    for (const part of ['near', 'far']) {
      const words = [String(inspector.localPort), '127.0.0.1', 'web', '::1']
      const tried = await bench.stead('exec', part, '--', 'node', '-e', attacker, ...words)
      assert.equal(tried.code, 0, tried.stderr)
      assert.match(tried.stdout, /ECONNREFUSED/)
      assert.doesNotMatch(tried.stdout, /in at/)
      // Nor is its process there to be traced or signalled.
      const seen = await bench.stead('exec', part, '--', 'sh', '-c', `kill -USR1 ${pid} 2>&1; ls /proc/${pid} 2>&1`)
      assert.match(seen.stdout, /No such process|no such process/i)
    }
    await client.ask('disconnect')
    assert.equal((await up.stop()).code, 0)
  },
)

test('another user of the machine is refused, and the process hears nothing of it', { skip: needsRoot() }, async () => {
  await using stranger = new Workbench({ uid: nobody })
  const program = await startPlain(nodeProgram(process.execPath))('ticking')
  try {
    await until(async () => (await program.lines()).length > 0, 'the program to print')
    const before = listeningSockets(program.pid).length
    for (const look of [['stack'], ['profile', '--seconds', '1'], ['debug', '--json']]) {
      const refused = await stranger.stead(...look, '--pid', String(program.pid))
      assert.notEqual(refused.code, 0)
      assert.match(refused.stderr + refused.stdout, /you may not look into process \d+, which belongs to user 0/)
    }
    assert.equal(listeningSockets(program.pid).length, before)
  } finally {
    await program.end()
  }
})
