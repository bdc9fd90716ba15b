/**
 * When stops come at an unhappy moment: an adapter is played here that says them just then. That real ones are looked through is
 * shown by the conformance suite.
 */
import assert from 'node:assert/strict'
import { duplexPair } from 'node:stream'
import { test } from 'node:test'
import { systemClock } from '../../base/index.ts'
import { DapDecoder, encodeDap } from '../dap/codec.ts'
import { type Arguments, textIn } from '../dap/peer.ts'
import { readProcess } from '../drivers/proc.ts'
import type { SnapshotReport } from '../recipe.ts'
import { snapshotOf } from './look.ts'

const path = '/app/ticking.xyz'
const answers: Readonly<Record<string, Arguments>> = {
  setBreakpoints: { breakpoints: [{ verified: true, line: 5 }] },
  stackTrace: { stackFrames: [{ id: 1 }] },
  evaluate: { result: '7' },
}

/** What an adapter says at once when it is asked that, after the answer: more messages in the same piece of bytes. */
type Beside = (command: string) => readonly Arguments[]

/** Values of `count` by an adapter that has `held` requests of a command in hand before it answers all of them in one piece. */
async function snapshotBy(
  hits: number,
  beside: Beside,
  held: { readonly command: string; readonly count: number },
): Promise<SnapshotReport> {
  const [near, far] = duplexPair()
  const decoder = new DapDecoder()
  const waiting: Buffer[] = []
  let sequence = 0
  const say = (message: Arguments): Buffer => encodeDap({ seq: ++sequence, ...message })
  far.on('data', (piece: Uint8Array) => {
    for (const request of decoder.push(piece)) {
      const command = textIn(request, 'command')
      const head = { type: 'response', request_seq: request['seq'], command, success: true }
      const said = [say({ ...head, body: answers[command] ?? {} }), ...beside(command).map(say)]
      if (command !== held.command) {
        far.write(Buffer.concat(said))
        continue
      }
      waiting.push(...said)
      if (waiting.length === held.count) far.write(Buffer.concat(waiting.splice(0)))
    }
  })
  return await snapshotOf(
    {
      streams: { from: near, to: near },
      attach: {},
      stopsFirst: false,
      pausesLast: false,
      files: async () => [path],
      guard: (expression) => expression,
      end: () => Promise.resolve(),
    },
    systemClock,
    readProcess(process.pid),
    { file: path, line: 5, expressions: ['count'], hits, timeMs: 5000 },
    (text) => text,
  )
}

const initialized: Arguments = { type: 'event', event: 'initialized', body: {} }
const stopOf = (threadId: number): Arguments => ({
  type: 'event',
  event: 'stopped',
  body: { reason: 'breakpoint', threadId },
})

test('a stop that comes with the answer about its breakpoint is a hit', async () => {
  const beside: Beside = (command) => {
    if (command === 'attach') return [initialized]
    return command === 'setBreakpoints' ? [stopOf(1)] : []
  }
  const report = await snapshotBy(1, beside, { command: 'none', count: 1 })
  assert.deepEqual([report.ended, report.hits.length], ['hits', 1])
  assert.deepEqual(report.hits[0]?.values, [{ expression: 'count', value: '7', asWritten: true }])
})

test('a process that ends while its line is waited for is said to have ended', async () => {
  const beside: Beside = (command) => {
    if (command === 'attach') return [initialized]
    return command === 'configurationDone' ? [{ type: 'event', event: 'terminated' }] : []
  }
  await assert.rejects(snapshotBy(1, beside, { command: 'none', count: 1 }), { code: 'debug.process-gone' })
})

test('threads that come to the line together are no more hits than were asked for', async () => {
  const threads = Array.from({ length: 12 }, (_, index) => index + 1)
  const beside: Beside = (command) => {
    if (command === 'attach') return [initialized]
    return command === 'configurationDone' ? threads.map(stopOf) : []
  }
  const report = await snapshotBy(10, beside, { command: 'evaluate', count: threads.length })
  assert.deepEqual([report.ended, report.hits.length], ['hits', 10])
})
