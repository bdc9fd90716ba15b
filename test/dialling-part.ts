/**
 * An app whose web part says where it runs and whom it can dial, and what holds of such a part wherever it is isolated: edges,
 * egress, exec, logs and status. Invariant: nothing of it depends on what isolates the part.
 */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { ask, type Workbench } from './command-line.ts'
import { appFile, web } from './small-app.ts'

/** Its files. `seen`: JavaScript that gives what it says of where it runs; `given`: further options of the part. */
export function diallingFiles(seen: string, given: string): Readonly<Record<string, string>> {
  const server = `
  const net = require('node:net')
  const dial = (host, port) => new Promise((resolve) => {
    const socket = net.connect(port, host)
    socket.setTimeout(10_000, () => { socket.destroy(); resolve('timeout') })
    socket.on('connect', () => { socket.destroy(); resolve('connected') })
    socket.on('error', (error) => resolve(error.code))
  })
  require('node:http').createServer(async (question, answer) => {
    const url = new URL(process.env.DB_DATABASE_URL)
    const tried = { db: await dial(url.hostname, url.port), other: await dial(url.hostname, 81), world: await dial('192.0.2.1', 80) }
    answer.end(JSON.stringify({ seen: ${seen}, ...tried }))
  }).listen(process.env.PORT, '127.0.0.1')
  console.log('serves')
  process.on('SIGTERM', () => process.exit(0))`
  const wiring = `const db = postgres('db', { migrations: './migrations' })
     ${web(`use: { db }, ${given}`)}`
  return {
    'app.ts': appFile(wiring),
    'migrations/0001_visits.sql': 'create table visits (who text)',
    'web/server.js': server,
  }
}

/** Its cases while it runs. `isWhere` asserts what it has seen; `status` is how the status tells where its instances are. */
export async function isAnyPart(
  t: TestContext,
  bench: Workbench,
  port: number,
  where: { readonly isWhere: (seen: string) => void; readonly status: RegExp },
): Promise<void> {
  await t.test('it serves from where it is isolated, reaches what it was given, and nothing else', async () => {
    const answer = await ask(port, '/', { host: 'small.localhost' })
    const told = JSON.parse(answer.body) as Record<string, string>
    where.isWhere(told['seen'] ?? '')
    assert.equal(told['db'], 'connected')
    assert.match(told['other'] ?? '', /ECONNREFUSED|timeout/)
    assert.notEqual(told['world'], 'connected')
  })

  await t.test('a program is run inside, its output is in the logs, status says where it is', async () => {
    const inside = await bench.stead('exec', 'web', '--', 'sh', '-c', 'echo $STEAD_PART $(id -u); exit 7')
    assert.deepEqual([inside.code, inside.stdout], [7, 'web 1000\n'], inside.stderr)
    assert.match((await bench.stead('logs', 'web')).stdout, /serves/)
    assert.match((await bench.stead('status')).stdout, where.status)
  })
}
