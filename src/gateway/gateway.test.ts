/** Requests through a gateway over real sockets: what passes, what is added, what is refused, and what failures look like. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { Socket, createServer } from 'node:net'
import { test } from 'node:test'
import { isSteadError } from '../base/index.ts'
import { ask, backend, deadPort, dial, rawExchange, rig, route, until } from '../../test/gateway-rig.ts'
import { createGateway } from './index.ts'
import { outcomeOf } from './metrics.ts'

test('a request reaches its instance and the answer comes back', async (t) => {
  const web = await backend(t, (request, response) => {
    let body = ''
    request.on('data', (chunk) => (body += String(chunk)))
    request.on('end', () => {
      response.writeHead(201, 'Made', ['content-type', 'text/plain', 'set-cookie', 'a=1', 'set-cookie', 'b=2'])
      response.end(JSON.stringify({ method: request.method, url: request.url, body, headers: request.headers }))
    })
  })
  const { port } = await rig(t, [route([web.target('web-1')])])
  const answer = await ask(port, {
    method: 'POST',
    path: '/a%20b?q=1&q=2',
    body: Buffer.from('hello'),
    headers: {
      'x-forwarded-for': '6.6.6.6',
      X_Forwarded_Proto: 'https',
      forwarded: 'for=6.6.6.6',
      'x-real-ip': '6.6.6.6',
      connection: 'keep-alive, x-secret-hop',
      'x-secret-hop': '1',
      'proxy-authorization': 'Basic x',
      te: 'trailers',
      'x-mine': 'ä',
    },
  })
  assert.equal(answer.status, 201)
  assert.deepEqual(answer.headers['set-cookie'], ['a=1', 'b=2'])
  const seen = JSON.parse(answer.body)
  assert.equal(seen.method, 'POST')
  assert.equal(seen.url, '/a%20b?q=1&q=2')
  assert.equal(seen.body, 'hello')
  assert.equal(seen.headers.host, 'shop.test')
  assert.equal(seen.headers['x-forwarded-for'], '127.0.0.1')
  assert.equal(seen.headers['x-forwarded-proto'], 'http')
  assert.equal(seen.headers['x-forwarded-host'], 'shop.test')
  assert.equal(seen.headers.forwarded, 'for=127.0.0.1;host="shop.test";proto=http')
  assert.equal(seen.headers['x-mine'], 'ä')
  for (const absent of ['x-real-ip', 'x_forwarded_proto', 'x-secret-hop', 'proxy-authorization', 'te']) {
    assert.equal(seen.headers[absent], undefined, absent)
  }
  assert.match(seen.headers.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
  assert.equal(seen.headers['x-request-id'], seen.headers.traceparent.slice(3, 35))
  assert.equal(answer.headers['x-request-id'], seen.headers['x-request-id'])
})

test('a trace is continued and a well-formed request id kept; ill-formed ones are replaced', async (t) => {
  const web = await backend(t, (request, response) => response.end(JSON.stringify(request.headers)))
  const { port } = await rig(t, [route([web.target('web-1')])])
  const trace = 'a'.repeat(32)
  const good = JSON.parse(
    (
      await ask(port, {
        headers: { traceparent: `00-${trace}-${'b'.repeat(16)}-00`, tracestate: 'x=1', 'x-request-id': 'order-12345' },
      })
    ).body,
  )
  assert.match(good.traceparent, new RegExp(`^00-${trace}-(?!b{16})[0-9a-f]{16}-00$`))
  assert.equal(good.tracestate, 'x=1')
  assert.equal(good['x-request-id'], 'order-12345')
  const bad = JSON.parse(
    (
      await ask(port, {
        headers: { traceparent: `00-${'0'.repeat(32)}-x-00`, tracestate: 'x=1', 'x-request-id': 'a b<script>' },
      })
    ).body,
  )
  assert.match(bad.traceparent, /^00-(?!0{32})[0-9a-f]{32}-[0-9a-f]{16}-01$/)
  assert.equal(bad.tracestate, undefined)
  assert.match(bad['x-request-id'], /^[0-9a-f]{32}$/)
})

test('HEAD, 204, 304, chunked answers with trailers, and HTTP/1.0', async (t) => {
  const web = await backend(t, (request, response) => {
    if (request.url === '/204') response.writeHead(204).end()
    else if (request.url === '/304') response.writeHead(304, { etag: '"x"' }).end()
    else if (request.url === '/chunked') {
      response.writeHead(200, { trailer: 'x-sum' })
      response.write('one')
      response.write('two')
      response.addTrailers({ 'x-sum': '6' })
      response.end()
    } else response.writeHead(200, { 'content-length': '11' }).end(request.method === 'HEAD' ? '' : 'hello world')
  })
  const { port } = await rig(t, [route([web.target('web-1')])])
  const head = await ask(port, { method: 'HEAD' })
  assert.equal(head.headers['content-length'], '11')
  assert.equal(head.body, '')
  assert.equal((await ask(port, { path: '/204' })).status, 204)
  assert.equal((await ask(port, { path: '/304' })).headers.etag, '"x"')
  const chunked = await ask(port, { path: '/chunked' })
  assert.equal(chunked.body, 'onetwo')
  assert.equal(chunked.trailers['x-sum'], '6')
  const old = await rawExchange(port, 'GET /chunked HTTP/1.0\r\nHost: shop.test\r\n\r\n')
  assert.ok(old.endsWith('\r\n\r\nonetwo'), old)
  assert.doesNotMatch(old, /transfer-encoding/i)
})

test('what can be read in two ways is refused and never passed on', async (t) => {
  let reached = 0
  const web = await backend(t, (_request, response) => {
    reached += 1
    response.end('reached')
  })
  const { port } = await rig(t, [route([web.target('web-1')])])
  const refused: Readonly<Record<string, string>> = {
    'length and chunked':
      'POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX',
    'two lengths': 'POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nX',
    'chunked not last': 'POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n',
    'a length that is no number': 'POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: +1\r\n\r\nX',
    'a space before the colon': 'GET / HTTP/1.1\r\nHost: shop.test\r\nX-A : 1\r\n\r\n',
    'a folded header': 'GET / HTTP/1.1\r\nHost: shop.test\r\nX-A: 1\r\n Y: 2\r\n\r\n',
    'bare line feeds': 'GET / HTTP/1.1\nHost: shop.test\n\n',
    'two hosts': 'GET / HTTP/1.1\r\nHost: shop.test\r\nHost: other.test\r\nConnection: close\r\n\r\n',
    'no host': 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n',
    'a host that is none': 'GET / HTTP/1.1\r\nHost: shop.test/../x\r\nConnection: close\r\n\r\n',
    'a host with a user': 'GET / HTTP/1.1\r\nHost: me@shop.test\r\nConnection: close\r\n\r\n',
    'another host in the target': 'GET http://other.test/ HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n',
    'a target that is no path': 'OPTIONS * HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n',
    'parent segments': 'GET /a/../b HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n',
    'encoded parent segments': 'GET /a/%2e%2E%2fb HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n',
  }
  for (const [what, bytes] of Object.entries(refused)) {
    assert.match(await rawExchange(port, bytes), /^HTTP\/1\.1 400 /, what)
  }
  assert.match(
    await rawExchange(port, 'CONNECT shop.test:80 HTTP/1.1\r\nHost: shop.test:80\r\n\r\n'),
    /^HTTP\/1\.1 405 /,
  )
  assert.equal(reached, 0)
  const absolute = await rawExchange(
    port,
    'GET http://SHOP.test/x HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n',
  )
  assert.match(absolute, /^HTTP\/1\.1 200 [\s\S]*reached$/)
})

test('failures have one cause each, in the form the client asks for', async (t) => {
  const dead = await deadPort(t)
  const closing = await backend(t, (request) => request.socket.destroy())
  const slow = await backend(t, () => undefined)
  const babble = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => socket.end('this is not HTTP\r\n\r\n'))
  })
  babble.listen(0, '127.0.0.1')
  await once(babble, 'listening')
  t.after(() => babble.close())
  const babbleAddress = babble.address()
  const babblePort = babbleAddress !== null && typeof babbleAddress === 'object' ? babbleAddress.port : 0
  const tcp = (port: number) => [{ instance: `i-${port}`, endpoint: { kind: 'tcp', host: '127.0.0.1', port } } as const]
  const { port, gateway } = await rig(t, [
    route(tcp(dead), { id: 'dead', path: '/dead' }),
    route(tcp(closing.port), { id: 'reset', path: '/reset' }),
    route(tcp(slow.port), { id: 'slow', path: '/slow', limits: { responseMs: 50 } }),
    route(tcp(babblePort), { id: 'babble', path: '/babble' }),
    route([], { id: 'none', path: '/none', unavailable: 'It was stopped <by> hand.' }),
    route([], { id: 'new', path: '/new', phase: 'starting' }),
  ])
  const cases: readonly [string, number, string][] = [
    ['/dead', 502, 'refused'],
    ['/reset', 502, 'reset'],
    ['/slow', 504, 'timed-out'],
    ['/babble', 502, 'bad-response'],
    ['/none', 503, 'no-instance'],
    ['/new', 503, 'starting'],
    ['/else', 404, 'no-route'],
  ]
  for (const [path, status, cause] of cases) {
    const answer = await ask(port, { path, headers: { accept: 'application/json, text/plain' } })
    assert.equal(answer.status, status, path)
    assert.equal(answer.headers['content-type'], 'application/problem+json')
    assert.equal(answer.headers['cache-control'], 'no-store')
    const problem = JSON.parse(answer.body)
    assert.equal(problem.cause, cause)
    assert.equal(problem.requestId, answer.headers['x-request-id'])
  }
  const page = await ask(port, { path: '/none', headers: { accept: 'text/html,*/*' } })
  assert.match(page.body, /It was stopped &lt;by&gt; hand\./)
  assert.match(page.body, /<li class="failed">(?:(?!<li).)*<b>web</)
  assert.doesNotMatch(page.body, /<script|https?:/)
  assert.equal(page.headers['retry-after'], '5')
  const text = await ask(port, { path: '/reset', method: 'HEAD' })
  assert.equal(text.body, '')
  const counted = gateway.metrics().find(({ labels }) => labels.route === 'reset')
  assert.equal(counted?.requests['5xx'], 2)
  assert.equal(counted?.retries, 2)
})

test('a request that was never sent goes to another instance; one that may have had an effect does not', async (t) => {
  const dead = await deadPort(t)
  const seen: string[] = []
  const web = await backend(t, (request, response) => {
    seen.push(`web ${request.method}`)
    request.resume().on('end', () => response.end('ok'))
  })
  const crash = await backend(t, (request) => {
    seen.push(`crash ${request.method}`)
    request.socket.destroy()
  })
  const gone = { instance: 'gone', endpoint: { kind: 'tcp', host: '127.0.0.1', port: dead } } as const
  const { port, gateway } = await rig(t, [
    route([gone, web.target('web-1')], { id: 'a', path: '/a' }),
    route([crash.target('crash-1'), web.target('web-1')], { id: 'b', path: '/b' }),
  ])
  for (let i = 0; i < 20; i += 1) {
    assert.equal((await ask(port, { path: '/a', method: 'POST', body: 'x'.repeat(1000) })).body, 'ok')
  }
  assert.deepEqual(new Set(seen), new Set(['web POST']))
  const posts = await Promise.all(
    Array.from({ length: 20 }, () => ask(port, { path: '/b', method: 'POST', body: 'x' })),
  )
  const crashed = seen.filter((line) => line === 'crash POST').length
  assert.ok(crashed > 0)
  assert.equal(posts.filter(({ status }) => status === 502).length, crashed)
  for (let i = 0; i < 20; i += 1) assert.equal((await ask(port, { path: '/b' })).body, 'ok')
  const retries = gateway.metrics().find(({ labels }) => labels.route === 'b')?.retries
  assert.equal(retries, seen.filter((line) => line === 'crash GET').length)
})

test('an instance that dies in the middle of an answer cuts the client off, so that nobody takes a part for the whole', async (t) => {
  const web = await backend(t, (request, response) => {
    response.writeHead(200, request.url === '/length' ? { 'content-length': '1000' } : {})
    response.write('part', () => setTimeout(() => request.socket.destroy(), 20))
  })
  const { port, gateway } = await rig(t, [route([web.target('web-1')])])
  await assert.rejects(ask(port, { path: '/length' }), /aborted/)
  await assert.rejects(ask(port, { path: '/chunked' }), /aborted/)
  const aborted = (): number | undefined =>
    gateway.metrics().find(({ labels }) => labels.route === 'web')?.requests.aborted
  await until('both are counted', () => aborted() === 2)
  assert.equal(gateway.inUse('web-1'), 0)
})

test('an instance that cannot be reached is given up in time, and another one asked', async (t) => {
  const web = await backend(t, (_request, response) => response.end('ok'))
  const gateway = createGateway({
    // Never connects: as a machine that is switched off.
    connect: (endpoint) => (endpoint.kind === 'unix' ? new Socket() : dial(endpoint)),
    limits: { connectMs: 30 },
  })
  t.after(() => gateway.close())
  const { port } = await gateway.listen(0)
  const away = { instance: 'away', endpoint: { kind: 'unix', path: '/away' } } as const
  gateway.apply({ revision: 1, routes: [route([away])] })
  const alone = await ask(port)
  assert.equal(alone.status, 504)
  assert.match(alone.body, /connect-timed-out/)
  gateway.apply({ revision: 2, routes: [route([away, web.target('web-1')])] })
  for (let i = 0; i < 10; i += 1) assert.equal((await ask(port)).body, 'ok')
})

test('a client that leaves cancels its request at the instance', async (t) => {
  let arrived = 0
  let left = 0
  const web = await backend(t, (_request, response) => {
    arrived += 1
    response.on('close', () => (left += 1))
  })
  const { port, gateway } = await rig(t, [route([web.target('web-1')])])
  const controller = new AbortController()
  const asked = httpRequest({ port, host: '127.0.0.1', headers: { host: 'shop.test' }, signal: controller.signal })
  asked.on('error', () => undefined)
  asked.end()
  await until('the instance has it', () => arrived === 1)
  controller.abort()
  await until('the instance has seen it leave', () => left === 1)
  await until('the place is free', () => gateway.inUse('web-1') === 0)
})

test('requests queue for a place, and are refused when the queue is full or slow', async (t) => {
  const waiting: (() => void)[] = []
  const web = await backend(t, (_request, response) => void waiting.push(() => response.end('ok')))
  const limits = { instanceRequestsMax: 2, queueMax: 1, queueMs: 60_000 }
  const { port, gateway } = await rig(t, [
    route([web.target('web-1')], { limits }),
    route([web.target('web-1')], { id: 'fast', path: '/fast', limits: { ...limits, queueMs: 20 } }),
  ])
  const first = [ask(port), ask(port)]
  await until('two in flight', () => waiting.length === 2)
  const third = ask(port)
  await until('one waits', () => gateway.metrics().find(({ labels }) => labels.route === 'web')?.inFlight === 3)
  const fourth = await ask(port)
  assert.equal(fourth.status, 503)
  assert.equal(fourth.headers['retry-after'], '1')
  assert.equal((await ask(port, { path: '/fast' })).status, 503)
  waiting.shift()?.()
  await until('the third has its place', () => waiting.length === 2)
  for (const end of waiting) end()
  for (const answer of await Promise.all([...first, third])) assert.equal(answer.body, 'ok')
})

test('the whole gateway takes no more than its limit', async (t) => {
  const waiting: (() => void)[] = []
  const web = await backend(t, (_request, response) => void waiting.push(() => response.end('ok')))
  const { port } = await rig(t, [route([web.target('web-1')])], { requestsMax: 2 })
  const first = [ask(port), ask(port)]
  await until('two in flight', () => waiting.length === 2)
  assert.equal((await ask(port)).status, 503)
  for (const end of waiting) end()
  for (const answer of await Promise.all(first)) assert.equal(answer.status, 200)
})

test('a table that contradicts itself is refused and the one before stays; an older one changes nothing', async (t) => {
  const web = await backend(t, (_request, response) => response.end('ok'))
  const { port, gateway } = await rig(t, [route([web.target('web-1')])])
  assert.throws(
    () => gateway.apply({ revision: 5, routes: [route([]), route([], { id: 'other', path: '' })] }),
    (error) => isSteadError(error) && error.code === 'gateway.duplicate-route',
  )
  assert.throws(
    () => gateway.apply({ revision: 5, routes: [route([]), route([], { host: 'other.test' })] }),
    (error) => isSteadError(error) && error.code === 'gateway.duplicate-route',
  )
  assert.equal((await ask(port)).body, 'ok')
  assert.deepEqual(gateway.apply({ revision: 7, routes: [route([web.target('web-1')])] }), { revision: 7 })
  assert.deepEqual(gateway.apply({ revision: 6, routes: [] }), { revision: 7 })
  assert.equal((await ask(port)).body, 'ok')
})

test('a taken port names its holder', async (t) => {
  const { port } = await rig(t, [])
  const second = createGateway({ connect: () => assert.fail('no route, no connection') })
  await assert.rejects(
    second.listen(port),
    (error) =>
      isSteadError(error) &&
      error.code === 'gateway.port-taken' &&
      error.message.includes(String(port)) &&
      (process.platform !== 'linux' || error.message.includes(`(${process.pid})`)),
  )
  await second.close()
})

test('the counters say what the clients saw', async (t) => {
  const web = await backend(t, (request, response) => {
    const status = Number(request.url?.slice(1))
    request.resume().on('end', () => response.writeHead(status).end('x'.repeat(status)))
  })
  const { port, gateway } = await rig(t, [route([web.target('web-1')]), route([], { id: 'none', path: '/none' })])
  const seen = { '1xx': 0, '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0, aborted: 0 }
  const bytes = { in: 0, out: 0 }
  const asks = [200, 201, 302, 404, 500, 503].flatMap((status) => Array.from({ length: status % 7 }, () => status))
  await Promise.all(
    asks.map(async (status, i) => {
      const body = Buffer.alloc(i * 100)
      const answer = await ask(port, { path: `/${status}`, method: 'POST', body })
      seen[outcomeOf(answer.status)] += 1
      bytes.in += body.length
      bytes.out += answer.body.length
    }),
  )
  const refused = await ask(port, { path: '/none' })
  const lost = await ask(port, { headers: { host: 'nobody.test' } })
  await until('all are over', () => gateway.metrics().every(({ inFlight }) => inFlight === 0))
  const counted = new Map(gateway.metrics().map((metrics) => [metrics.labels.route, metrics]))
  const { requests, latency, bytesIn, bytesOut, rejected } = counted.get('web') ?? assert.fail('no counters')
  assert.deepEqual(requests, seen)
  assert.deepEqual({ in: bytesIn, out: bytesOut }, bytes)
  assert.equal(latency.count, asks.length)
  assert.equal(rejected, 0)
  assert.equal(counted.get('none')?.rejected, 1)
  assert.equal(counted.get('none')?.bytesOut, refused.body.length)
  assert.equal(counted.get('')?.requests['4xx'], 1)
  assert.equal(counted.get('')?.bytesOut, lost.body.length)
})
