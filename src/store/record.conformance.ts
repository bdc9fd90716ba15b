/** Conformance: single records, transactions, limits, and what is there after opening again. */
import assert from 'node:assert/strict'
import { isSteadError } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import type { StoreCase } from './conformance.ts'
import {
  conditionsMax,
  keyBytesMax,
  leaseTtlMsMax,
  operationsMax,
  pageMax,
  transactionBytesMax,
  valueBytesMax,
} from './store.ts'
import type { Operation, Store } from './store.ts'

/** Short for an operation that puts. */
export function put(key: string, value: Json): Operation {
  return { kind: 'put', key, value }
}

/** Applies operations without conditions; answers the revision. */
export async function apply(store: Store, ...operations: readonly Operation[]): Promise<number> {
  const result = await store.transact({ conditions: [], operations })
  assert.ok(result.committed)
  return result.revision
}

/** Fails unless the call throws the store's error of this code. */
export async function refuses(code: string, call: () => unknown): Promise<void> {
  await assert.rejects(
    async () => call(),
    (error) => {
      assert.ok(isSteadError(error), `not a foreseen error: ${String(error)}`)
      assert.equal(error.code, code, error.message)
      assert.ok((error.hint ?? '') !== '', `${code} has no hint`)
      return true
    },
  )
}

const odd: readonly Json[] = [
  null,
  false,
  0,
  -1.5e-300,
  Number.MAX_SAFE_INTEGER,
  '',
  'null',
  '"quoted" \\ \n\u0000 ü 𝄞 \uD800',
  [],
  [null, [[]]],
  {},
  { b: 1, a: { '': [true] } },
  JSON.parse('{"__proto__": {"a": 1}}'),
]

export const recordCases: readonly StoreCase[] = [
  {
    name: 'a record is written when it stands at the revision, and only then',
    async run(place) {
      await using store = await place.open()
      assert.equal(await store.get('a'), null)
      assert.equal(await store.putIf('a', 1, 0), 1)
      assert.equal(await store.putIf('a', 2, 0), null)
      assert.equal(await store.putIf('a', 2, 7), null)
      assert.equal(await store.putIf('a', 2, 1), 2)
      assert.deepEqual(await store.get('a'), { key: 'a', value: 2, revision: 2 })
    },
  },
  {
    name: 'values come back as they went in, and stay',
    async run(place) {
      await using store = await place.open()
      for (const [index, value] of odd.entries()) {
        await store.putIf(`odd/${index}`, value, 0)
        assert.deepEqual((await store.get(`odd/${index}`))?.value, value)
      }
      const mine = { list: [1] }
      const writing = store.putIf('mine', mine, 0)
      mine.list.push(2)
      await writing
      assert.deepEqual((await store.get('mine'))?.value, { list: [1] })
    },
  },
  {
    name: 'a transaction applies all or nothing and names the conditions that failed',
    async run(place) {
      await using store = await place.open()
      await apply(store, put('a', 1), put('b', 1))
      const right = { kind: 'revision', key: 'a', revision: 1 } as const
      const wrong = { kind: 'revision', key: 'b', revision: 0 } as const
      const fenced = { kind: 'lease', name: 'none', epoch: 1 } as const
      const operations = [put('a', 2), put('c', 2)]
      const failed = await store.transact({ conditions: [right, wrong, fenced], operations })
      assert.deepEqual(failed, { committed: false, failed: [wrong, fenced] })
      assert.deepEqual(await store.list(''), {
        entries: [
          { key: 'a', value: 1, revision: 1 },
          { key: 'b', value: 1, revision: 1 },
        ],
        revision: 1,
      })
      assert.deepEqual(await store.transact({ conditions: [right], operations }), { committed: true, revision: 2 })
      assert.equal((await store.get('c'))?.revision, 2)
    },
  },
  {
    name: 'operations apply in order, and a check alone takes no revision',
    async run(place) {
      await using store = await place.open()
      await apply(store, put('a', 1), put('a', 2), put('b', 1), { kind: 'delete', key: 'b' })
      assert.equal((await store.get('a'))?.value, 2)
      assert.equal(await store.get('b'), null)
      assert.equal(await apply(store, { kind: 'delete', key: 'never' }), 2)
      assert.equal(await apply(store), 2)
      const check = { kind: 'revision', key: 'b', revision: 0 } as const
      assert.deepEqual(await store.transact({ conditions: [check], operations: [] }), { committed: true, revision: 2 })
      assert.equal(await store.putIf('b', 3, 0), 3, 'a deleted key can be made again')
    },
  },
  {
    name: 'list answers what is under a prefix, in the order of code points',
    async run(place) {
      await using store = await place.open()
      const keys = ['a', 'a%b', 'a/', 'a/\uFFFD', 'a/\u{1F600}', 'a_b', 'b', 'Ä']
      await apply(store, ...keys.toReversed().map((key) => put(key, key)))
      const listed = async (prefix: string): Promise<string[]> =>
        (await store.list(prefix)).entries.map(({ key }) => key)
      assert.deepEqual(await listed(''), keys)
      assert.deepEqual(await listed('a/'), ['a/', 'a/\uFFFD', 'a/\u{1F600}'])
      assert.deepEqual(await listed('a%'), ['a%b'])
      assert.deepEqual(await listed('a_'), ['a_b'])
      assert.deepEqual(await store.list('zz'), { entries: [], revision: 1 })
    },
  },
  {
    name: 'what is beyond a limit is refused, what is at it is taken',
    async run(place) {
      await using store = await place.open()
      const key = 'ü'.repeat(keyBytesMax / 2)
      const text = 'x'.repeat(valueBytesMax - 2)
      assert.equal(await store.putIf(key, text, 0), 1)
      assert.equal((await store.get(key))?.value, text)
      const many = (count: number): Operation[] => Array.from({ length: count }, (_, index) => put(`many/${index}`, 0))
      assert.equal(await apply(store, ...many(operationsMax)), 2)
      await refuses('store.too-large', () => store.putIf(`${key}x`, 0, 0))
      await refuses('store.too-large', () => store.putIf('a', `${text}x`, 0))
      await refuses('store.too-large', () => apply(store, ...many(operationsMax + 1)))
      const conditions = Array.from(
        { length: conditionsMax + 1 },
        () => ({ kind: 'revision', key: 'a', revision: 0 }) as const,
      )
      await refuses('store.too-large', () => store.transact({ conditions, operations: [] }))
      const big = many(transactionBytesMax / valueBytesMax).map((operation) => put(operation.key, text))
      await refuses('store.too-large', () => apply(store, ...big, put('one/more', text)))
      assert.equal((await store.list('')).revision, 2)
    },
  },
  {
    name: 'what is no key, no JSON or no number is refused',
    async run(place) {
      await using store = await place.open()
      for (const key of ['', 'a\u0000', 'a\n', '\uD800', 'a\u{10FFFF}']) {
        await refuses('store.bad-input', () => store.putIf(key, 0, 0))
      }
      let deep: Json = 0
      for (let depth = 0; depth < 100_000; depth += 1) deep = [deep]
      await refuses('store.bad-input', () => store.putIf('a', Number.NaN, 0))
      await refuses('store.bad-input', () => store.putIf('a', deep, 0))
      await refuses('store.bad-input', () => store.putIf('a', 0, -1))
      await refuses('store.bad-input', () => store.listSince('', 0.5))
      await refuses('store.bad-input', () => store.listSince('', 0, pageMax + 1))
      await refuses('store.bad-input', () => store.acquireLease('l', 'me', 0))
      await refuses('store.bad-input', () => store.acquireLease('l', 'me', leaseTtlMsMax + 1))
      assert.deepEqual(await store.list(''), { entries: [], revision: 0 })
    },
  },
  {
    name: 'scrubbing changes nothing that can be read',
    async run(place) {
      await using store = await place.open()
      await apply(store, put('a', 'first'), put('b', 1))
      await apply(store, put('a', 'second'), { kind: 'delete', key: 'b' })
      const before = [await store.list(''), await store.listSince('', 0)]
      await store.scrub()
      assert.deepEqual([await store.list(''), await store.listSince('', 0)], before)
      assert.equal(await store.putIf('c', 1, 0), 3)
    },
  },
  {
    name: 'closing waits for what is under way, and then everything is refused',
    async run(place) {
      const store = await place.open()
      const writing = store.putIf('a', 1, 0)
      const closing = store.close()
      assert.equal(await writing, 1)
      await closing
      await store.close()
      await refuses('store.closed', () => store.get('a'))
      await refuses('store.closed', () => store.putIf('a', 1, 0))
      await refuses('store.closed', () => store.watch('', () => {}))
    },
  },
  {
    name: 'what was there is there after opening again',
    async run(place) {
      const first = await place.open()
      await apply(first, put('a', { deep: [1] }), put('b', 1))
      await apply(first, { kind: 'delete', key: 'b' })
      const lease = await first.acquireLease('l', 'me', 60_000)
      await first.close()
      await using again = await place.open()
      assert.deepEqual(await again.get('a'), { key: 'a', value: { deep: [1] }, revision: 1 })
      assert.deepEqual((await again.listSince('', 1)).changes, [{ key: 'b', value: null, deleted: true, revision: 2 }])
      assert.equal(await again.acquireLease('l', 'other', 60_000), null)
      assert.equal((await again.acquireLease('l', 'me', 60_000))?.epoch, lease?.epoch)
      assert.equal(await again.putIf('c', 1, 0), 3)
    },
  },
]
