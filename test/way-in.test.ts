/** `stead up --tls`, whole: https and HTTP/2 by the local authority, gRPC's protocol to a part, and a port for TCP. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { freePort, Workbench } from './command-line.ts'
import { ask } from './gateway-rig.ts'
import { appFile, server, web } from './small-app.ts'
import { askHttp2, askTls, openHttp2 } from './tls-rig.ts'

const talk = `
  require('node:http2').createServer().on('stream', (stream, headers) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-spoken': headers['x-forwarded-proto'] }))
    stream.on('error', () => undefined)
    stream.end('by HTTP/2')
  }).listen(process.env.PORT)
  process.on('SIGTERM', () => process.exit(0))`

const echo = `
  require('node:net').createServer((socket) => socket.on('error', () => undefined).pipe(socket)).listen(process.env.PORT)
  process.on('SIGTERM', () => process.exit(0))`

suite('the way in', () => {
  test('https, HTTP/2 to a part, and TCP; plain HTTP is sent on; the authority is made once', async (t) => {
    await using bench = new Workbench()
    const tcp = await freePort()
    bench.write({
      'app.ts': appFile(
        [
          web(),
          `const talk = service('talk', { from: './talk', run: ['node', 'server.js'], http: 4000, protocol: 'h2c' })`,
          `const echo = service('echo', { from: './echo', run: ['node', 'server.js'], tcp: 5000 })`,
        ].join('\n'),
        `{ parts: {}, public: {
            'small.localhost': { to: web, hsts: '1d' }, 'talk.localhost': talk, 'tcp:${tcp}': echo
        } }`,
      ),
      'web/server.js': server,
      'talk/server.js': talk,
      'echo/server.js': echo,
    })
    const up = bench.up('--port', '0', '--tls')
    await up.until(new RegExp(`https:.*tcp://127\\.0\\.0\\.1:${tcp}`, 's'))
    const url = /https:\/\/small\.localhost:(\d+)/.exec(up.output())
    const port = Number(url?.[1])
    const roots = readFileSync(/trust (\S+ca\.pem)/.exec(up.output())?.[1] ?? '', 'utf8')
    const key = join(bench.env['STEAD_STATE'] ?? '', 'certificates', 'local', 'authority.pem')
    assert.equal(statSync(key).mode & 0o777, 0o600)

    const first = await askTls({ port, roots }, { host: 'small.localhost' })
    assert.deepEqual([first.status, first.body], [200, 'ok'])
    assert.equal(first.headers['strict-transport-security'], 'max-age=86400')
    const plain = await ask(port, { path: '/x', headers: { host: 'small.localhost' } })
    assert.deepEqual([plain.status, plain.headers.location], [308, `https://small.localhost:${port}/x`])

    const session = await openHttp2(t, { port, roots }, 'talk.localhost')
    const spoken = await askHttp2(session, { ':authority': 'talk.localhost' })
    assert.deepEqual([spoken.body, spoken.trailers['x-spoken']], ['by HTTP/2', 'https'])
    session.destroy()

    const socket = connect(tcp, '127.0.0.1', () => socket.end('over TCP'))
    assert.equal(String((await once(socket, 'data'))[0]), 'over TCP')
    socket.destroy()
    assert.equal((await up.stop()).code, 0)

    const again = bench.up('--port', '0', '--tls')
    await again.until(/https:.*tcp:/s)
    const next = Number(/https:\/\/small\.localhost:(\d+)/.exec(again.output())?.[1])
    assert.equal((await askTls({ port: next, roots }, { host: 'small.localhost' })).status, 200)
    assert.equal((await again.stop()).code, 0)
  })
})
