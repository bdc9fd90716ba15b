/** WebSockets through a gateway, with Node's own client and a server of a few lines on the other side. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { ManualClock } from '../base/index.ts'
import type { RouteTarget } from '../protocol/index.ts'
import { ask, backend, deadPort, rawExchange, rig, route, until } from '../../test/gateway-rig.ts'

const magic = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

interface EchoServer {
  readonly sockets: Set<Socket>
  readonly closeCodes: number[]
  target(instance: string): RouteTarget
}

/** Echoes small frames (payloads below 126 bytes, one frame a chunk suffices here) and answers Close. */
async function echoServer(t: TestContext): Promise<EchoServer> {
  const sockets = new Set<Socket>()
  const closeCodes: number[] = []
  const server = createServer((_request, response) => response.end('plain'))
  server.on('upgrade', (request, socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    const key = request.headers['sec-websocket-key'] ?? ''
    const accept = createHash('sha1').update(`${key}${magic}`).digest('base64')
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    )
    let rest: Buffer = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      while (rest.length >= 6) {
        const first = rest[0] ?? 0
        const length = (rest[1] ?? 0) & 0x7f
        if (rest.length < 6 + length) return
        const mask = rest.subarray(2, 6)
        const payload = rest.subarray(6, 6 + length).map((byte, i) => byte ^ (mask[i & 3] ?? 0))
        rest = rest.subarray(6 + length)
        socket.write(Buffer.concat([Buffer.from([first, length]), payload]))
        if ((first & 0x0f) === 8) {
          closeCodes.push(((payload[0] ?? 0) << 8) | (payload[1] ?? 0))
          socket.end()
        }
      }
    })
    socket.on('end', () => socket.end())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  return {
    sockets,
    closeCodes,
    target: (instance) => ({ instance, endpoint: { kind: 'tcp', host: '127.0.0.1', port } }),
  }
}

interface Opened {
  readonly socket: WebSocket
  readonly messages: string[]
  readonly closed: Promise<{ code: number; clean: boolean }>
}

async function open(port: number, path = '/'): Promise<Opened> {
  const socket = new WebSocket(`ws://localhost:${port}${path}`)
  const messages: string[] = []
  socket.addEventListener('message', (event) => messages.push(String(event.data)))
  const closed = new Promise<{ code: number; clean: boolean }>((resolve) => {
    socket.addEventListener('close', (event) => resolve({ code: event.code, clean: event.wasClean }))
  })
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener('open', () => resolve())
    socket.addEventListener('error', () => reject(new Error('the handshake failed')))
  })
  return { socket, messages, closed }
}

const local = { host: 'localhost' }

test('messages pass both ways and a close passes through', async (t) => {
  const echo = await echoServer(t)
  const { port, gateway } = await rig(t, [route([echo.target('web-1')], local)])
  const { socket, messages, closed } = await open(port)
  assert.equal(gateway.inUse('web-1'), 1)
  for (const text of ['one', 'two', 'three']) socket.send(text)
  await until('three echoes', () => messages.length === 3)
  assert.deepEqual(messages, ['one', 'two', 'three'])
  socket.close(4001, 'bye')
  assert.deepEqual(await closed, { code: 4001, clean: true })
  assert.deepEqual(echo.closeCodes, [4001])
  await until('nothing in flight', () => gateway.inUse('web-1') === 0)
  const counted = gateway.metrics().find(({ labels }) => labels.route === 'web')
  assert.equal(counted?.requests['1xx'], 1)
  assert.ok((counted?.bytesIn ?? 0) > 0 && (counted?.bytesOut ?? 0) > 0)
})

test('when its instance leaves, a WebSocket is told to go (1001) on both sides, after the drain time and not before', async (t) => {
  const old = await echoServer(t)
  const next = await echoServer(t)
  const clock = new ManualClock()
  t.after(() => clock.advance(60_000))
  const { port, gateway, drained } = await rig(t, [route([old.target('old')], local)], { drainMs: 10_000 }, clock)
  const { socket, messages, closed } = await open(port)
  gateway.apply({ revision: 2, routes: [route([next.target('new')], local)] })
  socket.send('still here')
  await until('an echo after the change', () => messages.length === 1)
  assert.deepEqual(drained, [])
  const other = await open(port)
  assert.equal(gateway.inUse('new'), 1)
  clock.advance(9_999)
  socket.send('and here')
  await until('an echo just before the time', () => messages.length === 2)
  clock.advance(1)
  assert.deepEqual(await closed, { code: 1001, clean: true })
  await gateway.drained('old')
  assert.deepEqual(old.closeCodes, [1001])
  other.socket.close()
  await other.closed
})

test('a Close never lands inside a frame', async (t) => {
  const far: Socket[] = []
  const server = createServer()
  server.on('upgrade', (_request, socket: Socket) => {
    far.push(socket)
    socket.on('error', () => undefined)
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.close()
    for (const socket of far) socket.destroy()
  })
  const address = server.address()
  const farPort = address !== null && typeof address === 'object' ? address.port : 0
  const target = { instance: 'old', endpoint: { kind: 'tcp', host: '127.0.0.1', port: farPort } } as const
  const { port, gateway } = await rig(t, [route([target])], { drainMs: 0 })
  const near = connect(port, '127.0.0.1')
  t.after(() => near.destroy())
  let received = Buffer.alloc(0)
  near.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
  })
  near.write('GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  await until('the handshake', () => received.includes('\r\n\r\n'))
  received = Buffer.alloc(0)
  far[0]?.write(Buffer.from([0x82, 5, 1, 2]))
  await until('half a frame', () => received.length === 4)
  gateway.apply({ revision: 2, routes: [] })
  await new Promise((resolve) => setTimeout(resolve, 100))
  assert.equal(received.length, 4)
  far[0]?.write(Buffer.from([3, 4, 5, 0x82, 1, 9]))
  await until('the end', () => near.readableEnded)
  assert.deepEqual([...received.subarray(0, 7)], [0x82, 5, 1, 2, 3, 4, 5])
  assert.equal(received[7], 0x88)
  assert.equal(received.readUInt16BE(9), 1001)
})

test('a refusal of the instance, and of the gateway, reaches the client as HTTP', async (t) => {
  const web = await backend(t, (_request, response) => response.writeHead(401, { 'x-why': 'login' }).end('who are you'))
  web.server.on('upgrade', (_request, socket) => {
    socket.end('HTTP/1.1 401 Unauthorized\r\nX-Why: login\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nwho\r\n0\r\n\r\n')
  })
  const dead = { instance: 'gone', endpoint: { kind: 'tcp', host: '127.0.0.1', port: await deadPort(t) } } as const
  const { port } = await rig(t, [
    route([web.target('web-1')]),
    route([dead], { id: 'dead', path: '/dead' }),
    route([], { id: 'none', path: '/none' }),
  ])
  const shake = (path: string): Promise<string> =>
    rawExchange(port, `GET ${path} HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`)
  assert.match(await shake('/'), /^HTTP\/1\.1 401 Unauthorized\r\n[\s\S]*X-Why: login[\s\S]*\r\n\r\nwho$/)
  assert.match(await shake('/dead'), /^HTTP\/1\.1 502 /)
  assert.match(await shake('/none'), /^HTTP\/1\.1 503 /)
  const other = await rawExchange(
    port,
    'GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n',
  )
  assert.match(other, /^HTTP\/1\.1 401 /)
  assert.equal((await ask(port)).status, 401)
})

test('closing the gateway says goodbye to WebSockets', async (t) => {
  const echo = await echoServer(t)
  const { port, gateway } = await rig(t, [route([echo.target('web-1')], local)], { closeMs: 10_000 })
  const { closed } = await open(port)
  await gateway.close()
  assert.deepEqual(await closed, { code: 1001, clean: true })
})

test('what an instance sent before it closed still arrives, however slowly the client reads', async (t) => {
  const total = 16 * 1024 * 1024
  const server = createServer()
  server.on('upgrade', (_request, socket: Socket) => {
    socket.on('error', () => undefined).resume()
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    const head = Buffer.from([
      0x82,
      127,
      0,
      0,
      0,
      0,
      total >> 24,
      (total >> 16) & 0xff,
      (total >> 8) & 0xff,
      total & 0xff,
    ])
    socket.end(Buffer.concat([head, Buffer.alloc(total)]))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const address = server.address()
  const farPort = address !== null && typeof address === 'object' ? address.port : 0
  const target = { instance: 'web-1', endpoint: { kind: 'tcp', host: '127.0.0.1', port: farPort } } as const
  const { port, gateway } = await rig(t, [route([target])])
  const near = connect(port, '127.0.0.1')
  t.after(() => near.destroy())
  near.write('GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  await until('the tunnel', () => gateway.inUse('web-1') === 1)
  await new Promise((resolve) => setTimeout(resolve, 100))
  let received = 0
  near.on('data', (chunk: Buffer) => (received += chunk.length))
  near.on('end', () => near.end())
  await until('the end', () => near.readableEnded)
  assert.ok(received > total, `${received} of ${total} bytes`)
  await until('nothing in flight', () => gateway.inUse('web-1') === 0)
})
