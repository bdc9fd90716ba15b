/**
 * What clients send who mean no good: requests that two readers would read differently, clients that are slow on purpose,
 * floods. Each gets one clear answer or is cut off, nothing of it reaches an instance as a request, and others are served.
 */
import assert from 'node:assert/strict'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { ask, backend, rawExchange, rig, route, until } from '../../test/gateway-rig.ts'
import type { RouteTarget } from '../protocol/index.ts'

/** An instance that answers every connection's first request, and keeps what it was sent. */
async function recorder(t: TestContext): Promise<{ target: RouteTarget; seen: () => string }> {
  let text = ''
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    open.add(socket)
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      if (text.endsWith('\r\n\r\n')) socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  return { target: { instance: 'web-1', endpoint: { kind: 'tcp', host: '127.0.0.1', port } }, seen: () => text }
}

const inner = 'GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n'
const post = 'POST / HTTP/1.1\r\nHost: shop.test\r\n'
const get = 'GET / HTTP/1.1\r\nHost: shop.test\r\n'
const whole = `0\r\n\r\n${inner}`

test('a request that could be read in two ways is one 400 and the end of the connection; no instance hears of it', async (t) => {
  const web = await recorder(t)
  const { port } = await rig(t, [route([web.target])])
  const cases: Readonly<Record<string, string>> = {
    'CL.TE': `${post}Content-Length: ${whole.length}\r\nTransfer-Encoding: chunked\r\n\r\n${whole}`,
    'TE.CL': `${post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`,
    'TE.TE, one that is none': `${post}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n${whole}`,
    'TE.TE, reversed': `${post}Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n${whole}`,
    'an encoding almost chunked': `${post}Transfer-Encoding: xchunked\r\n\r\n${whole}`,
    'chunked with something in front': `${post}Transfer-Encoding: \x0bchunked\r\n\r\n${whole}`,
    'chunked and then identity': `${post}Transfer-Encoding: chunked, identity\r\n\r\n${whole}`,
    'identity with a length': `${post}Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc${inner}`,
    'an encoding in a folded line': `${post}X: 1\r\n Transfer-Encoding: chunked\r\n\r\n${whole}`,
    'an encoding after a bare line feed': `${post}X: 1\nTransfer-Encoding: chunked\r\n\r\n${whole}`,
    'an encoding after a bare carriage return': `${post}X: 1\rTransfer-Encoding: chunked\r\n\r\n${whole}`,
    'a space before the colon': `${post}Transfer-Encoding : chunked\r\n\r\n${whole}`,
    'two lengths': `${post}Content-Length: 0\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`,
    'two equal lengths': `${post}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`,
    'a list of lengths': `${post}Content-Length: 3, 3\r\n\r\nabc`,
    'a negative length': `${post}Content-Length: -1\r\n\r\n`,
    'a length in hex': `${post}Content-Length: 0x3\r\n\r\nabc`,
    'a length beyond all numbers': `${post}Content-Length: 99999999999999999999\r\n\r\nabc`,
    'no name before the colon': `${get}: 1\r\n\r\n`,
    'a name with a space': `${get}X Y: 1\r\n\r\n`,
    'a zero byte in a value': `${get}X: a\0b\r\n\r\n`,
    'a bare carriage return in the request line': 'GET /\rX HTTP/1.1\r\nHost: shop.test\r\n\r\n',
    'only line feeds': 'GET / HTTP/1.1\nHost: shop.test\n\n',
    'an unknown method': 'SMUGGLE / HTTP/1.1\r\nHost: shop.test\r\n\r\n',
    'another version': 'GET / HTTP/1.2\r\nHost: shop.test\r\n\r\n',
    'no version': 'GET /\r\n\r\n',
    'a request line with a tab': 'GET\t/\tHTTP/1.1\r\nHost: shop.test\r\n\r\n',
    'the target of another host': 'GET http://evil.test/ HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n',
    'the target of a user at another host':
      'GET http://shop.test@evil.test/ HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n',
    'two hosts in one header': 'GET / HTTP/1.1\r\nHost: shop.test, evil.test\r\nConnection: close\r\n\r\n',
    'a host in an absolute target and none in the header':
      'GET http://shop.test/ HTTP/1.1\r\nConnection: close\r\n\r\n',
  }
  for (const [what, bytes] of Object.entries(cases)) {
    const answer = await rawExchange(port, bytes)
    assert.match(answer, /^HTTP\/1\.1 400 /, `${what}: ${answer.slice(0, 80)}`)
    assert.equal(answer.match(/HTTP\/1\.1 \d/g)?.length, 1, `${what}: one answer`)
  }
  assert.equal(web.seen(), '', 'nothing was passed on')
})

test('a body whose chunks lie is one 400, and never becomes a second request', async (t) => {
  const web = await recorder(t)
  const { port, gateway } = await rig(t, [route([web.target])])
  const chunked = `${post}Transfer-Encoding: chunked\r\n\r\n`
  const cases: Readonly<Record<string, string>> = {
    'a size that is no number': 'z\r\nabc\r\n0\r\n\r\n',
    'a size with a sign': '+3\r\nabc\r\n0\r\n\r\n',
    'a size in C': '0x3\r\nabc\r\n0\r\n\r\n',
    'a size with a space in front': ' 3\r\nabc\r\n0\r\n\r\n',
    'a size beyond all numbers': 'fffffffffffffffff1\r\nabc',
    'a bare line feed after the size': `3\nabc\r\n0\r\n\r\n${inner}`,
    'more than the size says': `3\r\nabcdef\r\n0\r\n\r\n${inner}`,
    'less than the size says': `${(inner.length + 2).toString(16)}\r\n${inner}0\r\n\r\nrest`,
    'no end of line after the data': '3\r\nabc0\r\n\r\n',
    'a bare line feed after the data': '3\r\nabc\n0\r\n\r\n',
    'a line feed in an extension': `3;a\nb\r\nabc\r\n0\r\n\r\n${inner}`,
    'a carriage return in an extension': '3;a\rb\r\nabc\r\n0\r\n\r\n',
    'a last chunk with bare line feeds': `0\n\n${inner}`,
    'a trailer that is none': '0\r\nX Y: 1\r\n\r\n',
  }
  for (const [what, body] of Object.entries(cases)) {
    const answer = await rawExchange(port, chunked + body)
    assert.match(answer, /^HTTP\/1\.1 400 /, `${what}: ${answer.slice(0, 80)}`)
    assert.equal(answer.match(/HTTP\/1\.1 \d/g)?.length, 1, `${what}: one answer`)
    assert.doesNotMatch(web.seen(), /^GET \/smuggled/m, what)
  }
  await until('nothing is left in flight', () => gateway.inUse('web-1') === 0)
})

test('what passes is framed anew: no spelling of a length or an encoding of the client reaches the instance', async (t) => {
  const web = await recorder(t)
  const { port } = await rig(t, [route([web.target])])
  const answer = await rawExchange(
    port,
    `${post}Transfer_Encoding: chunked\r\nContent_Length: 99\r\nX_Forwarded_For: 6.6.6.6\r\nContent-Length: 4\r\nConnection: close\r\n\r\n\r\n\r\n`,
  )
  assert.match(answer, /^HTTP\/1\.1 200 /)
  assert.match(web.seen(), /content-length: 4\r\n/i)
  assert.doesNotMatch(web.seen(), /content_length|transfer.encoding|6\.6\.6\.6/i)
  assert.equal(web.seen().match(/^(?:GET|POST) /gm)?.length, 1)
})

test('headers beyond their limit, in size or in number, are 431', async (t) => {
  const web = await recorder(t)
  const { port } = await rig(t, [route([web.target])])
  const many = Array.from({ length: 5000 }, (_, i) => `a${i}:\r\n`).join('')
  for (const bytes of [
    `${get}X: ${'a'.repeat(20_000)}\r\n\r\n`,
    `${get}${many}\r\n`,
    `GET /${'a'.repeat(20_000)} HTTP/1.1\r\n`,
  ])
    assert.match(await rawExchange(port, bytes), /^HTTP\/1\.1 431 /)
  assert.equal(web.seen(), '')
})

/** Clients that send a piece now and then until they are answered or cut off. */
function drip(
  t: TestContext,
  port: number,
  count: number,
  first: string,
  piece: string,
): { readonly closed: () => number; readonly text: () => string } {
  let closed = 0
  let text = ''
  for (let i = 0; i < count; i += 1) {
    let timer: NodeJS.Timeout | undefined
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(first)
      timer = setInterval(() => socket.writable && socket.write(piece), 20)
    })
    t.after(() => socket.destroy())
    socket.on('data', (chunk) => (text += chunk.toString('latin1')))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearInterval(timer)
      closed += 1
    })
  }
  return { closed: () => closed, text: () => text }
}

test('clients that are slow on purpose are let go with 408 at most, however they drip, and others are served meanwhile', async (t) => {
  const web = await backend(t, (request, response) => request.resume().on('end', () => response.end('ok')))
  const limits = { headersMs: 300, bodyIdleMs: 300, instanceRequestsMax: 100 }
  const { port, gateway } = await rig(t, [route([web.target('web-1')])], limits)
  const silent = drip(t, port, 20, '', '')
  const heads = drip(t, port, 40, 'GET / HTTP/1.1\r\nHost: shop.test\r\n', 'X: 1\r\n')
  const bodies = drip(t, port, 40, `${post}Content-Length: 100000\r\n\r\n`, 'x')
  const chunks = drip(t, port, 40, `${post}Transfer-Encoding: chunked\r\n\r\n`, '1\r\nx\r\n')
  const all = [silent, heads, bodies, chunks]
  do assert.equal((await ask(port)).body, 'ok')
  while (all.some(({ closed }, i) => closed() < (i === 0 ? 20 : 40)))
  // A client that goes on sending may lose the answer with the connection; what it is told is nothing else.
  for (const slow of [heads, bodies, chunks]) assert.doesNotMatch(slow.text(), /HTTP\/1\.1 (?!408 )/)
  await until('nothing is left in flight', () => gateway.inUse('web-1') === 0)
})

test('a slow upload that gets somewhere is not cut off', async (t) => {
  const web = await backend(t, (request, response) => {
    let bytes = 0
    request.on('data', (chunk: Buffer) => (bytes += chunk.length))
    request.on('end', () => response.end(String(bytes)))
  })
  const { port } = await rig(t, [route([web.target('web-1')])], { bodyIdleMs: 1500, bodyBytesMin: 100 })
  const socket = connect(port, '127.0.0.1', () =>
    socket.write(`${post}Connection: close\r\nContent-Length: 4000\r\n\r\n`),
  )
  let text = ''
  socket.on('data', (chunk) => (text += chunk.toString()))
  for (let i = 0; i < 40; i += 1) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    socket.write('x'.repeat(100))
  }
  await until('the answer', () => /^HTTP\/1\.1 200 [^]*4000/.test(text))
})

test('a client that takes nothing of the end of an answer is cut off', async (t) => {
  const web = await backend(t, (_request, response) => response.end(Buffer.alloc(60_000)))
  const { port, gateway } = await rig(t, [route([web.target('web-1')])], { stallMs: 200 })
  const socket = connect(port, '127.0.0.1')
  t.after(() => socket.destroy())
  socket.on('error', () => undefined)
  socket.pause()
  // So many that what they are answered fits into no buffer between.
  socket.write(`${get}\r\n`.repeat(400))
  const open = (): number => gateway.metrics().reduce((sum, { inFlight }) => sum + inFlight, 0)
  await until('requests are in flight', () => open() > 0)
  await until('they are over', () => open() === 0)
  assert.equal((await ask(port)).body.length, 60_000)
})

test('connections above the limit are told so, and one address cannot have them all', async (t) => {
  const held: (() => void)[] = []
  const web = await backend(t, (_request, response) => void held.push(() => response.end('ok')))
  const limits = { connectionsMax: 20, addressConnectionsMax: 10 }
  const { port } = await rig(t, [route([web.target('web-1')])], limits)
  const busy = Array.from({ length: 10 }, () => ask(port))
  await until('ten are busy', () => held.length === 10)
  const above = await rawExchange(port, `${get}\r\n`)
  assert.match(above, /^HTTP\/1\.1 503 [^]*\r\nretry-after: 1\r\n[^]*connection: close\r\n/i)
  const elsewhere = new Promise<string>((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' }, () => socket.write(`${get}\r\n`))
    t.after(() => socket.destroy())
    socket.on('data', (chunk) => resolve(chunk.toString()))
  })
  await until('another address has its place', () => held.length === 11)
  for (const end of held.splice(0)) end()
  for (const answer of await Promise.all(busy)) assert.equal(answer.body, 'ok')
  assert.match(await elsewhere, /^HTTP\/1\.1 200 /)
  const after = ask(port)
  await until('there is place again', () => held.length > 0)
  for (const end of held.splice(0)) end()
  assert.equal((await after).body, 'ok')
})

test('a flood of half-sent requests costs bounded memory, and others are served', async (t) => {
  const web = await backend(t, (_request, response) => response.end('ok'))
  const { port } = await rig(t, [route([web.target('web-1')])], { headersMs: 60_000 })
  await ask(port)
  const beforeBytes = process.memoryUsage().rss
  const sockets = Array.from({ length: 400 }, () => {
    const socket = connect(port, '127.0.0.1', () => socket.write(`${get}X: ${'a'.repeat(15_000)}`))
    return socket.on('error', () => undefined)
  })
  await until('all are open', () => sockets.every(({ bytesWritten }) => bytesWritten > 15_000))
  for (let i = 0; i < 20; i += 1) assert.equal((await ask(port)).body, 'ok')
  const grownBytes = process.memoryUsage().rss - beforeBytes
  for (const socket of sockets) socket.destroy()
  assert.ok(grownBytes < 100 * 1024 * 1024, `${grownBytes} bytes for 400 connections, both ends`)
})
