/** What a part can reach when it tries: only what it was given. The whole platform, with a part that does nothing but try. */
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { suite, test } from 'node:test'
import { ask, freePort, Workbench } from './command-line.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'

const skip = needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))

const appFile = `
import { app, postgres, secret, service } from 'stead'

export default app('jail', () => {
  const db = postgres('db')
  const key = secret('key')
  const owner = service('owner', { from: './owner', run: ['node', 'server.ts'], http: 3000, use: { db, key } })
  const prober = service('prober', { from: './prober', run: ['node', 'server.ts'], http: 3000, use: { owner } })
  return { parts: { owner, prober }, public: { 'owner.localhost': owner, 'prober.localhost': prober } }
})
`

const owner = `
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
createServer((_request, response) => {
  const secret = readFileSync(process.env['STEAD_SECRETS'] + '/key', 'utf8')
  response.end(JSON.stringify({ env: Object.keys(process.env).sort(), secretLength: secret.length }))
}).listen(process.env['PORT'])
`

const prober = `
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect } from 'node:net'

function dial(host: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, host)
    socket.setTimeout(3000, () => { resolve('timeout'); socket.destroy() })
    socket.on('connect', () => { resolve('connected'); socket.destroy() })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'))
  })
}

function attempt(work: () => unknown): string {
  try { work(); return 'allowed' } catch (error) { return (error as NodeJS.ErrnoException).code ?? 'refused' }
}

createServer(async (request, response) => {
  const hostPort = Number(new URL(request.url ?? '/', 'http://x').searchParams.get('port') ?? 1)
  const edges = []
  for (let last = 1; last <= 8; last += 1) edges.push([last, await dial('10.64.0.' + last, 5432)])
  response.end(JSON.stringify({
    given: await dial('owner', 3000),
    database: edges,
    name: await dial('db', 5432),
    metadata: await dial('169.254.169.254', 80),
    outside: await dial('192.0.2.1', 443),
    host: await dial('127.0.0.1', hostPort),
    files: Object.fromEntries(['/root', '/var/lib', '/etc/shadow', '/sys/kernel', '/home', '/srv'].map((path) => [path, attempt(() => readdirSync(path))])),
    writes: Object.fromEntries(['/app/x', '/usr/x', '/etc/x', '/proc/sys/kernel/core_pattern'].map((path) => [path, attempt(() => writeFileSync(path, 'x', { flag: 'a' }))])),
    tmp: attempt(() => writeFileSync('/tmp/x', 'x')),
    processes: readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)).length,
    status: Object.fromEntries(readFileSync('/proc/self/status', 'utf8').split('\\n').map((line) => line.split(/:\\s+/)).filter(([name]) => ['CapEff', 'CapBnd', 'NoNewPrivs', 'Seccomp'].includes(name ?? ''))),
    env: Object.keys(process.env).sort(),
  }))
}).listen(process.env['PORT'])
`

interface Report {
  readonly given: string
  readonly database: readonly (readonly [number, string])[]
  readonly name: string
  readonly metadata: string
  readonly outside: string
  readonly host: string
  readonly files: Readonly<Record<string, string>>
  readonly writes: Readonly<Record<string, string>>
  readonly tmp: string
  readonly processes: number
  readonly status: Readonly<Record<string, string>>
  readonly env: readonly string[]
}

suite('isolation of parts', { skip }, () => {
  test('a part reaches what it was given, by name, and nothing else', async () => {
    await using bench = new Workbench()
    bench.write({ 'app.ts': appFile, 'owner/server.ts': owner, 'prober/server.ts': prober })
    const port = await freePort()
    const running = bench.up('--port', String(port))
    await running.until(/jail runs, after/)

    const onHost = createServer((socket) => socket.end()).listen(0, '127.0.0.1')
    await new Promise((resolve) => onHost.once('listening', resolve))
    const address = onHost.address()
    const hostPort = typeof address === 'object' && address !== null ? address.port : 0
    const answer = await ask(port, `/?port=${hostPort}`, { host: 'prober.localhost' })
    onHost.close()
    const report = JSON.parse(answer.body) as Report

    assert.equal(report.given, 'connected')
    for (const [last, result] of report.database) assert.equal(result, 'ECONNREFUSED', `10.64.0.${last}:5432`)
    assert.match(report.name, /ENOTFOUND/, 'a name that was not given does not resolve')
    assert.equal(report.metadata, 'ECONNREFUSED')
    assert.equal(report.outside, 'ECONNREFUSED')
    assert.equal(report.host, 'ECONNREFUSED')
    for (const [path, result] of Object.entries(report.files)) assert.match(result, /ENOENT|EACCES|ENOTDIR/, path)
    for (const [path, result] of Object.entries(report.writes)) assert.match(result, /EROFS|EACCES|EPERM/, path)
    assert.equal(report.tmp, 'allowed')
    assert.ok(report.processes <= 3, `sees ${report.processes} processes`)
    assert.equal(report.status['CapEff'], '0000000000000000')
    assert.equal(report.status['CapBnd'], '0000000000000000')
    assert.deepEqual([report.status['NoNewPrivs'], report.status['Seccomp']], ['1', '2'])
    assert.ok(
      !report.env.some((name) => name.includes('DATABASE') || name.startsWith('PG')),
      'no credential it was not given',
    )

    const own = JSON.parse((await ask(port, '/', { host: 'owner.localhost' })).body) as {
      env: string[]
      secretLength: number
    }
    assert.ok(
      ['DATABASE_URL', 'DB_DATABASE_URL', 'PGHOST', 'PGPASSWORD', 'PGUSER'].every((name) => own.env.includes(name)),
    )
    assert.ok(own.secretLength >= 32)
    assert.ok(!own.env.some((name) => name.startsWith('KEY')), 'a secret is a file, not a variable')
  })
})
