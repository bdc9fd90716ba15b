/** Bodies through a gateway: streaming both ways, backpressure, uploads of any size, slow and vanishing clients. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { test } from 'node:test'
import { ask, backend, rawExchange, rig, route, until, waitMs } from '../../test/gateway-rig.ts'

const piece = Buffer.alloc(64 * 1024, 'abcdefgh')

test('pieces of an answer arrive as they are sent, the head before the first of them', async (t) => {
  const steps: (() => void)[] = []
  const web = await backend(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.flushHeaders()
    steps.push(
      () => response.write('data: 1\n\n'),
      () => response.end('data: 2\n\n'),
    )
  })
  const { port } = await rig(t, [route([web.target('web-1')])])
  let text = ''
  let status = 0
  const request = httpRequest({ port, host: '127.0.0.1', headers: { host: 'shop.test' }, agent: false }, (response) => {
    status = response.statusCode ?? 0
    response.on('data', (chunk) => (text += String(chunk)))
  })
  request.end()
  await until('the head', () => status === 200)
  assert.equal(text, '')
  steps[0]?.()
  await until('the first event', () => text === 'data: 1\n\n')
  steps[1]?.()
  await until('the second event', () => text.endsWith('data: 2\n\n'))
})

test('an upload streams through, chunked or with a length, and arrives whole', async (t) => {
  const web = await backend(t, (request, response) => {
    const hash = createHash('sha256')
    request.on('data', (chunk: Buffer) => hash.update(chunk))
    request.on('end', () => response.end(`${request.headers['content-length'] ?? 'chunked'} ${hash.digest('hex')}`))
  })
  const { port, gateway } = await rig(t, [route([web.target('web-1')])])
  const body = Buffer.concat(Array.from({ length: 100 }, (_, i) => Buffer.alloc(50_000 + i, i)))
  const digest = createHash('sha256').update(body).digest('hex')
  const whole = await ask(port, { method: 'PUT', body })
  assert.equal(whole.body, `${body.length} ${digest}`)
  const chunked = await ask(port, { method: 'POST', body, headers: { 'transfer-encoding': 'chunked' } })
  assert.equal(chunked.body, `chunked ${digest}`)
  const odd = await ask(port, { method: 'DELETE', body: Buffer.from('why'), headers: { 'content-length': '3' } })
  assert.match(odd.body, /^3 /)
  await until(
    'all bytes counted',
    () => gateway.metrics().find(({ labels }) => labels.route === 'web')?.bytesIn === body.length * 2 + 3,
  )
})

test('a client that does not read holds the instance back: memory stays bounded', async (t) => {
  const total = 200 * 1024 * 1024
  let sent = 0
  const web = await backend(t, (_request, response) => {
    response.writeHead(200, { 'content-length': String(total) })
    const pump = (): void => {
      while (sent < total) {
        sent += piece.length
        if (!response.write(piece)) return void response.once('drain', pump)
      }
      response.end()
    }
    pump()
  })
  const { port } = await rig(t, [route([web.target('web-1')])])
  const socket = connect(port, '127.0.0.1')
  t.after(() => socket.destroy())
  socket.write('GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n')
  let last = -1
  // Nothing is read: what the instance could send settles at what the buffers on the way hold.
  while (sent !== last) {
    last = sent
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.ok(sent < 32 * 1024 * 1024, `${sent} bytes went off although nobody reads`)
  let received = 0
  socket.on('data', (chunk) => (received += chunk.length))
  await until('all of it', () => received > total)
})

test('an instance that does not read holds the client back', async (t) => {
  const go: (() => void)[] = []
  let received = 0
  const web = await backend(t, (request, response) => {
    go.push(() => void request.on('data', (chunk: Buffer) => (received += chunk.length)))
    request.on('end', () => response.end('done'))
  })
  const { port } = await rig(t, [route([web.target('web-1')])])
  const total = 100 * 1024 * 1024
  let sent = 0
  let status = 0
  const request = httpRequest(
    { port, host: '127.0.0.1', method: 'POST', agent: false, headers: { host: 'shop.test', 'content-length': total } },
    (response) => {
      status = response.statusCode ?? 0
      response.resume()
    },
  )
  const pump = (): void => {
    while (sent < total) {
      sent += piece.length
      if (!request.write(piece)) return void request.once('drain', pump)
    }
    request.end()
  }
  pump()
  let last = -1
  while (sent !== last || go.length === 0) {
    last = sent
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.ok(sent < 32 * 1024 * 1024, `${sent} bytes went off although nobody reads`)
  go[0]?.()
  await until('an answer', () => status === 200)
  assert.equal(received, total)
})

test('100-continue is given when the request has its place, and not when it is refused', async (t) => {
  const web = await backend(t, (request, response) => {
    request.resume().on('end', () => response.end(String(request.headers.expect)))
  })
  const { port } = await rig(t, [
    route([web.target('web-1')], { limits: { bodyBytesMax: 10 } }),
    route([], { id: 'none', path: '/none' }),
  ])
  const expecting = (path: string, length: number): Promise<{ continued: boolean; status: number; close: boolean }> =>
    new Promise((resolve, reject) => {
      let continued = false
      const headers = { host: 'shop.test', expect: '100-continue', 'content-length': length }
      const request = httpRequest(
        { port, host: '127.0.0.1', path, method: 'POST', headers, signal: AbortSignal.timeout(waitMs) },
        (response) => {
          response.resume()
          resolve({ continued, status: response.statusCode ?? 0, close: response.headers.connection === 'close' })
          request.destroy()
        },
      )
      request.on('continue', () => {
        continued = true
        request.end('x'.repeat(length))
      })
      request.on('error', reject)
      request.flushHeaders()
    })
  assert.deepEqual(await expecting('/', 5), { continued: true, status: 200, close: false })
  assert.deepEqual(await expecting('/', 50), { continued: false, status: 413, close: true })
  assert.deepEqual(await expecting('/none', 5), { continued: false, status: 503, close: true })
})

test('a body over the limit is 413, also when its length was not said; the client sees the answer', async (t) => {
  const web = await backend(t, (request, response) => {
    request.resume().on('end', () => response.end('whole'))
  })
  const { port, gateway } = await rig(t, [route([web.target('web-1')], { limits: { bodyBytesMax: 100_000 } })])
  const body = Buffer.alloc(1_000_000, 'x')
  assert.equal((await ask(port, { method: 'POST', body: body.subarray(0, 100_000) })).body, 'whole')
  assert.equal((await ask(port, { method: 'POST', body })).status, 413)
  assert.equal((await ask(port, { method: 'POST', body, headers: { 'transfer-encoding': 'chunked' } })).status, 413)
  await until('nothing is left in flight', () => gateway.inUse('web-1') === 0)
})

test('an answer that comes before the upload is whole reaches the client', async (t) => {
  const web = await backend(t, (request, response) => {
    response.writeHead(403).end('no')
    request.resume()
  })
  const { port } = await rig(t, [route([web.target('web-1')])])
  const answer = await ask(port, { method: 'POST', body: Buffer.alloc(3_000_000) })
  assert.equal(answer.status, 403)
  assert.equal(answer.body, 'no')
})

test('clients that stall are let go: in the head, in the body, in reading', async (t) => {
  const web = await backend(t, (request, response) => {
    if (request.method === 'POST') return void request.resume()
    response.writeHead(200, { 'content-length': String(64 * 1024 * 1024) })
    response.write(Buffer.alloc(32 * 1024 * 1024))
  })
  const limits = { headersMs: 100, bodyIdleMs: 100, stallMs: 100, lingerMs: 100, idleMs: 100 }
  const { port, gateway } = await rig(t, [route([web.target('web-1')])], limits)
  assert.match(await rawExchange(port, 'GET / HTTP/1.1\r\nHost: sh'), /^HTTP\/1\.1 408 /)
  const body = await rawExchange(port, 'POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\nabc')
  assert.match(body, /^HTTP\/1\.1 408 [\s\S]*client-timed-out/)
  const reader = connect(port, '127.0.0.1')
  t.after(() => reader.destroy())
  reader.on('error', () => undefined)
  reader.write('GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n')
  await until('the reader has its request in flight', () => gateway.inUse('web-1') === 1)
  await until('the reader is cut off', () => gateway.inUse('web-1') === 0)
})

test('too many headers are 431', async (t) => {
  const { port } = await rig(t, [])
  const answer = await rawExchange(port, `GET / HTTP/1.1\r\nHost: shop.test\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`)
  assert.match(answer, /^HTTP\/1\.1 431 /)
})

test('a client that closes its half has left: its request is cancelled, as a browser that goes away wants it', async (t) => {
  let left = 0
  const web = await backend(t, (_request, response) => void response.on('close', () => (left += 1)))
  const { port, gateway } = await rig(t, [route([web.target('web-1')])])
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  t.after(() => socket.destroy())
  socket.resume()
  socket.write('GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n')
  await until('the request is in flight', () => gateway.inUse('web-1') === 1)
  socket.end()
  await until('the instance has seen it leave', () => left === 1)
  assert.equal(gateway.inUse('web-1'), 0)
})

test('pipelined requests are answered in their order', async (t) => {
  const web = await backend(t, (request, response) => {
    setTimeout(() => response.end(`<${request.url}>`), request.url === '/1' ? 50 : 0)
  })
  const { port } = await rig(t, [route([web.target('web-1')])])
  const one = (path: string, close: boolean): string =>
    `GET ${path} HTTP/1.1\r\nHost: shop.test\r\n${close ? 'Connection: close\r\n' : ''}\r\n`
  const text = await rawExchange(port, one('/1', false) + one('/2', false) + one('/3', true))
  assert.deepEqual(text.match(/<[^>]*>/g), ['</1>', '</2>', '</3>'])
})
