/** What is asked through a debugger, as the record gets it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RemoteStream } from '../protocol/index.ts'
import { observed } from './asked.ts'

const frame = (message: unknown): Buffer => {
  const body = Buffer.from(JSON.stringify(message))
  return Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`), body])
}

function streamTo(written: Uint8Array[]): RemoteStream {
  return {
    pieces: (async function* () {})(),
    ended: Promise.resolve({ code: 0, signal: null, sentence: 'ended' }),
    write: async (bytes) => void written.push(bytes),
    end() {},
    resize() {},
    seen() {},
    close() {},
  }
}

test('expressions, conditions and values that are set are told, and every byte goes on', async () => {
  const [written, asked]: [Uint8Array[], string[]] = [[], []]
  const stream = observed(streamTo(written), (what) => asked.push(what))
  const bytes = Buffer.concat([
    frame({ type: 'request', command: 'evaluate', arguments: { expression: 'order\n  .total' } }),
    frame({ type: 'request', command: 'next', arguments: { threadId: 1 } }),
    frame({ type: 'request', command: 'setVariable', arguments: { name: 'n', value: '3' } }),
    frame({ command: 'setBreakpoints', arguments: { breakpoints: [{ line: 1 }, { line: 2, condition: 'n > 1' }] } }),
  ])
  for (const at of [0, 10, 70]) await stream.write(bytes.subarray(at, at === 0 ? 10 : at === 10 ? 70 : undefined))
  assert.deepEqual(asked, ['evaluate order .total', 'set n to 3', 'condition n > 1'])
  assert.deepEqual(Buffer.concat(written), bytes)
})

test('what is no protocol goes on untouched', async () => {
  const [written, asked]: [Uint8Array[], string[]] = [[], []]
  const stream = observed(streamTo(written), (what) => asked.push(what))
  await stream.write(Buffer.from('Content-Length: x\r\n\r\n'))
  await stream.write(Buffer.from('more'))
  assert.deepEqual(asked, [])
  assert.equal(Buffer.concat(written).toString(), 'Content-Length: x\r\n\r\nmore')
})
