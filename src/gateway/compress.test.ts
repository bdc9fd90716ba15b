/** Compression of answers: what is compressed for whom, what the headers say, and that pieces, memory and CPU stay in bounds. */
import assert from 'node:assert/strict'
import { request as httpRequest } from 'node:http'
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { test } from 'node:test'
import { brotliDecompressSync, createGunzip, gunzipSync, zstdDecompressSync } from 'node:zlib'
import { seededRandom } from '../base/index.ts'
import { backend, rawExchange, rig, route, until, waitMs } from '../../test/gateway-rig.ts'
import { negotiate } from './compress.ts'

const text = 'an answer that repeats itself, '.repeat(200)

interface Bytes {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

function plainHeaders(accept: string | undefined): OutgoingHttpHeaders {
  return accept === undefined ? {} : { 'accept-encoding': accept }
}

function get(port: number, path: string, headers: OutgoingHttpHeaders, method = 'GET'): Promise<Bytes> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(waitMs)
    const options = { port, host: '127.0.0.1', path, method, agent: false, signal } as const
    const asked = httpRequest({ ...options, headers: { host: 'shop.test', ...headers } }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      )
    })
    asked.on('error', reject)
    asked.end()
  })
}

test('the client gets what it likes best, whole, and the headers say so', async (t) => {
  const web = await backend(t, (_request, response) => {
    const headers = { 'content-type': 'text/html; charset=utf-8', etag: '"v1"', 'accept-ranges': 'bytes' }
    response.writeHead(200, { ...headers, 'content-length': Buffer.byteLength(text) }).end(text)
  })
  const { port, gateway } = await rig(t, [route([web.target('web-1')])])
  const cases: readonly [string, string, (body: Buffer) => Buffer][] = [
    ['gzip, deflate, br, zstd', 'zstd', (body) => zstdDecompressSync(body)],
    ['gzip, deflate, br', 'br', (body) => brotliDecompressSync(body)],
    ['gzip;q=1.0, br;q=0.5', 'gzip', (body) => gunzipSync(body)],
    ['x-gzip', 'gzip', (body) => gunzipSync(body)],
    ['*', 'zstd', (body) => zstdDecompressSync(body)],
    ['zstd;q=0, *;q=0.5', 'br', (body) => brotliDecompressSync(body)],
  ]
  let bytes = 0
  for (const [accept, encoding, decode] of cases) {
    const answer = await get(port, '/', { 'accept-encoding': accept })
    assert.equal(answer.headers['content-encoding'], encoding, accept)
    assert.equal(decode(answer.body).toString(), text)
    assert.ok(answer.body.length < text.length / 10)
    assert.equal(answer.headers['content-length'], undefined)
    assert.equal(answer.headers['accept-ranges'], undefined)
    assert.equal(answer.headers.etag, 'W/"v1"')
    assert.equal(answer.headers.vary, 'Accept-Encoding')
    const head = await get(port, '/', { 'accept-encoding': accept }, 'HEAD')
    for (const name of ['content-encoding', 'etag', 'vary', 'content-length', 'accept-ranges'])
      assert.equal(head.headers[name], answer.headers[name], `HEAD ${name}`)
    bytes += answer.body.length
  }
  const counted = (): number | undefined => gateway.metrics().find(({ labels }) => labels.route === 'web')?.bytesOut
  await until('what was sent is counted', () => counted() === bytes)
  for (const accept of [undefined, 'identity', 'br;q=0', 'deflate', 'gzip;q=x', 'identity, gzip;q=0.5']) {
    const plain = await get(port, '/', plainHeaders(accept))
    assert.equal(plain.headers['content-encoding'], undefined, String(accept))
    assert.equal(plain.body.toString(), text)
    assert.equal(plain.headers.etag, '"v1"')
    assert.equal(plain.headers.vary, 'Accept-Encoding', 'a cache must not give this to others')
  }
})

test('what must not be compressed is not', () => {
  const base = { method: 'GET', acceptEncoding: 'gzip', ifNoneMatch: undefined, status: 200, contentLength: 5000 }
  const html = ['content-type', 'text/html']
  const cases: readonly (readonly [string, Partial<typeof base>, readonly string[]])[] = [
    ['small', { contentLength: 1023 }, html],
    ['no content', { status: 204 }, html],
    ['a part', { status: 206 }, html],
    ['a part by its header', {}, [...html, 'Content-Range', 'bytes 0-1/2']],
    ['encoded already', {}, [...html, 'Content-Encoding', 'br']],
    ['not to be transformed', {}, [...html, 'Cache-Control', 'public, no-transform']],
    ['with a digest', {}, [...html, 'Repr-Digest', 'sha-256=:x:']],
    ['events', {}, ['content-type', 'text/event-stream']],
    ['gRPC', {}, ['content-type', 'application/grpc+json']],
    ['an image', {}, ['content-type', 'image/png']],
    ['no type', {}, []],
  ]
  for (const [what, change, headers] of cases) {
    const changed = [...headers]
    assert.equal(negotiate({ ...base, ...change }, changed, true), null, what)
    assert.deepEqual(changed, headers, what)
  }
  for (const type of ['application/json', 'application/problem+json', 'image/svg+xml', 'application/wasm', 'font/ttf'])
    assert.equal(negotiate(base, ['content-type', type], true), 'gzip', type)
  const vary = ['content-type', 'text/css', 'Vary', 'Origin']
  assert.equal(negotiate(base, vary, false), null, 'none is free')
  assert.deepEqual(vary, ['content-type', 'text/css', 'Vary', 'Origin, Accept-Encoding'])
  const weakAlready = ['content-type', 'text/css', 'etag', 'W/"1"', 'vary', '*']
  negotiate(base, weakAlready, true)
  assert.deepEqual(weakAlready, ['content-type', 'text/css', 'etag', 'W/"1"', 'vary', '*', 'content-encoding', 'gzip'])
  const same = ['ETag', '"1"']
  negotiate({ ...base, status: 304, ifNoneMatch: '"0", W/"1"' }, same, true)
  assert.deepEqual(same, ['ETag', 'W/"1"'])
  const strong = ['ETag', '"1"']
  negotiate({ ...base, status: 304, ifNoneMatch: '"1"' }, strong, true)
  assert.deepEqual(strong, ['ETag', '"1"'])
})

test('a route can say no, an old client gets a whole answer, and trailers pass', async (t) => {
  const web = await backend(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain', trailer: 'x-sum' })
    response.write(text)
    response.addTrailers({ 'x-sum': '7' })
    response.end(text)
  })
  const { port } = await rig(t, [
    route([web.target('web-1')]),
    route([web.target('web-1')], { id: 'raw', path: '/raw', compress: false }),
  ])
  const raw = await get(port, '/raw', { 'accept-encoding': 'gzip' })
  assert.deepEqual([raw.headers['content-encoding'], raw.headers.vary], [undefined, undefined])
  assert.equal(raw.body.toString(), text + text)
  const old = await rawExchange(port, 'GET / HTTP/1.0\r\nHost: shop.test\r\nAccept-Encoding: gzip\r\n\r\n')
  const at = old.indexOf('\r\n\r\n')
  assert.match(old.slice(0, at), /content-encoding: gzip/i)
  assert.equal(gunzipSync(Buffer.from(old.slice(at + 4), 'latin1')).toString(), text + text)
  const chunked = await rawExchange(
    port,
    'GET / HTTP/1.1\r\nHost: shop.test\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n',
  )
  assert.match(chunked, /\r\n0\r\nx-sum: 7\r\n\r\n$/i)
})

test('pieces of a page that is sent bit by bit arrive while it is still being made', async (t) => {
  let next: () => void = () => undefined
  const web = await backend(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' })
    response.write('<p>first</p>')
    next = () => response.end('<p>second</p>')
  })
  const { port } = await rig(t, [route([web.target('web-1')])])
  let seen = ''
  const headers = { host: 'shop.test', 'accept-encoding': 'gzip' }
  const asked = httpRequest({ port, host: '127.0.0.1', agent: false, headers }, (response) => {
    response.pipe(createGunzip()).on('data', (chunk: Buffer) => (seen += chunk.toString()))
  })
  asked.on('error', () => undefined)
  asked.end()
  t.after(() => asked.destroy())
  await until('the first piece', () => seen === '<p>first</p>')
  next()
  await until('the second', () => seen === '<p>first</p><p>second</p>')
})

test('no more are compressed at a time than allowed; the place is free again when a client leaves or all is sent', async (t) => {
  const open: (() => void)[] = []
  const web = await backend(t, (request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain' })
    response.write(text)
    if (request.url === '/slow') open.push(() => response.end())
    else response.end()
  })
  const { port, gateway } = await rig(t, [route([web.target('web-1')])], { compressionsMax: 1 })
  const gzip = { 'accept-encoding': 'gzip' }
  const encoding = async (): Promise<string | undefined> => (await get(port, '/', gzip)).headers['content-encoding']
  const slow = get(port, '/slow', gzip)
  await until('the slow one is under way', () => open.length === 1)
  assert.equal(await encoding(), undefined)
  open.shift()?.()
  assert.equal(gunzipSync((await slow).body).toString(), text)
  await until('nothing in flight', () => gateway.inUse('web-1') === 0)
  assert.equal(await encoding(), 'gzip')
  const leaving = connect(port, '127.0.0.1')
  leaving.write('GET /slow HTTP/1.1\r\nHost: shop.test\r\nAccept-Encoding: gzip\r\n\r\n')
  await until('it is under way', () => open.length === 1)
  assert.equal(await encoding(), undefined)
  leaving.destroy()
  await until('it has left', () => gateway.inUse('web-1') === 0)
  assert.equal(await encoding(), 'gzip')
})

test('a client that does not read holds the instance back through the compressor too', async (t) => {
  // Longer than the compressor remembers, so that sending it again and again does not make it small.
  const piece = Buffer.from(Buffer.from(seededRandom(3).bytes(768 * 1024)).toString('base64'))
  const total = 200 * piece.length
  let sent = 0
  const web = await backend(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain' })
    const pump = (): void => {
      while (sent < total) {
        sent += piece.length
        if (!response.write(piece)) return void response.once('drain', pump)
      }
      response.end()
    }
    pump()
  })
  const { port, gateway } = await rig(t, [route([web.target('web-1')])], { flushMs: 1, stallMs: 300 })
  const socket = connect(port, '127.0.0.1')
  t.after(() => socket.destroy())
  socket.on('error', () => undefined)
  socket.write('GET / HTTP/1.1\r\nHost: shop.test\r\nAccept-Encoding: br\r\n\r\n')
  await until('it is under way', () => gateway.inUse('web-1') === 1)
  await until('the reader is cut off', () => gateway.inUse('web-1') === 0)
  assert.ok(sent < total / 4, `${sent} bytes went off although nobody reads`)
})
