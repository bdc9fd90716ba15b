/** Writes with a condition: one winner, no lost update. */
import assert from 'node:assert/strict'
import { isSteadError } from '../base/index.ts'
import type { ObjectsCase } from './conformance.ts'
import { bytesOf } from './objects.conformance.ts'

const racers = 20

function isUnsupported(error: unknown): boolean {
  return isSteadError(error) && error.code === 'objects.unsupported'
}

export const conditionCases: readonly ObjectsCase[] = [
  {
    name: 'of racing creators one wins, and its content stays',
    async run(store) {
      if (!store.capabilities.putIfAbsent) return assert.rejects(store.putIfAbsent('a', 'x'), isUnsupported)
      for (const size of [10, 100_000]) {
        const key = `race-${size}`
        const contents = Array.from({ length: racers }, (_, index) => `${index} `.repeat(size))
        const results = await Promise.all(contents.map((content) => store.putIfAbsent(key, content)))
        const winners = results.flatMap((result, index) => (result === null ? [] : [index]))
        assert.equal(winners.length, 1, `winners: ${winners.join(', ')}`)
        assert.equal((await bytesOf(await store.get(key))).toString(), contents[winners[0] ?? -1])
        assert.equal(await store.putIfAbsent(key, 'late'), null)
      }
    },
  },
  {
    name: 'a removed object can be created again',
    async run(store) {
      if (!store.capabilities.putIfAbsent) return
      assert.ok(await store.putIfAbsent('a', 'one'))
      await store.delete('a')
      assert.ok(await store.putIfAbsent('a', 'two'))
    },
  },
  {
    name: 'a writer with an old ETag, or of what is not there, changes nothing',
    async run(store) {
      if (!store.capabilities.putIfMatch) return assert.rejects(store.putIfMatch('a', 'x', 'y'), isUnsupported)
      const first = await store.put('a', 'one')
      const second = await store.putIfMatch('a', 'two', first.etag)
      assert.ok(second !== null)
      assert.equal(await store.putIfMatch('a', 'three', first.etag), null)
      assert.equal((await bytesOf(await store.get('a'))).toString(), 'two')
      assert.equal(await store.putIfMatch('nothing', 'x', second.etag), null)
      assert.equal(await store.stat('nothing'), null)
    },
  },
  {
    name: 'writers that read, count up and write lose no update',
    async run(store) {
      if (!store.capabilities.putIfMatch) return
      const [writers, rounds] = [5, 6]
      await store.put('counter', '0')
      const count = async (): Promise<void> => {
        for (let done = 0; done < rounds;) {
          const read = await store.get('counter')
          const value = Number((await bytesOf(read)).toString())
          if ((await store.putIfMatch('counter', String(value + 1), read?.etag ?? '')) !== null) done += 1
        }
      }
      await Promise.all(Array.from({ length: writers }, count))
      assert.equal((await bytesOf(await store.get('counter'))).toString(), String(writers * rounds))
    },
  },
  {
    name: 'content in parts that loses its race leaves the winner as it is',
    async run(store) {
      if (!store.capabilities.putIfAbsent) return
      const slow = async function* (): AsyncGenerator<Uint8Array> {
        for (let index = 0; index < 36; index += 1) yield Buffer.alloc(256 * 1024, index)
        await store.put('a', 'faster')
      }
      assert.equal(await store.putIfAbsent('a', slow()), null)
      assert.equal((await bytesOf(await store.get('a'))).toString(), 'faster')
    },
  },
]
