/** A part that stands at a breakpoint for longer than its probes would forgive is not taken for dead. */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { test } from 'node:test'
import { DapClient, listIn } from '../src/debug/dap-client.conformance.ts'
import { eventually, freePort, Workbench } from './command-line.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'
import { appFile, web } from './small-app.ts'

/** Three misses, five seconds apart and two long, and some more. */
const standMs = 30_000

test(
  'a breakpoint is no fault',
  { skip: needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'install bubblewrap')) },
  async () => {
    await using bench = new Workbench()
    bench.write({
      'app.ts': appFile(web('')),
      'web/server.js': `require('node:http').createServer((question, answer) => answer.end('ok')).listen(process.env.PORT)
setInterval(function tick() {
  return process.uptime()
}, 50)`,
    })
    const up = bench.up('--port', String(await freePort()))
    await up.until(/small runs, after/)
    const debug = bench.start('debug', 'web', '--json')
    await debug.until(/"port":\d+/)
    const client = DapClient.to(Number(/"port":(\d+)/.exec(debug.output())?.[1]))
    await client.ask('initialize', { adapterID: 'node' })
    await client.ask('attach', {})
    const source = { path: '/x/web/server.js' }
    const set = await client.ask('setBreakpoints', { source, breakpoints: [{ line: 3 }] })
    assert.equal(listIn(set, 'breakpoints')[0]?.['verified'], true)
    await client.ask('configurationDone')
    await client.event('stopped')
    const phase = async (): Promise<string> => (await bench.stead('status', '--json')).stdout
    await pause(standMs)
    assert.match(await phase(), /"phase":"ready"/)
    debug.child.kill('SIGKILL')
    // Held no more, it is judged again, and answers.
    const runs = async (): Promise<number> =>
      (await bench.stead('snapshot', 'web', 'server.js:3', 'this._repeat', '--hits', '1')).code
    await eventually('it runs on', runs, (code) => code === 0)
    assert.match(await phase(), /"restarts":0/)
  },
)
