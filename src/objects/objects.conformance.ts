/** Objects as they are written, read, replaced and removed. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { isSteadError } from '../base/index.ts'
import type { ObjectsCase } from './conformance.ts'
import { keyBytesMax } from './store.ts'
import type { ObjectRead, ObjectStore } from './store.ts'

/** The bytes of an object. */
export async function bytesOf(read: ObjectRead | null): Promise<Buffer> {
  assert.ok(read !== null, 'the object is there')
  const pieces: Uint8Array[] = []
  for await (const piece of read.body) pieces.push(piece)
  return Buffer.concat(pieces)
}

async function textOf(store: ObjectStore, key: string): Promise<string> {
  return (await bytesOf(await store.get(key))).toString('utf8')
}

/** Keys that something on the way is likely to rewrite. */
const awkwardKeys = [
  'plain',
  'with space',
  'plus+and%percent%2F',
  'quote"\'&<>',
  'ünïcödé/日本語/😀',
  'q?uery=1&b#hash',
  'line\nbreak\ttab',
  '~!@$^*()_-=[]{}|;:,.',
]

/** Keys that a file system would take for something else. */
const pathKeys = ['../up/../../.', './here', '/leading', 'trailing/', 'double//slash', 'a', 'a/b', 'a/b/c']

async function keepsKeys(store: ObjectStore, keys: readonly string[]): Promise<void> {
  for (const key of keys) await store.put(key, `content of ${key}`)
  for (const key of keys) assert.equal(await textOf(store, key), `content of ${key}`, JSON.stringify(key))
  const { objects } = await store.list()
  assert.deepEqual(objects.map(({ key }) => key).toSorted(), keys.toSorted())
  for (const key of keys) await store.delete(key)
  assert.deepEqual((await store.list()).objects, [])
}

/** Bytes that repeat nowhere near: `pieces` of 256 KiB, each different. */
async function* streamOf(pieces: number): AsyncGenerator<Uint8Array> {
  for (let index = 0; index < pieces; index += 1) {
    yield createHash('shake256', { outputLength: 256 * 1024 })
      .update(String(index))
      .digest()
  }
}

async function hashOf(source: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of source) hash.update(piece)
  return hash.digest('hex')
}

export const objectCases: readonly ObjectsCase[] = [
  {
    name: 'what is written is read, with what describes it',
    async run(store) {
      const written = await store.put('a', 'hello', { contentType: 'text/plain', metadata: { colour: 'blue' } })
      const read = await store.get('a')
      assert.equal((await bytesOf(read)).toString(), 'hello')
      const stat = await store.stat('a')
      for (const seen of [read, stat]) {
        assert.equal(seen?.bytes, 5)
        assert.equal(seen?.etag, written.etag)
        assert.equal(seen?.contentType, 'text/plain')
        assert.deepEqual(seen?.metadata, { colour: 'blue' })
        assert.ok(Math.abs((seen?.modifiedMs ?? 0) - written.modifiedMs) < 3_600_000)
      }
    },
  },
  {
    name: 'what is not there is null, and removing it is no error',
    async run(store) {
      assert.equal(await store.get('nothing'), null)
      assert.equal(await store.stat('nothing'), null)
      await store.delete('nothing')
    },
  },
  {
    name: 'an object is replaced and removed whole',
    async run(store) {
      const first = await store.put('a', 'first, and longer')
      const second = await store.put('a', 'second')
      assert.notEqual(first.etag, second.etag)
      assert.equal(await textOf(store, 'a'), 'second')
      await store.delete('a')
      assert.equal(await store.get('a'), null)
    },
  },
  {
    name: 'an empty object is an object',
    async run(store) {
      await store.put('empty', '')
      assert.equal((await store.stat('empty'))?.bytes, 0)
      assert.equal(await textOf(store, 'empty'), '')
    },
  },
  {
    name: 'a range is read, also one that goes past the end',
    async run(store) {
      await store.put('digits', '0123456789')
      const range = async (start: number, end?: number): Promise<string> =>
        (await bytesOf(await store.get('digits', end === undefined ? { start } : { start, end }))).toString()
      assert.equal(await range(2, 5), '234')
      assert.equal(await range(7), '789')
      assert.equal(await range(8, 100), '89')
      assert.equal(await range(10, 20), '')
      assert.equal((await store.get('digits', { start: 0, end: 1 }))?.bytes, 10, 'the size is that of the object')
    },
  },
  {
    name: 'keys are kept as they are',
    run: (store) => keepsKeys(store, awkwardKeys),
  },
  {
    name: 'a key of 1,024 bytes is kept as it is',
    run: (store) => keepsKeys(store, ['x'.repeat(keyBytesMax)]),
  },
  {
    name: 'keys that look like paths are kept as they are',
    run: (store) => keepsKeys(store, pathKeys),
  },
  {
    name: 'content that comes as a stream is the same when it is read, also where it is sent in parts',
    async run(store) {
      for (const pieces of [1, 33, 70]) {
        const written = await store.put('stream', streamOf(pieces))
        assert.equal(written.bytes, pieces * 256 * 1024)
        const read = await store.get('stream')
        assert.equal(read?.etag, written.etag)
        assert.ok(read !== null)
        assert.equal(await hashOf(read.body), await hashOf(streamOf(pieces)))
      }
    },
  },
  {
    name: 'content that breaks off changes nothing',
    async run(store) {
      await store.put('a', 'old')
      for (const pieces of [1, 40]) {
        const broken = async function* (): AsyncGenerator<Uint8Array> {
          yield* streamOf(pieces)
          throw new Error('the source broke')
        }
        await assert.rejects(store.put('a', broken()), /the source broke/)
      }
      assert.equal(await textOf(store, 'a'), 'old')
      assert.equal((await store.list()).objects.length, 1)
    },
  },
  {
    name: 'many writers of one key leave one of what they wrote, whole',
    async run(store) {
      const contents = Array.from({ length: 12 }, (_, index) => String(index).repeat(40_000))
      await Promise.all(contents.map((content) => store.put('contested', content)))
      assert.ok(contents.includes(await textOf(store, 'contested')))
    },
  },
  {
    name: 'what cannot be is refused before anything happens',
    async run(store) {
      const bad = (error: unknown): boolean => isSteadError(error) && error.code === 'objects.bad-input'
      await assert.rejects(store.put('', 'x'), bad)
      await assert.rejects(store.put('x'.repeat(keyBytesMax + 1), 'x'), bad)
      await assert.rejects(store.put('nul\0', 'x'), bad)
      await assert.rejects(store.put('a', 'x', { metadata: { 'Not-Lower': 'x' } }), bad)
      await assert.rejects(store.put('a', 'x', { metadata: { long: 'x'.repeat(3000) } }), bad)
      await assert.rejects(store.get('a', { start: 5, end: 5 }), bad)
      await assert.rejects(store.list({ limit: 0 }), bad)
      assert.deepEqual((await store.list()).objects, [])
    },
  },
]
