/** The first message of TLS: real ones from real clients, whole, in pieces and in several records; and what is none. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { seededRandom } from '../base/index.ts'
import { HelloReader, type HelloReading } from './client-hello.ts'

const readClientHello = (bytes: Buffer): HelloReading => new HelloReader().read(bytes)

/** What Node's client sends first. */
async function helloOf(servername: string | undefined): Promise<Buffer> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  const named = servername === undefined ? {} : { servername }
  const client = connect({ port: address.port, host: '127.0.0.1', ALPNProtocols: ['h2'], ...named })
  client.on('error', () => undefined)
  const [socket] = (await once(server, 'connection')) as [Socket]
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  client.destroy()
  socket.destroy()
  server.close()
  return bytes
}

/** The same message in records of a few bytes each. */
function inRecords(hello: Buffer, size: number): Buffer {
  const body = hello.subarray(5)
  const records: Buffer[] = []
  for (let at = 0; at < body.length; at += size) {
    const piece = body.subarray(at, at + size)
    records.push(Buffer.from([0x16, 3, 1, piece.length >> 8, piece.length & 0xff]), piece)
  }
  return Buffer.concat(records)
}

test('the server name of a real client is read, and that there is none', async () => {
  assert.deepEqual(readClientHello(await helloOf('Shop.Example')), { kind: 'hello', serverName: 'shop.example' })
  assert.deepEqual(readClientHello(await helloOf(undefined)), { kind: 'hello', serverName: null })
})

test('every beginning asks for more, and never for what is there already', async () => {
  const hello = await helloOf('shop.example')
  for (const bytes of [hello, inRecords(hello, 7), inRecords(hello, 1)]) {
    for (let length = 0; length < bytes.length; length += 1) {
      const reading = readClientHello(bytes.subarray(0, length))
      assert.equal(reading.kind, 'more', `${length} of ${bytes.length}`)
      if (reading.kind === 'more') assert.ok(reading.bytes > length && reading.bytes <= bytes.length)
    }
    assert.deepEqual(readClientHello(bytes), { kind: 'hello', serverName: 'shop.example' })
    const more = Buffer.concat([bytes, Buffer.from([0x17, 3, 3, 0, 1, 9])])
    assert.deepEqual(readClientHello(more), { kind: 'hello', serverName: 'shop.example' })
  }
})

test('what was read is not read again, however small the records', async () => {
  const bytes = inRecords(await helloOf('shop.example'), 1)
  const reader = new HelloReader()
  let reading = reader.read(bytes.subarray(0, 0))
  let pieces = 0
  for (let length = 0; reading.kind === 'more'; pieces += 1) {
    // Who looks back finds something else.
    bytes.fill(0xff, 0, length)
    length = reading.bytes
    reading = reader.read(bytes.subarray(0, length))
  }
  assert.deepEqual(reading, { kind: 'hello', serverName: 'shop.example' })
  assert.ok(pieces > 200)
})

test('what is no ClientHello is bad, whatever its lengths say', async () => {
  const hello = await helloOf('shop.example')
  const at = hello.indexOf('shop.example')
  const with_ = (change: (copy: Buffer) => void): Buffer => {
    const copy = Buffer.from(hello)
    change(copy)
    return copy
  }
  const bad: readonly [string, Buffer][] = [
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a record of nothing', Buffer.from([0x16, 3, 1, 0, 0])],
    ['a record that is too long', Buffer.from([0x16, 3, 1, 0x40, 1])],
    ['another version', Buffer.from([0x16, 2, 0, 0, 9])],
    ['another message', with_((copy) => (copy[5] = 2))],
    ['a session id longer than all', with_((copy) => (copy[43] = 255))],
    ['a name longer than its extension', with_((copy) => (copy[at - 1] = 200))],
    ['a name with a zero', with_((copy) => (copy[at + 1] = 0))],
    ['a name with a slash', with_((copy) => (copy[at + 1] = 0x2f))],
    ['an empty label', with_((copy) => copy.fill(0x2e, at + 1, at + 3))],
    [
      'another record in between',
      Buffer.concat([inRecords(hello, 20).subarray(0, 25), Buffer.from([0x17, 3, 3, 0, 1, 9])]),
    ],
  ]
  for (const [what, bytes] of bad) assert.deepEqual(readClientHello(bytes), { kind: 'bad' }, what)
})

test('a thousand damaged ones are read to an end, each within its bytes', async () => {
  const hello = await helloOf('shop.example')
  const random = seededRandom(11)
  for (let i = 0; i < 1000; i += 1) {
    const copy = Buffer.from(hello)
    for (const [high = 0, low = 0, value = 0] of Array.from({ length: 3 }, () => random.bytes(3))) {
      copy[(high * 256 + low) % copy.length] = value
    }
    const reading = readClientHello(copy)
    if (reading.kind === 'hello') assert.match(reading.serverName ?? '', /^[a-z0-9._-]*$/)
  }
})
