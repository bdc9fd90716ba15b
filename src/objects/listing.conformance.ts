/** Listings: order, pages, groups. */
import assert from 'node:assert/strict'
import type { ObjectsCase } from './conformance.ts'
import type { ListOptions, ObjectStore } from './store.ts'

async function pagesOf(
  store: ObjectStore,
  options: ListOptions,
): Promise<{ keys: string[]; prefixes: string[]; pages: number }> {
  const found = { keys: [] as string[], prefixes: [] as string[], pages: 0 }
  let after: string | undefined
  do {
    const page = await store.list({ ...options, ...(after === undefined ? {} : { after }) })
    found.keys.push(...page.objects.map(({ key }) => key))
    found.prefixes.push(...page.prefixes)
    found.pages += 1
    after = page.next
    assert.ok(found.pages < 1000, 'a listing ends')
  } while (after !== undefined)
  return found
}

function inOrder(keys: readonly string[]): string[] {
  return keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

const tree = ['a', 'a/', 'a/1', 'a/2/x', 'a/2/y', 'a0', 'b/1', 'b/2', 'c', '\ue000', '😀', 'Z', 'é']

export const listingCases: readonly ObjectsCase[] = [
  {
    name: 'keys come in the order of their bytes, each once, whatever the page',
    async run(store) {
      await Promise.all(tree.map((key) => store.put(key, key)))
      for (const limit of [1, 2, 3, 5, 12, 13, 14, 1000]) {
        const { keys, pages } = await pagesOf(store, { limit })
        assert.deepEqual(keys, inOrder(tree), `pages of ${limit}`)
        assert.ok(pages >= Math.ceil(tree.length / limit))
      }
    },
  },
  {
    name: 'a listing shows size, ETag and time',
    async run(store) {
      const written = await store.put('a', 'four')
      const [listed] = (await store.list()).objects
      assert.equal(listed?.bytes, 4)
      assert.equal(listed?.etag, written.etag)
      assert.ok(Math.abs((listed?.modifiedMs ?? 0) - written.modifiedMs) < 3_600_000)
    },
  },
  {
    name: 'a prefix narrows, a delimiter groups, in pages of any size',
    async run(store) {
      await Promise.all(tree.map((key) => store.put(key, key)))
      for (const limit of [1, 2, 3, 1000]) {
        const top = await pagesOf(store, { delimiter: '/', limit })
        assert.deepEqual(top.keys, inOrder(['a', 'a0', 'c', '\ue000', '😀', 'Z', 'é']), `pages of ${limit}`)
        assert.deepEqual(top.prefixes, ['a/', 'b/'], `pages of ${limit}`)
        const inner = await pagesOf(store, { prefix: 'a/', delimiter: '/', limit })
        assert.deepEqual(inner.keys, ['a/', 'a/1'])
        assert.deepEqual(inner.prefixes, ['a/2/'])
        assert.deepEqual((await pagesOf(store, { prefix: 'a', limit })).keys, [
          'a',
          'a/',
          'a/1',
          'a/2/x',
          'a/2/y',
          'a0',
        ])
      }
      assert.deepEqual((await store.list({ prefix: 'nothing' })).objects, [])
    },
  },
  {
    name: 'a thousand keys and some are listed whole',
    async run(store) {
      const keys = Array.from({ length: 1010 }, (_, index) => `many/${String(index).padStart(5, '0')}`)
      for (let at = 0; at < keys.length; at += 101) {
        await Promise.all(keys.slice(at, at + 101).map((key) => store.put(key, 'x')))
      }
      const { keys: listed, pages } = await pagesOf(store, {})
      assert.deepEqual(listed, keys)
      assert.ok(pages >= 2)
    },
  },
]
