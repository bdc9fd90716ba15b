/** Frames: however the stream is cut, the same messages come out, and no line grows without bound. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { isSteadError, seededRandom } from '../base/index.ts'
import { frame, frameBytesMax, FrameReader } from './frames.ts'

suite('frames', () => {
  test('any split of the byte stream gives the same messages', () => {
    const random = seededRandom(7)
    const roll = (sides: number): number => ((random.bytes(1)[0] ?? 0) * 256 + (random.bytes(1)[0] ?? 0)) % sides
    const words = ['', 'a', 'line\nbreak', 'Grüße 🚢', '\u2028', '"quoted"', 'x'.repeat(5000)]
    for (let round = 0; round < 300; round += 1) {
      const messages = Array.from({ length: roll(12) }, () => ({ text: words[roll(words.length)], n: roll(1000) }))
      const stream = Buffer.from(messages.map((message) => frame(message) + '\n'.repeat(roll(3))).join(''))
      const reader = new FrameReader()
      const got: unknown[] = []
      for (let from = 0; from < stream.length;) {
        const to = Math.min(stream.length, from + 1 + roll(roll(4) === 0 ? 4000 : 7))
        for (const text of reader.push(stream.subarray(from, to))) got.push(JSON.parse(text))
        from = to
      }
      assert.deepEqual(got, messages, `round ${round}`)
    }
  })

  test('heartbeats are no messages', () => {
    assert.deepEqual(new FrameReader().push(Buffer.from('\n\n{}\n\n')), ['{}'])
  })

  test('a line that does not end is refused at the limit, in one chunk or in many', () => {
    const tooLarge = (error: unknown): boolean => isSteadError(error) && error.code === 'transport.too-large'
    assert.throws(() => new FrameReader().push(Buffer.alloc(frameBytesMax + 1, 'x')), tooLarge)
    const reader = new FrameReader()
    const chunk = Buffer.alloc(1024 * 1024, 'x')
    assert.throws(() => {
      for (let held = 0; held <= frameBytesMax; held += chunk.length) reader.push(chunk)
    }, tooLarge)
  })
})
