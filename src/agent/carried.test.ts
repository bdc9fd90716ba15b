/** A stream with a name goes on where its line broke off, whole and once; everything that is kept for it has an end. */
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { suite, test } from 'node:test'
import { ManualClock } from '../base/index.ts'
import { type StreamEnd, streamLeaseMs, streamWindowBytes, type Upward } from '../protocol/index.ts'
import { Carried } from './carried.ts'

const rest = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 5))
const done: StreamEnd = { code: 0, signal: null, sentence: 'ended' }

/** One that gives back what it is given. */
function rig(named: boolean, takeBack: () => number = () => 0) {
  const clock = new ManualClock()
  const input = new PassThrough()
  const output = input.pipe(new PassThrough())
  const end = Promise.withResolvers<StreamEnd>()
  let killed = 0
  const lines: Record<string, Upward[]> = { a: [], b: [] }
  const send = (line: string) => (message: Upward) => void lines[line]?.push(message)
  const carried = new Carried('a', send('a'), named, clock)
  void carried.carry({
    input,
    outputs: [{ to: 'out', from: output }],
    terminal: false,
    resize() {},
    takeBack,
    opened: Promise.resolve(),
    ended: end.promise,
    async kill() {
      killed++
      input.destroy()
      output.destroy()
    },
  })
  return {
    clock,
    carried,
    output,
    end,
    killed: () => killed,
    type: (text: string, ask: string) =>
      carried.hear({ kind: 'input', ask, data: Buffer.from(text).toString('base64'), end: false }),
    resume: (seen: number) => carried.resume('b', send('b'), seen),
    said: (line: string) => lines[line] ?? [],
    text: (line: string) =>
      (lines[line] ?? [])
        .map((message) => (message.type === 'output' ? Buffer.from(message.data, 'base64').toString() : ''))
        .join(''),
  }
}

suite('a carried stream', () => {
  test('goes on over another line, from what was seen', async () => {
    const { carried, type, resume, said, text, end, output, killed } = rig(true)
    await rest()
    assert.deepEqual(said('a')[0], { type: 'output', ask: 'a', to: 'out', data: '', took: 0 })
    type('hello', 'a')
    await rest()
    carried.lost()
    output.push(' world')
    await rest()
    assert.equal(text('a'), 'hello')
    assert.ok(resume(3))
    await rest()
    assert.deepEqual(said('b')[0], { type: 'output', ask: 'b', to: 'out', data: '', took: 5 })
    assert.equal(text('b'), 'lo world')
    output.end()
    end.resolve(done)
    await carried.over
    assert.deepEqual(said('b').at(-1), { type: 'ended', ask: 'b', end: done, error: null })
    assert.deepEqual([killed(), resume(0)], [0, false])
  })

  test('ends with its line when it has no name, and when nobody was heard of for too long when it has one', async () => {
    const plain = rig(false)
    await rest()
    plain.carried.lost()
    assert.equal(plain.killed(), 1)
    const named = rig(true)
    await rest()
    named.clock.advance(streamLeaseMs - 1)
    named.carried.hear({ kind: 'seen', ask: 'a', bytes: 0 })
    named.clock.advance(streamLeaseMs - 1)
    assert.equal(named.killed(), 0)
    named.carried.lost()
    named.clock.advance(streamLeaseMs)
    assert.deepEqual([named.killed(), named.resume(0)], [1, false])
    const refused = rig(true)
    await rest()
    assert.equal(refused.resume(1), false, 'more than was given cannot have been seen')
  })

  test('input that was no whole message is taken back and comes once more', async () => {
    let pending = ''
    const { carried, type, resume, said } = rig(true, () => {
      const { length } = pending
      pending = ''
      return length
    })
    await rest()
    pending = 'two'
    type('one;two', 'a')
    await rest()
    carried.lost()
    assert.ok(resume(0))
    assert.deepEqual(said('b')[0], { type: 'output', ask: 'b', to: 'out', data: '', took: 4 })
    carried.close()
  })

  test('what is not seen holds up what gives, and one line never has more than its window', async () => {
    const { carried, output, said, resume, text } = rig(true)
    await rest()
    const much = Buffer.alloc(64 * 1024, 'x')
    for (let index = 0; index < 100; index++) output.push(much)
    await rest()
    const bytes = (line: string): number =>
      said(line).reduce((sum, one) => sum + (one.type === 'output' ? Buffer.from(one.data, 'base64').length : 0), 0)
    assert.equal(bytes('a'), streamWindowBytes)
    for (let index = 0; index < 10; index++) {
      carried.hear({ kind: 'taken', ask: 'a', bytes: streamWindowBytes })
      await rest()
    }
    const unseen = bytes('a')
    assert.ok(unseen <= 5 * streamWindowBytes, `${unseen} bytes that nobody has seen`)
    carried.lost()
    assert.ok(resume(0), 'none of it is lost')
    assert.equal(bytes('b'), streamWindowBytes)
    carried.hear({ kind: 'seen', ask: 'b', bytes: streamWindowBytes })
    carried.hear({ kind: 'taken', ask: 'b', bytes: streamWindowBytes })
    await rest()
    assert.equal(text('b').length, 2 * streamWindowBytes)
    assert.equal(resume(streamWindowBytes - 1), false, 'what was seen is not kept')
    carried.close()
  })
})
