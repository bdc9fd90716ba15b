/** Bundles go out as they are asked for: no further, in order, and what is left over is closed. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { SteadError } from '../base/index.ts'
import type { Downward } from '../protocol/index.ts'
import { BundleSender } from './bundles.ts'

function rig(read: (digest: string) => AsyncIterable<Uint8Array>): {
  sender: BundleSender
  sent: string[]
  close: () => void
} {
  const sent: string[] = []
  const end = Promise.withResolvers<SteadError>()
  const close = (): void => end.resolve(new SteadError({ code: 'transport.closed', message: 'closed' }))
  const send = (message: Downward): void => {
    if (message.type === 'bundle') sent.push(message.done ? (message.error ?? 'done') : atob(message.data))
  }
  const drained = (): Promise<void> => Promise.resolve()
  const channel = { identity: null, send, drained, closed: end.promise, close, [Symbol.dispose]: close }
  return { sender: new BundleSender(channel, read), sent, close }
}

const rest = (): Promise<unknown> => new Promise((resolve) => setImmediate(resolve))

suite('sending bundles', () => {
  test('no more is read than was asked for; what is asked for beyond the end means nothing', async () => {
    let reads = 0
    let closed = 0
    async function* read(digest: string): AsyncIterable<Uint8Array> {
      try {
        for (let piece = 1; piece <= 5; piece += 1) {
          reads += 1
          yield Buffer.from(`${digest}${piece}`)
        }
      } finally {
        closed += 1
      }
    }
    const { sender, sent, close } = rig(read)
    sender.send({ digest: 'a', from: 0, pieces: 2 })
    await rest()
    assert.deepEqual([sent, reads], [['a1', 'a2'], 2])
    sender.send({ digest: 'a', from: 2, pieces: 2 })
    sender.send({ digest: 'a', from: 4, pieces: 2 })
    await rest()
    assert.deepEqual(sent, ['a1', 'a2', 'a3', 'a4', 'a5', 'done'])
    sender.send({ digest: 'a', from: 6, pieces: 2 })
    await rest()
    assert.deepEqual([sent.length, closed], [6, 1])

    sender.send({ digest: 'b', from: 0, pieces: 1 })
    await rest()
    sender.send({ digest: 'b', from: 0, pieces: 1 })
    await rest()
    assert.deepEqual([sent.slice(6), closed], [['b1', 'b1'], 2], 'begun anew')
    close()
    await rest()
    assert.equal(closed, 3, 'what was under way is closed with the channel')
  })

  test('a bundle that cannot be read is said, and can be asked for again', async () => {
    let fails = true
    async function* read(): AsyncIterable<Uint8Array> {
      if (fails) throw new Error('the disk is gone')
      yield Buffer.from('bytes')
    }
    const { sender, sent } = rig(read)
    sender.send({ digest: 'a', from: 0, pieces: 2 })
    await rest()
    fails = false
    sender.send({ digest: 'a', from: 0, pieces: 2 })
    await rest()
    assert.deepEqual(sent, ['the disk is gone', 'bytes', 'done'])
  })
})
