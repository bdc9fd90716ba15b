/** Streams to nodes: nothing is held beyond the window, and every stream ends, whoever goes away. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { type Ask, type RemoteStream, streamWindowBytes } from '../protocol/index.ts'
import { RemoteStreams } from './remote-streams.ts'

interface Rig {
  readonly streams: RemoteStreams
  readonly stream: RemoteStream
  readonly sent: Ask[]
  readonly id: () => string
  readonly output: (bytes: number) => void
}

function rig(): Rig {
  const streams = new RemoteStreams(seededRandom(1))
  const sent: Ask[] = []
  const ids: string[] = []
  const send = (id: string, ask: Ask): void => {
    ids.push(id)
    sent.push(ask)
  }
  const stream = streams.open('n1', send, { kind: 'connect', assignment: 'shop.web.1', port: null })
  const id = (): string => ids[0] ?? ''
  return {
    streams,
    stream,
    sent,
    id,
    output: (bytes) =>
      streams.receive('n1', { type: 'output', ask: id(), to: 'out', data: Buffer.alloc(bytes).toString('base64') }),
  }
}

const rest = (): Promise<unknown> => new Promise((resolve) => setImmediate(resolve))
const kinds = (sent: readonly Ask[]): string[] => sent.map(({ kind }) => kind)

suite('streams to nodes', () => {
  test('input waits for the node to take what is under way', async () => {
    const { streams, stream, sent, id } = rig()
    let written = false
    const writing = stream.write(new Uint8Array(streamWindowBytes + 1)).then(() => (written = true))
    await rest()
    const bytes = (): number =>
      sent.reduce((sum, ask) => sum + (ask.kind === 'input' ? Buffer.from(ask.data, 'base64').length : 0), 0)
    assert.deepEqual([bytes(), written], [streamWindowBytes, false])
    streams.receive('n2', { type: 'taken', ask: id(), bytes: 10 })
    await rest()
    assert.equal(written, false, 'another node has no say')
    streams.receive('n1', { type: 'taken', ask: id(), bytes: 10 })
    await writing
    assert.equal(bytes(), streamWindowBytes + 1)
  })

  test('output is taken as it is read; a node that sends more than that is cut off', async () => {
    const { stream, sent, output } = rig()
    output(streamWindowBytes)
    const pieces = stream.pieces[Symbol.asyncIterator]()
    const first = await pieces.next()
    assert.equal(first.done === true ? 0 : first.value.bytes.length, streamWindowBytes)
    assert.deepEqual(kinds(sent), ['connect'], 'not before the next is asked for')
    const next = pieces.next()
    await rest()
    assert.deepEqual(kinds(sent), ['connect', 'taken'])
    output(streamWindowBytes + 1)
    assert.equal((await next).done, true)
    await assert.rejects(stream.ended, { code: 'control.stream-cut' })
    assert.deepEqual(kinds(sent), ['connect', 'taken', 'cancel'])
  })

  test('it ends when the node says so, when the node goes away, and when it is closed', async () => {
    const said = rig()
    const end = { code: 3, signal: null, sentence: 'ended with code 3' }
    said.output(1)
    said.streams.receive('n1', { type: 'ended', ask: said.id(), end, error: null })
    assert.equal((await Array.fromAsync(said.stream.pieces)).length, 1, 'what came before is not lost')
    assert.deepEqual(await said.stream.ended, end)

    const away = rig()
    const waiting = away.stream.write(new Uint8Array(2 * streamWindowBytes))
    away.streams.nodeGone('n1')
    await waiting
    await assert.rejects(away.stream.ended, { code: 'control.stream-cut' })
    assert.deepEqual(await Array.fromAsync(away.stream.pieces), [])

    const closed = rig()
    closed.stream.close()
    closed.stream.close()
    closed.stream.end()
    assert.deepEqual(kinds(closed.sent), ['connect', 'cancel'])

    const refused = rig()
    refused.streams.receive('n1', { type: 'ended', ask: refused.id(), end: null, error: 'it does not run' })
    await assert.rejects(refused.stream.ended, { code: 'control.stream-failed', message: 'it does not run' })
  })
})
