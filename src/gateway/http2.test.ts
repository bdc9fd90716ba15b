/**
 * HTTP/2 from clients that mean no good, or do not know better: what goes beyond the bounds of a connection ends that
 * connection or stream, and everybody else is served on. The bad ones are written byte by byte.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { backend, route, until } from '../../test/gateway-rig.ts'
import type { Backend } from '../../test/gateway-rig.ts'
import { askHttp2, askTls, openHttp2, openTls, tlsRig } from '../../test/tls-rig.ts'
import type { TlsRig, TlsRigOptions } from '../../test/tls-rig.ts'

const frames = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, continuation: 9 } as const
const endStream = 1
const endHeaders = 4

function frame(type: keyof typeof frames, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = frames[type]
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

type Fields = readonly (readonly [string, string])[]

/** HPACK: fields as literals, whatever is in them. */
function literals(fields: Fields): Buffer {
  const literal = (text: string): Buffer => {
    const length = Buffer.byteLength(text)
    if (length < 127) return Buffer.from([length, ...Buffer.from(text)])
    const rest = length - 127
    const bytes = [127]
    let left = rest
    for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) | 128)
    return Buffer.from([...bytes, left, ...Buffer.from(text)])
  }
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]))
}

const request: Fields = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':path', '/'],
  [':authority', 'shop.test'],
]

function headerBlock(fields: Fields = []): Buffer {
  return literals([...request, ...fields])
}

interface Raw {
  readonly socket: TLSSocket
  /** Frames of the other side by type, and the code of the last GOAWAY. */
  readonly seen: Map<number, number>
  readonly goawayCode: () => number | null
  readonly closed: () => boolean
}

/** A connection that has said its preface and nothing else. */
async function raw(t: TestContext, rig: TlsRig): Promise<Raw> {
  const socket = await openTls(rig, 'shop.test', ['h2'])
  t.after(() => socket.destroy())
  assert.equal(socket.alpnProtocol, 'h2')
  socket.on('error', () => undefined)
  const seen = new Map<number, number>()
  let code: number | null = null
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk])
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const length = rest.readUIntBE(0, 3)
      const type = rest[3] ?? 0
      seen.set(type, (seen.get(type) ?? 0) + 1)
      if (type === frames.goaway) code = rest.readUInt32BE(13)
      rest = rest.subarray(9 + length)
    }
  })
  let closed = false
  socket.on('close', () => (closed = true))
  socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame('settings', 0, 0)]))
  return { socket, seen, goawayCode: () => code, closed: () => closed }
}

async function served(
  t: TestContext,
  options?: TlsRigOptions,
): Promise<{ rig: TlsRig; part: Backend; asked: () => number }> {
  let asked = 0
  const part = await backend(t, (_request, response) => {
    asked += 1
    response.end('ok')
  })
  const rig = await tlsRig(t, [route([part.target('web-1')])], options)
  return { rig, part, asked: () => asked }
}

/** Writes until the other side has had enough; answers the bytes it took to get there. */
async function pour({ socket, closed }: Raw, chunk: (i: number) => Buffer, bytesMax: number): Promise<number> {
  let sent = 0
  for (let i = 0; !closed() && sent < bytesMax; i += 1) {
    const bytes = chunk(i)
    sent += bytes.length
    if (!socket.write(bytes)) await room(socket)
    if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  return sent
}

/** Resolves when it can be written to again, or never will be. */
function room(socket: TLSSocket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('drain', resolve)
    socket.once('close', resolve)
  })
}

test('streams that are opened and reset at once, without end: the connection is closed, others are served', async (t) => {
  const { rig, asked } = await served(t)
  const other = await openHttp2(t, rig)
  const flood = await raw(t, rig)
  const cancel = Buffer.from([0, 0, 0, 8])
  const pair = (i: number): Buffer =>
    Buffer.concat([
      frame('headers', endHeaders | endStream, 2 * i + 1, headerBlock()),
      frame('reset', 0, 2 * i + 1, cancel),
    ])
  const sent = await pour(flood, pair, 4_000_000)
  await until('the connection to be closed', flood.closed)
  assert.ok(sent < 4_000_000, `${sent} bytes`)
  assert.ok(asked() < 1500, `${asked()} requests reached the instance`)
  assert.equal((await askHttp2(other)).body, 'ok')
  assert.equal((await askTls(rig)).body, 'ok')
  await until('nothing in use', () => rig.gateway.inUse('web-1') === 0)
})

test('a head that never ends (CONTINUATION): the connection is closed after few frames, nothing is asked', async (t) => {
  const { rig, asked } = await served(t)
  const flood = await raw(t, rig)
  flood.socket.write(frame('headers', endStream, 1, headerBlock()))
  const piece = Buffer.concat([
    Buffer.from([0]),
    Buffer.from([4]),
    Buffer.from('x-a1'),
    Buffer.from([1]),
    Buffer.from('v'),
  ])
  const block = Buffer.concat(Array.from({ length: 1500 }, () => piece))
  const sent = await pour(flood, () => frame('continuation', 0, 1, block), 20_000_000)
  await until('the connection to be closed', flood.closed)
  assert.ok(sent < 20_000_000, `${sent} bytes`)
  assert.equal(asked(), 0)
  assert.equal((await askTls(rig)).body, 'ok')
})

test('more streams than are allowed are refused, those within are served, and so is the next connection', async (t) => {
  let release = (): void => undefined
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const part = await backend(t, (_request, response) => void held.then(() => response.end('ok')))
  const rig = await tlsRig(t, [route([part.target('web-1')])], { limits: { sessionStreamsMax: 10 } })
  const greedy = await raw(t, rig)
  const heads = Array.from({ length: 30 }, (_, i) => frame('headers', endHeaders | endStream, 2 * i + 1, headerBlock()))
  greedy.socket.write(Buffer.concat(heads))
  await until('twenty refusals', () => (greedy.seen.get(frames.reset) ?? 0) === 20)
  assert.equal(rig.gateway.inUse('web-1'), 10)
  const other = askTls(rig)
  release()
  assert.equal((await other).body, 'ok')
  await until('ten answers', () => (greedy.seen.get(frames.headers) ?? 0) === 10)
})

test('a head that is too large is told so (431); one far beyond, or of too many fields, ends its stream', async (t) => {
  const { rig, asked } = await served(t, { limits: { headerBytesMax: 4000, headerPairsMax: 50 } })
  const session = await openHttp2(t, rig)
  assert.equal((await askHttp2(session, { 'x-large': 'x'.repeat(5000) })).status, 431)
  await assert.rejects(askHttp2(session, { 'x-large': 'x'.repeat(50_000) }))
  const many = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`x-${i}`, 'v']))
  await assert.rejects(askHttp2(await openHttp2(t, rig), many))
  assert.equal(asked(), 0)
  assert.equal((await askHttp2(await openHttp2(t, rig))).body, 'ok')
})

test('pings and settings without end are answered within bounds, then the connection is closed', async (t) => {
  const { rig } = await served(t)
  for (const bytes of [frame('ping', 0, 0, Buffer.alloc(8)), frame('settings', 0, 0)]) {
    const flood = await raw(t, rig)
    // It reads none of the answers.
    flood.socket.pause()
    const many = Buffer.concat(Array.from({ length: 500 }, () => bytes))
    const sent = await pour(flood, () => many, 100_000_000)
    assert.ok(sent < 100_000_000)
    assert.equal((await askTls(rig)).body, 'ok')
    flood.socket.destroy()
  }
})

test('what is not HTTP/2 after all ends with a GOAWAY that says so', async (t) => {
  const { rig } = await served(t)
  const cases: readonly [string, Buffer, number][] = [
    ['a stream of an even number', frame('headers', endHeaders | endStream, 2, headerBlock()), 1],
    ['data on a stream that is not there', frame('data', endStream, 1, Buffer.from('x')), 1],
    ['settings of a wrong length', frame('settings', 0, 0, Buffer.from([1])), 6],
    [
      'a head that cannot be unpacked',
      frame('headers', endHeaders | endStream, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff])),
      9,
    ],
  ]
  for (const [what, bytes, code] of cases) {
    const broken = await raw(t, rig)
    broken.socket.write(bytes)
    await until(what, () => broken.closed() || broken.goawayCode() !== null)
    assert.ok([code, null].includes(broken.goawayCode()), `${what}: ${broken.goawayCode()}`)
  }
  assert.equal((await askTls(rig)).body, 'ok')
})

test('a connection of HTTP/2 that says no preface is closed in time', async (t) => {
  const { rig } = await served(t, { limits: { headersMs: 200 } })
  const socket = await openTls(rig, 'shop.test', ['h2'])
  socket.on('error', () => undefined).resume()
  await once(socket, 'close')
})

test('a client that takes nothing of a large answer is cut off, and its instance is free again', async (t) => {
  const part = await backend(t, (_request, response) => {
    response.on('error', () => undefined)
    response.end(Buffer.alloc(20_000_000))
  })
  const rig = await tlsRig(t, [route([part.target('web-1')])], { limits: { stallMs: 300 } })
  const lazy = await raw(t, rig)
  lazy.socket.write(frame('headers', endHeaders | endStream, 1, headerBlock()))
  await until('its stream to be reset', () => (lazy.seen.get(frames.reset) ?? 0) === 1)
  await until('nothing in use', () => rig.gateway.inUse('web-1') === 0)
})

test('methods and targets that are none for us are refused, on their stream alone', async (t) => {
  const { rig, asked } = await served(t)
  const session = await openHttp2(t, rig)
  const connect = session.request({ ':method': 'CONNECT', ':authority': 'shop.test' }, { endStream: true })
  const [headers] = (await once(connect, 'response')) as [{ ':status'?: number }]
  assert.equal(headers[':status'], 405)
  connect.close()
  for (const path of ['/a/../b', '/a\\b']) assert.equal((await askHttp2(session, { ':path': path })).status, 400)
  assert.equal((await askHttp2(session, { host: 'other.test' })).status, 400)
  assert.equal(asked(), 0)
  assert.equal((await askHttp2(session, { host: 'shop.test' })).status, 400, 'two are two, whatever they say')
})

test('nothing that means one thing in HTTP/2 and another in HTTP/1.1 reaches an instance', async (t) => {
  const seen: string[] = []
  const part = await backend(t, (asked, response) => {
    seen.push(JSON.stringify([asked.method, asked.url, asked.rawHeaders]))
    response.end('ok')
  })
  const rig = await tlsRig(t, [route([part.target('web-1')])])
  const without = (name: string): Fields => request.filter(([other]) => other !== name)
  const hostile: readonly [string, Fields][] = [
    ['a value with a line break', [...request, ['x-a', 'b\r\nx-smuggled: 1']]],
    ['a value with a bare line feed', [...request, ['x-a', 'b\nx-smuggled: 1']]],
    ['a value with a zero', [...request, ['x-a', 'b\0c']]],
    ['a name with a colon', [...request, ['x-smuggled: 1\r\nx', 'a']]],
    ['a name with a space', [...request, ['x smuggled', 'a']]],
    ['a name in upper case', [...request, ['X-Smuggled', 'a']]],
    ['transfer-encoding', [...request, ['transfer-encoding', 'chunked']]],
    ['connection', [...request, ['connection', 'x-smuggled']]],
    ['te that is not trailers', [...request, ['te', 'chunked']]],
    ['two lengths', [...request, ['content-length', '0'], ['content-length', '5']]],
    ['a length that is none', [...request, ['content-length', '+1']]],
    ['a method with a line break', [[':method', 'GET / HTTP/1.1\r\nx-smuggled: 1\r\n'], ...without(':method')]],
    ['a path with a line break', [[':path', '/ HTTP/1.1\r\nx-smuggled: 1\r\n'], ...without(':path')]],
    ['a path with a space', [[':path', '/a HTTP/1.1'], ...without(':path')]],
    ['a path that is no path', [[':path', 'shop.test/smuggled'], ...without(':path')]],
    ['an authority with a line break', [[':authority', 'shop.test\r\nx-smuggled: 1'], ...without(':authority')]],
    ['an authority with a path', [[':authority', 'shop.test/smuggled'], ...without(':authority')]],
    ['an authority with a user', [[':authority', 'smuggled@shop.test'], ...without(':authority')]],
    ['two paths', [...request, [':path', '/smuggled']]],
    ['a pseudo-header after a header', [['x-a', 'b'], ...request]],
    ['an unknown pseudo-header', [[':smuggled', 'x'], ...request]],
    ['no path', without(':path')],
    ['no method', without(':method')],
    ['an empty path', [[':path', ''], ...without(':path')]],
  ]
  for (const [what, fields] of hostile) {
    const bad = await raw(t, rig)
    bad.socket.write(frame('headers', endHeaders | endStream, 1, literals(fields)))
    const over = (): boolean =>
      bad.closed() || bad.goawayCode() !== null || [frames.reset, frames.headers].some((type) => bad.seen.has(type))
    await until(`an end of ${what}`, over)
    bad.socket.destroy()
  }
  // A body that is not as long as was said: what came of it must not be taken for the next request.
  const short = await raw(t, rig)
  short.socket.write(
    Buffer.concat([
      frame('headers', endHeaders, 1, literals([[':method', 'POST'], ...without(':method'), ['content-length', '50']])),
      frame('data', endStream, 1, Buffer.from('GET /smuggled HTTP/1.1\r\n\r\n')),
    ]),
  )
  await until(
    'an end of the short body',
    () => short.closed() || short.seen.has(frames.reset) || short.seen.has(frames.headers),
  )
  assert.equal((await askTls(rig)).body, 'ok')
  assert.deepEqual(
    seen.filter((line) => line.includes('smuggled')),
    [],
  )
  for (const line of seen) assert.doesNotMatch(line, /transfer-encoding|\\r|\\n|\\u0000/)
})

test('an upload by HTTP/2 streams, is bounded, and is told so while it still sends', async (t) => {
  const part = await backend(t, (request, response) => {
    let bytes = 0
    request.on('data', (chunk: Buffer) => (bytes += chunk.length))
    request.on('end', () => response.end(String(bytes)))
  })
  const rig = await tlsRig(t, [route([part.target('web-1')], { limits: { bodyBytesMax: 5_000_000 } })])
  const session = await openHttp2(t, rig)
  const whole = await askHttp2(session, { ':method': 'POST' }, Buffer.alloc(4_000_000))
  assert.equal(whole.body, '4000000')
  const large = await askHttp2(session, { ':method': 'POST', accept: 'application/json' }, Buffer.alloc(8_000_000))
  assert.equal(large.status, 413)
  const expecting = session.request({
    ':method': 'POST',
    ':authority': 'shop.test',
    ':path': '/',
    expect: '100-continue',
  })
  await once(expecting, 'continue')
  expecting.end('12345')
  assert.equal(String((await once(expecting, 'data'))[0]), '5')
})

test('an upload that its client gives up, by whatever code, is never a whole one to the instance', async (t) => {
  const ends: string[] = []
  let arrived = 0
  const part = await backend(t, (request, response) => {
    arrived += 1
    request.on('error', () => ends.push('aborted')).on('end', () => ends.push('whole'))
    request.resume()
    response.on('error', () => undefined)
  })
  const rig = await tlsRig(t, [route([part.target('web-1')])])
  for (const [i, code] of [0, 8, 2].entries()) {
    const client = await raw(t, rig)
    const post = literals([[':method', 'POST'], ...request.filter(([name]) => name !== ':method')])
    client.socket.write(
      Buffer.concat([frame('headers', endHeaders, 1, post), frame('data', 0, 1, Buffer.from('a part'))]),
    )
    await until('it to arrive', () => arrived === i + 1)
    client.socket.write(frame('reset', 0, 1, Buffer.from([0, 0, 0, code])))
    await until('nothing in use', () => rig.gateway.inUse('web-1') === 0)
    client.socket.destroy()
  }
  await until('three ends', () => ends.length === 3)
  assert.deepEqual(ends, ['aborted', 'aborted', 'aborted'])
})

test('headers and trailers that HTTP/2 cannot have do no harm', async (t) => {
  const part = await backend(t, (_request, response) => {
    const twice = [
      'date',
      'one',
      'date',
      'two',
      'content-type',
      'a/b',
      'content-type',
      'c/d',
      'set-cookie',
      'a',
      'set-cookie',
      'b',
    ]
    response.sendDate = false
    response.writeHead(200, [...twice, 'te', 'gzip', 'x-latin', 'gr\u00fcn', 'trailer', 'te'])
    response.write('ok')
    response.addTrailers([
      ['te', 'x'],
      ['connection', 'close'],
      ['date', 'one'],
      ['date', 'two'],
      ['x-end', 'yes'],
    ])
    response.end()
  })
  const rig = await tlsRig(t, [route([part.target('web-1')])])
  const session = await openHttp2(t, rig)
  const answer = await askHttp2(session)
  assert.deepEqual([answer.status, answer.body, answer.headers['content-type']], [200, 'ok', 'a/b, c/d'])
  assert.deepEqual(answer.headers['set-cookie'], ['a', 'b'])
  assert.deepEqual(
    [answer.headers.date, answer.trailers.date, answer.trailers['x-end']],
    ['one, two', 'one, two', 'yes'],
  )
})

test('a HEAD, an empty answer and one without a length all end', async (t) => {
  const part = await backend(t, (request, response) => {
    if (request.url === '/none') response.writeHead(204).end()
    else if (request.url === '/chunks') {
      response.write('a')
      setTimeout(() => response.end('b'), 20)
    } else response.writeHead(200, { 'content-length': 7 }).end('content')
  })
  const rig = await tlsRig(t, [route([part.target('web-1')])])
  const session = await openHttp2(t, rig)
  const head = await askHttp2(session, { ':method': 'HEAD' })
  assert.deepEqual([head.status, head.headers['content-length'], head.body], [200, '7', ''])
  assert.equal((await askHttp2(session, { ':path': '/none' })).status, 204)
  assert.equal((await askHttp2(session, { ':path': '/chunks' })).body, 'ab')
  await until('nothing in use', () => rig.gateway.inUse('web-1') === 0)
})
