/** Packets as a file, and which of them belong to a port. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { openLibc } from './drivers/libc.ts'
import { createNetnsDriver } from './drivers/netns.ts'
import { hasPort, isIp, type Packet, packetFileHead, packetRecord } from './packet-file.ts'

/** The head of a packet of IPv4, and the ports behind it. */
function packet(protocol: number, from: number, to: number): Uint8Array {
  const bytes = Buffer.alloc(40)
  bytes[0] = 0x45
  bytes[9] = protocol
  bytes.writeUInt16BE(from, 20)
  bytes.writeUInt16BE(to, 22)
  return bytes
}

test('ports are those of TCP and UDP, in both directions', () => {
  assert.ok(hasPort(packet(6, 8080, 4000), 8080))
  assert.ok(hasPort(packet(17, 4000, 53), 53))
  assert.ok(!hasPort(packet(6, 8080, 4000), 80))
  assert.ok(!hasPort(packet(1, 8080, 8080), 8080))
  const later = packet(6, 8080, 8080)
  later[7] = 5
  assert.ok(!hasPort(later, 8080), 'a later piece has none')
  assert.ok(!hasPort(packet(6, 1, 1).subarray(0, 22), 1))
  const six = Buffer.alloc(44)
  six[0] = 0x60
  six[6] = 6
  six.writeUInt16BE(443, 42)
  assert.ok(hasPort(six, 443))
  assert.deepEqual([isIp(six), isIp(Buffer.from([0x00, 0x01])), isIp(Buffer.alloc(0))], [true, false, false])
})

test('a record has its time to the nanosecond, and the length that it had', () => {
  const head = Buffer.from(packetFileHead(100))
  assert.deepEqual([head.readUInt32LE(0), head.readUInt32LE(16), head.readUInt32LE(20)], [0xa1b23c4d, 100, 101])
  const record = Buffer.from(packetRecord({ timeNs: 1_796_012_340_054_294_566n, bytes: packet(6, 1, 2), length: 1500 }))
  const numbers = [0, 4, 8, 12].map((at) => record.readUInt32LE(at))
  assert.deepEqual(numbers, [1_796_012_340, 54_294_566, 40, 1500])
  assert.equal(record.length, 56)
})

const libc = openLibc()

test(
  'all that passes in a place is seen once, in order',
  { skip: 'reason' in libc ? libc.reason : false },
  async () => {
    if ('reason' in libc) return
    await using network = createNetnsDriver({ libc, poolSize: 0 })
    using place = await network.place('watched')
    using tap = place.tap()
    assert.ok(tap !== null)
    const server = createServer((socket) => socket.end('answer'))
    await place.listen('10.64.0.2', 8080, server)
    const script = `require('net').connect(8080, '10.64.0.2').on('data', () => process.exit(0)).write('question')`
    const child = place.enter(() => spawn(process.execPath, ['-e', script], { stdio: 'ignore' }))
    await once(child, 'exit')
    const seen: Packet[] = []
    const data = (): string => Buffer.concat(seen.map(({ bytes }) => bytes)).toString('latin1')
    for (let tries = 0; !data().includes('answer') && tries < 500; tries++) {
      seen.push(...tap.take())
      await pause(20)
    }
    server.close()
    assert.deepEqual([data().split('question').length, data().split('answer').length], [2, 2], 'each once')
    assert.ok(seen.every(({ bytes, length }) => isIp(bytes) && hasPort(bytes, 8080) && length === bytes.length))
    const times = seen.map(({ timeNs }) => timeNs)
    assert.deepEqual(
      times,
      times.toSorted((a, b) => (a < b ? -1 : 1)),
    )
    assert.ok(Math.abs(Number(times[0]) / 1e6 - Date.now()) < 60_000)
    assert.equal(tap.dropped(), 0)
  },
)
