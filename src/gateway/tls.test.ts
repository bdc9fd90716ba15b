/** TLS at the way in: by server name, beside plain HTTP on one port, with certificates that change while it serves. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { ask, backend, rawExchange, route, until } from '../../test/gateway-rig.ts'
import { askHttp2, askTls, openHttp2, openTls, tlsRig } from '../../test/tls-rig.ts'

test('one port answers HTTP/1.1 and HTTP/2 over TLS, and says https to the instance', async (t) => {
  const part = await backend(t, (request, response) => response.end(JSON.stringify(request.headers)))
  const rig = await tlsRig(t, [route([part.target('web-1')])])
  const first = await askTls(rig, { headers: { 'x-forwarded-proto': 'http' } })
  const session = await openHttp2(t, rig)
  const second = await askHttp2(session, { 'x-forwarded-for': '6.6.6.6', cookie: ['a=1', 'b=2'] })
  for (const { status, headers, body } of [first, second]) {
    assert.equal(status, 200)
    const seen: Record<string, string> = JSON.parse(body)
    assert.equal(seen['host'], 'shop.test')
    assert.equal(seen['x-forwarded-proto'], 'https')
    assert.equal(seen['x-forwarded-for'], '127.0.0.1')
    assert.match(seen['forwarded'] ?? '', /proto=https/)
    assert.match(seen['traceparent'] ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    assert.equal(headers['x-request-id'], seen['x-request-id'])
  }
  assert.equal(JSON.parse(second.body).cookie, 'a=1; b=2')
  assert.equal(rig.gateway.metrics().find(({ labels }) => labels.route === 'web')?.requests['2xx'], 2)
})

test('each server name gets its own certificate; one that is not served gets an alert, and none at all does too', async (t) => {
  const part = await backend(t, (_request, response) => response.end('ok'))
  const routes = [
    route([part.target('web-1')]),
    route([part.target('web-1')], { id: 'api', host: 'api.test', path: '/v1' }),
  ]
  const rig = await tlsRig(t, routes)
  for (const host of ['shop.test', 'api.test']) {
    const socket = await openTls(rig, host)
    assert.equal(socket.getPeerCertificate().subjectaltname, `DNS:${host}`)
    socket.destroy()
  }
  for (const host of ['other.test', 'shop.test.evil', undefined]) {
    await assert.rejects(openTls(rig, host), /unrecognized name/)
  }
  const plain = await rawExchange(rig.port, '\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00')
  assert.equal(
    Buffer.from(plain, 'latin1').toString('hex'),
    '15030300020232',
    'a decode_error for what is no ClientHello',
  )
})

test('while there is no certificate for a host, its clients get an alert, and others are served', async (t) => {
  const part = await backend(t, (_request, response) => response.end('ok'))
  const rig = await tlsRig(
    t,
    [route([part.target('web-1')]), route([part.target('web-1')], { id: 'api', host: 'api.test' })],
    {
      finder: (own) => ({
        find: (host) => (host === 'api.test' ? null : own.find(host)),
        challenge: () => null,
        want: () => undefined,
      }),
    },
  )
  await assert.rejects(openTls(rig, 'api.test'), /internal error/)
  assert.equal((await askTls(rig)).status, 200)
})

test('a new certificate serves new connections; those that are open go on', async (t) => {
  const part = await backend(t, (_request, response) => response.end('ok'))
  let renewed = false
  const rig = await tlsRig(t, [route([part.target('web-1')])], {
    finder: (own) => {
      const old = own.find('shop.test')
      return {
        find: (host) => {
          if (!renewed) return old
          own.want(['other.test'])
          own.want([host])
          return own.find(host)
        },
        challenge: () => null,
        want: () => undefined,
      }
    },
  })
  const socket = await openTls(rig, 'shop.test')
  const session = await openHttp2(t, rig)
  const before = socket.getPeerCertificate().fingerprint256
  renewed = true
  socket.write('GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n')
  assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1.1 200 /)
  assert.equal((await askHttp2(session)).status, 200)
  const next = await openTls(rig, 'shop.test')
  assert.notEqual(next.getPeerCertificate().fingerprint256, before)
  next.destroy()
  socket.destroy()
})

test('a connection carries requests for its own host, and for one of the same certificate, and no other', async (t) => {
  const part = await backend(t, (request, response) => response.end(request.headers.host))
  const routes = [route([part.target('web-1')]), route([part.target('web-1')], { id: 'api', host: 'api.test' })]
  const apart = await tlsRig(t, routes)
  const misdirected = await askHttp2(await openHttp2(t, apart), { ':authority': 'api.test' })
  assert.equal(misdirected.status, 421)
  const overHttp1 = await askTls(apart, { headers: { host: 'api.test', accept: 'application/json' } })
  assert.equal(overHttp1.status, 421)
  assert.equal(JSON.parse(overHttp1.body).cause, 'misdirected')
  const joined = await tlsRig(t, routes, {
    finder: (own) => ({ find: () => own.find('shop.test'), challenge: () => null, want: () => undefined }),
  })
  assert.equal((await askHttp2(await openHttp2(t, joined), { ':authority': 'api.test' })).body, 'api.test')
})

test('plain HTTP is sent on to https (308), with path and query, unless the route says otherwise', async (t) => {
  const part = await backend(t, (_request, response) => response.end('plain'))
  const rig = await tlsRig(t, [
    route([part.target('web-1')]),
    route([part.target('web-1')], { id: 'old', host: 'old.test', plain: 'serve', hstsS: 60 }),
  ])
  const sent = await ask(rig.port, { path: '/a/b?c=d', method: 'POST', body: 'x'.repeat(100_000) })
  assert.equal(sent.status, 308)
  assert.equal(sent.headers.location, `https://shop.test:${rig.port}/a/b?c=d`)
  assert.equal(sent.headers['strict-transport-security'], undefined)
  assert.equal(
    (await ask(rig.port, { headers: { host: 'shop.test:1234' } })).headers.location,
    `https://shop.test:${rig.port}/`,
  )
  const served = await ask(rig.port, { headers: { host: 'old.test' } })
  assert.deepEqual([served.status, served.body], [200, 'plain'])
  assert.equal(served.headers['strict-transport-security'], undefined, 'not believed when said in plain HTTP')
  const counted = rig.gateway.metrics().find(({ labels }) => labels.route === 'web')
  assert.deepEqual([counted?.requests['3xx'], counted?.rejected], [2, 0])
  const raw = await rawExchange(
    rig.port,
    'GET /ws HTTP/1.1\r\nhost: shop.test\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  )
  assert.match(raw, /^HTTP\/1.1 308 [\s\S]*location: https:\/\/shop.test:\d+\/ws\r\n/)
})

test('a port without TLS sends on to the one that has it, and serves where no port has it', async (t) => {
  const part = await backend(t, (_request, response) => response.end('plain'))
  const rig = await tlsRig(t, [route([part.target('web-1')])])
  const second = await rig.gateway.listen(0, '127.0.0.1', { tls: false })
  assert.equal((await ask(second.port)).headers.location, `https://shop.test:${rig.port}/`)
  const hello = await rawExchange(second.port, '\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00')
  assert.match(hello, /^HTTP\/1.1 400 /)
})

test('HSTS is said over https, for answers of the gateway too', async (t) => {
  const part = await backend(t, (_request, response) => response.end('ok'))
  const rig = await tlsRig(t, [
    route([part.target('web-1')], { hstsS: 15_552_000 }),
    route([], { id: 'gone', host: 'gone.test', hstsS: 60 }),
  ])
  assert.equal((await askTls(rig)).headers['strict-transport-security'], 'max-age=15552000')
  const gone = await askTls(rig, { host: 'gone.test' })
  assert.deepEqual([gone.status, gone.headers['strict-transport-security']], [503, 'max-age=60'])
})

test("ACME's challenges are answered in plain HTTP, never sent on; unknown ones reach the app", async (t) => {
  const part = await backend(t, (request, response) => response.end(`app ${request.url}`))
  const rig = await tlsRig(t, [route([part.target('web-1')])], {
    finder: (own) => ({
      find: (host) => own.find(host),
      challenge: (host, token) => (host === 'shop.test' && token === 'tok_en-1' ? 'tok_en-1.key' : null),
      want: () => undefined,
    }),
  })
  const known = await ask(rig.port, { path: '/.well-known/acme-challenge/tok_en-1' })
  assert.deepEqual([known.status, known.body], [200, 'tok_en-1.key'])
  for (const path of ['/.well-known/acme-challenge/other', '/.well-known/acme-challenge/tok_en-1/x']) {
    const unknown = await ask(rig.port, { path })
    assert.deepEqual([unknown.status, unknown.body], [200, `app ${path}`])
  }
  const elsewhere = await ask(rig.port, { path: '/.well-known/acme-challenge/tok_en-1', headers: { host: 'not.test' } })
  assert.equal(elsewhere.status, 404)
})

test('WebSockets work over TLS', async (t) => {
  const part = await backend(t, (_request, response) => response.end())
  part.server.on('upgrade', (_request, socket) => {
    socket.on('error', () => undefined)
    socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n')
    socket.pipe(socket)
  })
  const rig = await tlsRig(t, [route([part.target('web-1')])])
  const socket = await openTls(rig, 'shop.test')
  socket.write(
    'GET /ws HTTP/1.1\r\nhost: shop.test\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  )
  let text = ''
  socket.on('data', (chunk) => (text += chunk.toString('latin1')))
  await until('the upgrade', () => text.includes('101 Switching'))
  socket.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]))
  await until('the echo', () => text.endsWith('hi'))
  assert.equal(rig.gateway.inUse('web-1'), 1)
  socket.destroy()
  await until('it to be over', () => rig.gateway.inUse('web-1') === 0)
})

/** What a client sends first. */
async function helloFor(host: string): Promise<Buffer> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const client = connectTls({
    port: address !== null && typeof address === 'object' ? address.port : 0,
    servername: host,
  })
  client.on('error', () => undefined)
  const [socket] = (await once(server, 'connection')) as [Socket]
  const [hello] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  server.close()
  return hello
}

test('a handshake that stops half way, in any place, is closed in time, and others are served', async (t) => {
  const part = await backend(t, (_request, response) => response.end('ok'))
  const limits = { headersMs: 300, handshakeMs: 300, lingerMs: 100 }
  const rig = await tlsRig(t, [route([part.target('web-1')])], { limits })
  const hello = await helloFor('shop.test')
  // Nothing, a piece of a hello, and a whole one with nothing after it.
  const stopped = [Buffer.alloc(0), hello.subarray(0, 50), hello].map((bytes) => {
    const socket = connect(rig.port, '127.0.0.1', () => socket.write(bytes))
    socket.on('error', () => undefined).resume()
    return once(socket, 'close')
  })
  assert.equal((await askTls(rig)).status, 200)
  await Promise.all(stopped)
  assert.equal((await askTls(rig)).status, 200)
})

test('a hello that never ends is refused once it is too long', async (t) => {
  const part = await backend(t, (_request, response) => response.end('ok'))
  const rig = await tlsRig(t, [route([part.target('web-1')])], { limits: { lingerMs: 100 } })
  // One message of 16 MB by its length, in records of one byte.
  const record = Buffer.from([0x16, 3, 1, 0, 1, 0])
  const start = [1, 0xff, 0xff, 0xff].map((byte) => Buffer.from([0x16, 3, 1, 0, 1, byte]))
  const socket = connect(rig.port, '127.0.0.1')
  let answer = ''
  socket.on('error', () => undefined).on('data', (chunk: Buffer) => (answer += chunk.toString('hex')))
  socket.write(Buffer.concat([...start, ...Array.from({ length: 10_000 }, () => record)]))
  await once(socket, 'close')
  assert.equal(answer, '15030300020232')
})

test('close does not wait for handshakes that are half done', async (t) => {
  const part = await backend(t, (_request, response) => response.end('ok'))
  const rig = await tlsRig(t, [route([part.target('web-1')])], { limits: { handshakeMs: 600_000, headersMs: 600_000 } })
  const hello = await helloFor('shop.test')
  const sockets = [Buffer.alloc(0), hello].map((bytes) => {
    const socket = connect(rig.port, '127.0.0.1', () => socket.write(bytes))
    return socket.on('error', () => undefined)
  })
  await once(sockets[1]?.resume() ?? process, 'data')
  await rig.gateway.close()
})

test('a certificate that node:tls refuses is said once, and its host alone gets an alert', async (t) => {
  const part = await backend(t, (_request, response) => response.end('ok'))
  const weak = { chain: 'not a certificate', key: 'nor a key' }
  const routes = [route([part.target('web-1')]), route([part.target('web-1')], { id: 'api', host: 'api.test' })]
  const rig = await tlsRig(t, routes, {
    finder: (own) => ({
      find: (host) => (host === 'api.test' ? weak : own.find(host)),
      challenge: () => null,
      want: () => undefined,
    }),
  })
  for (let i = 0; i < 3; i += 1) await assert.rejects(openTls(rig, 'api.test'), /internal error/)
  assert.equal(rig.notices.length, 1)
  assert.match(rig.notices[0] ?? '', /^a certificate cannot be served: /)
  assert.equal((await askTls(rig)).status, 200)
})

test('a client that speaks no protocol of ours is told so', async (t) => {
  const part = await backend(t, (_request, response) => response.end('ok'))
  const rig = await tlsRig(t, [route([part.target('web-1')])])
  await assert.rejects(openTls(rig, 'shop.test', ['imap']), /no application protocol/)
})

test('close lets requests end and tells HTTP/2 clients to go', async (t) => {
  const arrived = Promise.withResolvers<ServerResponse>()
  const part = await backend(t, (_request, response) => arrived.resolve(response))
  const rig = await tlsRig(t, [route([part.target('web-1')])], { limits: { closeMs: 10_000 } })
  const session = await openHttp2(t, rig)
  const gone = once(session, 'goaway')
  const answer = askHttp2(session)
  const response = await arrived.promise
  const closed = rig.gateway.close()
  await gone
  response.end('late')
  assert.equal((await answer).body, 'late')
  await closed
})
