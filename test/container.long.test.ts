/**
 * Parts in containers of the machine's Incus server, through the real command line: `isolation: 'container'` and nothing else is
 * changed. The database beside it is a common sandbox.
 */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ask, freePort, Workbench } from './command-line.ts'
import { IncusTestServer, needsIncus } from './incus-server.ts'
import { appFile, web } from './small-app.ts'

const server = `
  const net = require('node:net')
  const { readFileSync } = require('node:fs')
  const dial = (host, port) => new Promise((resolve) => {
    const socket = net.connect(port, host)
    socket.setTimeout(10_000, () => { socket.destroy(); resolve('timeout') })
    socket.on('connect', () => { socket.destroy(); resolve('connected') })
    socket.on('error', (error) => resolve(error.code))
  })
  require('node:http').createServer(async (question, answer) => {
    const url = new URL(process.env.DB_DATABASE_URL)
    const tried = { db: await dial(url.hostname, url.port), other: await dial(url.hostname, 81), world: await dial('192.0.2.1', 80) }
    answer.end(JSON.stringify({ first: readFileSync('/proc/1/cmdline', 'utf8'), ...tried }))
  }).listen(process.env.PORT, '127.0.0.1')
  console.log('serves')
  process.on('SIGTERM', () => process.exit(0))`

const files = {
  'app.ts': appFile(
    `const db = postgres('db', { migrations: './migrations' })
     ${web("use: { db }, isolation: 'container', ready: { http: '/', timeout: '2m' }, limits: { processes: 64, memory: '256MB' }")}`,
  ),
  'migrations/0001_visits.sql': 'create table visits (who text)',
  'web/server.js': server,
}
const startMs = 150_000

suite('a part in a container of a server', { skip: needsIncus(), timeout: 400_000 }, () => {
  test('edges, egress, logs, exec and status are those of any part', async (t) => {
    await using incus = await IncusTestServer.start()
    await using bench = new Workbench({ env: { STEAD_INCUS: incus.socketPath } })
    bench.write(files)
    const port = await freePort()
    const up = bench.up('--port', String(port))
    await up.until(/small runs, after/, startMs)
    assert.equal((await incus.names()).length, 1)

    await t.test('it serves out of a container, reaches what it was given, and nothing else', async () => {
      const answer = await ask(port, '/', { host: 'small.localhost' })
      const told = JSON.parse(answer.body) as Record<string, string>
      assert.match(told['first'] ?? '', /\/sbin\/init/)
      assert.equal(told['db'], 'connected')
      assert.match(told['other'] ?? '', /ECONNREFUSED|timeout/)
      assert.notEqual(told['world'], 'connected')
    })

    await t.test('a program is run inside, its output is in the logs, status says where it is', async () => {
      const inside = await bench.stead('exec', 'web', '--', 'sh', '-c', 'echo $STEAD_PART $(id -u); exit 7')
      assert.deepEqual([inside.code, inside.stdout], [7, 'web 1000\n'], inside.stderr)
      assert.match((await bench.stead('logs', 'web')).stdout, /serves/)
      assert.match((await bench.stead('status')).stdout, /web: each instance in a container of its node’s Incus server/)
    })

    assert.equal((await up.stop()).code, 0)
    assert.deepEqual(await incus.names(), [])
  })

  test('a machine without a server says what is missing, with the name of the part', async () => {
    await using bench = new Workbench({ env: { STEAD_INCUS: '/no/such/unix.socket' } })
    bench.write(files)
    const up = bench.up('--port', '0')
    await up.until(/web[^]*Incus server at \/no\/such\/unix\.socket does not answer/, startMs)
    assert.equal((await up.stop()).code, 0)
  })
})
