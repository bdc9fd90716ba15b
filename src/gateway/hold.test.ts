/** Requests that are held while a route has no instances: they wait, for a limited time and in a limited number. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { test } from 'node:test'
import { ManualClock } from '../base/index.ts'
import type { Gateway } from './gateway.ts'
import type { Route } from '../protocol/index.ts'
import { ask, backend, rig, route, until, waitMs } from '../../test/gateway-rig.ts'

const holding = (more: Partial<Route> = {}): Route => route([], { holdMs: 10_000, phase: 'deploying', ...more })

function inFlight(gateway: Gateway): number {
  return gateway.metrics().find(({ labels }) => labels.route === 'web')?.inFlight ?? 0
}

test('what comes while there are no instances is answered by the ones that come, bodies and all', async (t) => {
  const web = await backend(t, (request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += String(chunk)))
    request.on('end', () => response.end(`${request.method} ${body}`))
  })
  const { port, gateway } = await rig(t, [holding()], { queueMax: 1, instanceRequestsMax: 2 })
  const held = [
    ask(port),
    ask(port, { method: 'POST', body: 'an order' }),
    ...Array.from({ length: 8 }, () => ask(port)),
  ]
  await until('all are held', () => inFlight(gateway) === held.length)
  // A table that changes something else lets nothing go, and gives no more time.
  gateway.apply({ revision: 2, routes: [holding({ unavailable: 'a moment' })] })
  assert.equal(inFlight(gateway), held.length)
  gateway.apply({ revision: 3, routes: [route([web.target('web-2')])] })
  const answers = await Promise.all(held)
  assert.deepEqual(
    answers.slice(0, 3).map(({ status, body }) => `${status} ${body}`),
    ['200 GET ', '200 POST an order', '200 GET '],
  )
  assert.ok(
    answers.every(({ status }) => status === 200),
    'more than would have found a place in the queue',
  )
})

test('when the time is over the page says so, and when to come again', async (t) => {
  const clock = new ManualClock(0)
  const { port, gateway } = await rig(t, [holding()], {}, clock)
  const early = ask(port, { headers: { accept: 'text/html' } })
  await until('it is held', () => inFlight(gateway) === 1)
  clock.advance(6000)
  gateway.apply({ revision: 2, routes: [holding()] })
  const late = ask(port)
  await until('both are held', () => inFlight(gateway) === 2)
  clock.advance(4000)
  const answer = await early
  assert.equal(answer.status, 503)
  assert.equal(answer.headers['retry-after'], '2')
  assert.match(answer.body, /A new version of web is being put in place/)
  assert.equal(inFlight(gateway), 1)
  gateway.apply({ revision: 3, routes: [route([])] })
  assert.equal((await late).status, 503, 'the route holds no more')
})

test('too many are refused at once, those that leave make room, and a route that goes holds nothing', async (t) => {
  const { port, gateway } = await rig(t, [holding()], { heldMax: 2 })
  const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n'))
  const second = ask(port)
  await until('two are held', () => inFlight(gateway) === 2)
  assert.equal((await ask(port)).status, 503)
  socket.destroy()
  await until('one has left', () => inFlight(gateway) === 1)
  const third = ask(port)
  await until('another is held', () => inFlight(gateway) === 2)
  gateway.apply({ revision: 2, routes: [] })
  for (const answer of await Promise.all([second, third])) assert.equal(answer.status, 503)
})

test('a WebSocket is held too', async (t) => {
  const web = await backend(t, (_request, response) => response.end('plain'))
  const upgraded: Duplex[] = []
  web.server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    socket.on('error', () => undefined)
    upgraded.push(socket)
  })
  const { port, gateway } = await rig(t, [holding()])
  const head =
    'GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'
  let text = ''
  const socket = connect(port, '127.0.0.1', () =>
    socket.write(`${head}Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n`),
  )
  socket.setTimeout(waitMs, () => socket.destroy())
  socket.on('data', (chunk: Buffer) => (text += String(chunk)))
  t.after(() => socket.destroy())
  await until('it is held', () => inFlight(gateway) === 1)
  gateway.apply({ revision: 2, routes: [route([web.target('web-2')])] })
  await until('it is through', () => text.includes('101 Switching Protocols'))
  for (const one of [socket, ...upgraded]) one.destroy()
})

test('a gateway that closes answers what it holds', async (t) => {
  const { port, gateway } = await rig(t, [holding()], { closeMs: waitMs })
  const held = ask(port)
  await until('it is held', () => inFlight(gateway) === 1)
  await gateway.close()
  assert.equal((await held).status, 503)
})
