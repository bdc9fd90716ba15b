/** Connections that are carried as they are: ports of their own, and TLS by server name that the gateway cannot read. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { ManualClock } from '../base/index.ts'
import { createGateway } from './index.ts'
import type { RouteTarget, StreamRoute, StreamWay } from '../protocol/index.ts'
import { backend, deadPort, dial, rig, route, until } from '../../test/gateway-rig.ts'
import { askTls, openTls, tlsRig } from '../../test/tls-rig.ts'

async function listening(t: TestContext, server: Server): Promise<RouteTarget['endpoint'] & { kind: 'tcp' }> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket.on('error', () => undefined)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  return { kind: 'tcp', host: '127.0.0.1', port: address.port }
}

/** Sends back what it gets, with a word in front. */
async function echo(t: TestContext, instance: string): Promise<RouteTarget> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.write(`${instance}:`)
    socket.pipe(socket)
  })
  return { instance, endpoint: await listening(t, server) }
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return address !== null && typeof address === 'object' ? address.port : 0
}

function stream(way: StreamWay, targets: readonly RouteTarget[]): StreamRoute {
  return { id: 'shop:db', way, app: 'shop', part: 'db', targets }
}

/** Connects as soon as somebody listens; answers the socket and what it gets. */
async function open(port: number): Promise<{ socket: Socket; text: () => string }> {
  for (let tries = 0; ; tries += 1) {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    socket.on('data', (chunk) => (text += chunk.toString('latin1')))
    try {
      await once(socket, 'connect')
      socket.on('error', () => undefined)
      return { socket, text: () => text }
    } catch (error) {
      if (tries > 500) throw error
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
}

test('bytes pass both ways, and the end of one side is passed on while the other still sends', async (t) => {
  const target = await echo(t, 'db-1')
  const port = await freePort()
  const { gateway } = await rig(t, [])
  gateway.apply({ revision: 2, routes: [], streams: [stream({ kind: 'tcp', port }, [target])] })
  const { socket, text } = await open(port)
  const bytes = 'x'.repeat(3_000_000)
  socket.write('hello ')
  await until('the echo', () => text() === 'db-1:hello ')
  assert.equal(gateway.inUse('db-1'), 1)
  socket.end(bytes)
  await once(socket, 'close')
  assert.equal(text().length, 'db-1:hello '.length + bytes.length)
  await until('it to be over', () => gateway.inUse('db-1') === 0)
  const counted = gateway.metrics().find(({ labels }) => labels.part === 'db')
  assert.deepEqual([counted?.requests['1xx'], counted?.inFlight], [1, 0])
  assert.equal(counted?.bytesIn, bytes.length + 6)
})

test('an instance that has left keeps its connections until they end; then, and not before, it is drained', async (t) => {
  const [old, next] = [await echo(t, 'old'), await echo(t, 'new')]
  const port = await freePort()
  const { gateway, drained } = await rig(t, [])
  const way = { kind: 'tcp', port } as const
  gateway.apply({ revision: 2, routes: [], streams: [stream(way, [old])] })
  const first = await open(port)
  await until('the first', () => first.text() === 'old:')
  gateway.apply({ revision: 3, routes: [], streams: [stream(way, [next])] })
  const second = await open(port)
  await until('the second', () => second.text() === 'new:')
  first.socket.write('still')
  await until('the first to go on', () => first.text() === 'old:still')
  assert.equal(drained.length, 0)
  first.socket.end()
  await until('it to be drained', () => drained.includes('old'))
  assert.equal(gateway.inUse('new'), 1)
  second.socket.destroy()
})

test('what still runs after the time for it is cut off', async (t) => {
  const target = await echo(t, 'db-1')
  const port = await freePort()
  const clock = new ManualClock()
  const { gateway, drained } = await rig(t, [], { cutMs: 5_000 }, clock)
  t.after(() => clock.advance(60_000))
  gateway.apply({ revision: 2, routes: [], streams: [stream({ kind: 'tcp', port }, [target])] })
  const { socket, text } = await open(port)
  await until('the greeting', () => text() === 'db-1:')
  gateway.apply({ revision: 3, routes: [] })
  clock.advance(4_999)
  assert.equal(drained.length, 0)
  const closed = once(socket, 'close')
  clock.advance(1)
  await closed
  await until('it to be drained', () => drained.includes('db-1'))
})

test('an instance that refuses is passed over; without another the connection is closed', async (t) => {
  const target = await echo(t, 'good')
  const dead: RouteTarget = { instance: 'dead', endpoint: { kind: 'tcp', host: '127.0.0.1', port: await deadPort(t) } }
  const [port, lost] = [await freePort(), await freePort()]
  const { gateway } = await rig(t, [])
  const streams = [
    stream({ kind: 'tcp', port }, [dead, target]),
    { ...stream({ kind: 'tcp', port: lost }, [dead]), id: 'shop:lost', part: 'lost' },
  ]
  gateway.apply({ revision: 2, routes: [], streams })
  for (let i = 0; i < 6; i += 1) {
    const { socket, text } = await open(port)
    await until('the greeting', () => text() === 'good:')
    socket.destroy()
  }
  const { socket } = await open(lost)
  if (!socket.closed) await once(socket, 'close')
  assert.equal(gateway.metrics().find(({ labels }) => labels.part === 'lost')?.rejected, 1)
})

test('a port that is taken is said once, holds up nothing, and is had as soon as it is free', async (t) => {
  const target = await echo(t, 'db-1')
  const holder = createServer()
  const { port } = await listening(t, holder)
  const notices: string[] = []
  const clock = new ManualClock()
  const gateway = createGateway({
    connect: dial,
    clock,
    onNotice: (text) => notices.push(text),
    limits: { closeMs: 100 },
  })
  t.after(async () => {
    const closed = gateway.close()
    clock.advance(1_000)
    await closed
  })
  const table = { routes: [], streams: [stream({ kind: 'tcp', port }, [target])] }
  assert.deepEqual(gateway.apply({ revision: 1, ...table }), { revision: 1 })
  await until('the notice', () => notices.length === 1)
  assert.match(notices[0] ?? '', new RegExp(`^a route waits for its port: Port ${port} on 127.0.0.1 is taken`))
  holder.close()
  await once(holder, 'close')
  clock.advance(500)
  const { socket, text } = await open(port)
  await until('the greeting', () => text() === 'db-1:')
  assert.equal(notices.length, 1)
  socket.destroy()
})

test('TLS is passed through by its server name: the instance ends it, with its own certificate', async (t) => {
  const part = await backend(t, (_request, response) => response.end('ok'))
  const own = await tlsRig(t, [route([], { host: 'db.test' })])
  const certificate = own.certificates.find('db.test')
  assert.ok(certificate !== null)
  const server = createTlsServer({ cert: certificate.chain, key: certificate.key }, (socket) => socket.end('its own'))
  const endpoint = await listening(t, server)
  const streams = [stream({ kind: 'tls', host: '*.db.test' }, [{ instance: 'db-1', endpoint }])]
  const wild = stream({ kind: 'tls', host: 'db.test' }, [{ instance: 'db-1', endpoint }])
  const both = [...streams, { ...wild, id: 'shop:exact' }]
  const front = await tlsRig(t, [route([part.target('web-1')])], { streams: both })
  const socket = await openTls({ port: front.port, roots: own.roots }, 'db.test')
  assert.equal(socket.getPeerCertificate().fingerprint256, new X509Certificate(certificate.chain).fingerprint256)
  assert.equal(String((await once(socket, 'data'))[0]), 'its own')
  await assert.rejects(
    openTls({ port: front.port, roots: front.roots }, 'db.test'),
    /self-signed|unable to (?:get|verify)/i,
  )
  assert.equal((await askTls(front)).body, 'ok')
  await assert.rejects(openTls(front, 'a.other.test'), /unrecognized name/)
  socket.destroy()
  await until('nothing in use', () => front.gateway.inUse('db-1') === 0)
})

test('two routes for one port or name are refused, and the table in force stays', async (t) => {
  const target = await echo(t, 'db-1')
  const port = await freePort()
  const { gateway } = await rig(t, [])
  for (const way of [
    { kind: 'tcp', port },
    { kind: 'tls', host: 'db.test' },
  ] as const) {
    const streams = [stream(way, [target]), { ...stream(way, [target]), id: 'other' }]
    assert.throws(() => gateway.apply({ revision: 5, routes: [], streams }), { code: 'gateway.duplicate-route' })
  }
  assert.deepEqual(gateway.apply({ revision: 2, routes: [] }), { revision: 2 })
})
