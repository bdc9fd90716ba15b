/** Packets of the Java Debug Wire Protocol, as they arrive. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeJdwp, JdwpDecoder, JdwpReader, JdwpWriter } from './codec.ts'
import { eventKinds, eventsIn } from './protocol.ts'

test('packets are put together from pieces of any size', () => {
  const answer = (id: number, body: Buffer): Buffer => {
    const packet = encodeJdwp(id, 0, 0, body)
    packet[8] = 0x80
    return packet
  }
  const sent = Buffer.concat([
    answer(1, Buffer.from('one')),
    encodeJdwp(9, 64, 100, Buffer.from('event')),
    answer(2, Buffer.alloc(300, 7)),
  ])
  for (const size of [1, 5, 11, 64, sent.length]) {
    const decoder = new JdwpDecoder()
    const packets = []
    for (let at = 0; at < sent.length; at += size) packets.push(...decoder.push(sent.subarray(at, at + size)))
    assert.deepEqual(
      packets.map(({ id, errorCode, body }) => [id, errorCode, body.length]),
      [
        [1, 0, 3],
        [9, null, 5],
        [2, 0, 300],
      ],
    )
  }
})

test('what is no packet is refused', () => {
  assert.throws(() => new JdwpDecoder().push(Buffer.alloc(11)), /no packet has 0 bytes/)
  assert.throws(() => new JdwpDecoder().push(Buffer.alloc(11, 0xff)), /no packet has/)
  assert.throws(() => new JdwpReader(Buffer.from([0, 0, 0, 9, 1])).text(), /ends too early/)
  assert.throws(() => new JdwpReader(Buffer.from([0x7f, 0xff, 0xff, 0xff])).list((one) => one.byte()), /a list of/)
})

test('numbers, ids and texts are read as they were written', () => {
  const { bytes } = new JdwpWriter().byte(3).int(-5).id(0xffff_ffff_ffff_fffen).text('grün')
  const reader = new JdwpReader(bytes)
  assert.deepEqual([reader.byte(), reader.int(), reader.id(), reader.text()], [3, -5, 0xffff_ffff_ffff_fffen, 'grün'])
})

test('events that are not known end the list', () => {
  const place = new JdwpWriter().byte(1).id(1n).id(2n).id(3n).bytes
  const { bytes } = new JdwpWriter().byte(2).int(2).byte(eventKinds.breakpoint).int(17).id(5n)
  const unknown = new JdwpWriter().byte(77).int(0).bytes
  const { stopped, events } = eventsIn(new JdwpReader(Buffer.concat([bytes, place, unknown])))
  assert.equal(stopped, true)
  assert.deepEqual(events, [{ kind: eventKinds.breakpoint, requestId: 17, thread: 5n, exception: null }])
})
