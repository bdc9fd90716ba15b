/**
 * The way in as its users start it: `stead up --tls` (https and HTTP/2 by the local authority, gRPC's protocol to a part, a port
 * for TCP), and `stead serve --tls` with certificates from files.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { systemClock, systemRandom } from '../src/base/index.ts'
import { localCertificates } from '../src/certificates/index.ts'
import { eventually, freePort, Workbench } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { ask } from './gateway-rig.ts'
import { appFile, server, web } from './small-app.ts'
import { askHttp2, askTls, openHttp2, openTls } from './tls-rig.ts'

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

  test('stead serve takes certificates from files, new ones too, and keeps its ports when its gateway dies', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'st-certificates-'))
    try {
      const authority = await localCertificates({ dir: join(dir, 'ca'), clock: systemClock, random: systemRandom })
      const roots = readFileSync(authority.authorityFile, 'utf8')
      const put = (): void => {
        authority.want([])
        authority.want(['small.localhost'])
        const made = authority.find('small.localhost')
        writeFileSync(join(dir, 'small.crt'), made?.chain ?? '')
        writeFileSync(join(dir, 'small.key'), made?.key ?? '', { mode: 0o600 })
      }
      put()
      const plain = await freePort()
      await using daemon = await DaemonBench.start({}, ['--tls', `files:${dir}`, '--plain-port', String(plain)])
      daemon.bench.write({ 'app.ts': appFile(web()), 'web/server.js': server })
      await daemon.deploy('small')
      const way = { port: daemon.port, roots }
      const host = 'small.localhost'
      const asked = (): Promise<number> =>
        askTls(way, { host }).then(
          ({ status }) => status,
          () => 0,
        )
      await eventually('https answers', asked, (status) => status === 200)
      const redirect = (): Promise<string> =>
        ask(plain, { headers: { host } }).then(
          ({ headers }) => String(headers.location),
          () => '',
        )
      const location = `https://${host}:${daemon.port}/`
      await eventually('plain http is sent on', redirect, (text) => text === location)
      const status = await daemon.bench.stead('status', 'small', '--json')
      assert.ok(status.stdout.includes(`https://${host}:${daemon.port}`), status.stdout)

      const serial = async (): Promise<string> => {
        const socket = await openTls(way, host)
        const { serialNumber } = socket.getPeerCertificate()
        socket.destroy()
        return serialNumber
      }
      const [before, gateway] = [await serial(), daemon.pidOf('gateway')]
      put()
      await eventually('the new certificate', serial, (now) => now !== before)
      assert.equal(daemon.pidOf('gateway'), gateway)
      await daemon.kill('gateway')
      await eventually('https answers again', asked, (answer) => answer === 200)
      await eventually('and plain http too', redirect, (text) => text === location)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  test('words for --tls that mean nothing are refused', async () => {
    await using bench = new Workbench()
    for (const word of ['yes', 'files:', 'acme', 'acme:nobody', 'local:x']) {
      const { code, stderr } = await bench.stead('serve', '--tls', word)
      assert.equal(code, 2, stderr)
      assert.match(stderr, /--tls must be local, files:DIR or acme:EMAIL, not '/)
    }
  })
})
