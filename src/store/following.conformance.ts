/** Conformance: following changes by cursor, forgetting deletions, and hints. */
import assert from 'node:assert/strict'
import { sleep, systemClock } from '../base/index.ts'
import type { StoreCase } from './conformance.ts'
import { apply, put, refuses } from './record.conformance.ts'
import type { Change, Store } from './store.ts'

const patienceMs = 20_000

/** All pages from a cursor, and the cursor at their end. */
export async function follow(
  store: Store,
  prefix: string,
  cursor: number,
  limit?: number,
): Promise<[Change[], number]> {
  const changes: Change[] = []
  for (let next = cursor; ;) {
    const page = await store.listSince(prefix, next, limit)
    assert.ok(page.changes.every((change) => change.revision > next && change.revision <= page.cursor))
    assert.ok(!page.more || page.cursor > next, 'a page that has more must move on')
    changes.push(...page.changes)
    next = page.cursor
    if (!page.more) return [changes, next]
  }
}

/** Waits until it holds, within a bound that only a broken store reaches. */
async function eventually(what: string, holds: () => boolean): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + patienceMs
  while (!holds()) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, `still not: ${what}`)
    await sleep(systemClock, 5)
  }
}

export const followingCases: readonly StoreCase[] = [
  {
    name: 'listSince answers each key once, in its latest state, in revision order',
    async run(place) {
      await using store = await place.open()
      await apply(store, put('b', 1), put('a', 1))
      await apply(store, put('c', 1), put('x/1', 1))
      await apply(store, put('b', 2), { kind: 'delete', key: 'c' })
      assert.deepEqual(await store.listSince('', 0), {
        changes: [
          { key: 'a', value: 1, deleted: false, revision: 1 },
          { key: 'x/1', value: 1, deleted: false, revision: 2 },
          { key: 'b', value: 2, deleted: false, revision: 3 },
          { key: 'c', value: null, deleted: true, revision: 3 },
        ],
        cursor: 3,
        more: false,
      })
      assert.deepEqual((await store.listSince('', 2)).changes.length, 2)
      const none = { changes: [], cursor: 3, more: false }
      assert.deepEqual(await store.listSince('', 3), none)
      assert.deepEqual(await store.listSince('y', 0), none, 'the cursor moves on although nothing is under the prefix')
    },
  },
  {
    name: 'pages end between revisions, never inside one',
    async run(place) {
      await using store = await place.open()
      for (const size of [1, 5, 2, 4]) {
        await apply(store, ...Array.from({ length: size }, (_, index) => put(`${size}/${index}`, index)))
      }
      const pages = async (limit: number): Promise<[number, number, boolean][]> => {
        const found: [number, number, boolean][] = []
        for (let cursor = 0, more = true; more;) {
          const page = await store.listSince('', cursor, limit)
          found.push([page.changes.length, page.cursor, page.more])
          ;({ cursor, more } = page)
        }
        return found
      }
      assert.deepEqual(await pages(2), [
        [6, 2, true],
        [2, 3, true],
        [4, 4, false],
      ])
      assert.deepEqual(await pages(8), [
        [8, 3, true],
        [4, 4, false],
      ])
      assert.deepEqual(await pages(12), [[12, 4, false]])
    },
  },
  {
    name: 'a page of large records ends early',
    async run(place) {
      await using store = await place.open()
      const text = 'x'.repeat(1_000_000)
      for (let index = 0; index < 10; index += 1) await apply(store, put(`large/${index}`, text))
      const page = await store.listSince('', 0)
      assert.deepEqual([page.changes.length, page.cursor, page.more], [9, 9, true])
      const [changes] = await follow(store, '', 0)
      assert.equal(changes.length, 10)
    },
  },
  {
    name: 'a snapshot that is too large is refused',
    async run(place) {
      await using store = await place.open()
      const text = 'x'.repeat(1_000_000)
      for (let index = 0; index < 68; index += 4) {
        await apply(store, ...[0, 1, 2, 3].map((part) => put(`large/${index + part}`, text)))
      }
      await refuses('store.too-large', () => store.list(''))
      assert.equal((await store.list('large/1')).entries.length, 11)
    },
  },
  {
    name: 'old deletions are forgotten, and cursors from before are refused',
    tombstonesMax: 10,
    async run(place) {
      await using store = await place.open()
      const keys = Array.from({ length: 11 }, (_, index) => `k/${index}`)
      await apply(store, ...keys.map((key) => put(key, 1)), put('stays', 1))
      for (const key of keys.slice(0, 10)) await apply(store, { kind: 'delete', key })
      assert.equal((await store.listSince('', 1)).changes.length, 10)
      await apply(store, { kind: 'delete', key: 'k/10' })
      await refuses('store.cursor-too-old', () => store.listSince('', 0))
      await refuses('store.cursor-too-old', () => store.listSince('', 2))
      const [changes] = await follow(store, '', 3)
      assert.deepEqual(
        changes.map(({ key, deleted }) => [key, deleted]),
        keys.slice(2).map((key) => [key, true]),
      )
      const { entries, revision } = await store.list('')
      assert.deepEqual([entries.map(({ key }) => key), revision], [['stays'], 12])
      assert.equal(await store.putIf('k/0', 2, 0), 13)
    },
  },
  {
    name: 'a cursor that the store has never given out is refused',
    async run(place) {
      await using store = await place.open()
      await apply(store, put('a', 1))
      await refuses('store.cursor-ahead', () => store.listSince('', 2))
    },
  },
  {
    name: 'a watch is hinted at changes under its prefix until it is disposed of',
    async run(place) {
      await using store = await place.open()
      const other = store.capabilities.sharedByProcesses ? await place.open() : store
      const hints = { near: 0, far: 0 }
      using _near = store.watch('near/', () => (hints.near += 1))
      const far = store.watch('far/', () => (hints.far += 1))
      await apply(other, put('near/1', 1))
      await eventually('a hint', () => hints.near > 0)
      // Hints may be early or doubled, so the next change has to be seen by the cursor; the hint only says when to look.
      const before = hints.near
      await apply(other, { kind: 'delete', key: 'near/1' })
      await eventually('a hint at a deletion', () => hints.near > before)
      assert.equal((await store.listSince('near/', 1)).changes[0]?.deleted, true)
      far[Symbol.dispose]()
      const disposed = hints.far
      const seen = hints.near
      await apply(other, put('far/1', 1), put('near/2', 1))
      await eventually('a hint at the other', () => hints.near > seen)
      assert.equal(hints.far, disposed)
      if (other !== store) await other.close()
    },
  },
]
