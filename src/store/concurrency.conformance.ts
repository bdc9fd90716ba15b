/** Conformance: many writers and readers at once. Shared stores are opened twice, so that groups of commits meet. */
import assert from 'node:assert/strict'
import { randomId, seededRandom } from '../base/index.ts'
import type { StoreCase, StorePlace } from './conformance.ts'
import { follow } from './following.conformance.ts'
import { apply, put } from './record.conformance.ts'
import type { Store } from './store.ts'

/** Two stores on one place where the driver can, else one twice. */
class Pair implements AsyncDisposable {
  readonly stores: readonly [Store, Store]

  private constructor(stores: readonly [Store, Store]) {
    this.stores = stores
  }

  static async open(place: StorePlace): Promise<Pair> {
    const one = await place.open()
    return new Pair([one, one.capabilities.sharedByProcesses ? await place.open() : one])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.stores.map((store) => store.close()))
  }
}

/** Runs `count` workers at once, half of them on each store. */
async function together(stores: Pair['stores'], count: number, work: (store: Store, worker: number) => Promise<void>) {
  await Promise.all(Array.from({ length: count }, (_, worker) => work(stores[worker % 2 === 0 ? 0 : 1], worker)))
}

/** Lets everything else go on: reads may be answered without giving the event loop a turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve))
}

/** Repeats a read-and-write until its race is won, within a bound. */
async function untilWon(attempt: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 10_000; tries += 1) if (await attempt()) return
  assert.fail('a race was lost ten thousand times')
}

async function numberAt(store: Store, key: string): Promise<{ value: number; revision: number }> {
  const entry = await store.get(key)
  return { value: typeof entry?.value === 'number' ? entry.value : 0, revision: entry?.revision ?? 0 }
}

export const concurrencyCases: readonly StoreCase[] = [
  {
    name: 'of many writers that write at one revision, one wins',
    async run(place) {
      await using pair = await Pair.open(place)
      for (let round = 0; round < 5; round += 1) {
        const key = `race/${round}`
        const won: number[] = []
        await together(pair.stores, 40, async (store, worker) => {
          if ((await store.putIf(key, worker, 0)) !== null) won.push(worker)
        })
        assert.equal(won.length, 1)
        assert.equal((await pair.stores[0].get(key))?.value, won[0])
      }
    },
  },
  {
    name: 'counting up by many loses no count',
    async run(place) {
      await using pair = await Pair.open(place)
      await together(pair.stores, 8, async (store) => {
        for (let count = 0; count < 10; count += 1) {
          await untilWon(async () => {
            const { value, revision } = await numberAt(store, 'counter')
            return (await store.putIf('counter', value + 1, revision)) !== null
          })
        }
      })
      assert.deepEqual(await numberAt(pair.stores[0], 'counter'), { value: 80, revision: 80 })
    },
  },
  {
    name: 'the sum of transfers is conserved in every snapshot',
    async run(place) {
      await using pair = await Pair.open(place)
      const accounts = 6
      await apply(pair.stores[0], ...Array.from({ length: accounts }, (_, index) => put(`account/${index}`, 100)))
      const writing = { done: false }
      const auditor = (async () => {
        let snapshots = 0
        for (; !writing.done || snapshots === 0; snapshots += 1) {
          const { entries } = await pair.stores[1].list('account/')
          const sum = entries.reduce((total, { value }) => total + Number(value), 0)
          assert.equal(sum, accounts * 100)
          await turn()
        }
      })()
      await together(pair.stores, 6, async (store, worker) => {
        const random = seededRandom(worker + 1)
        for (let transfer = 0; transfer < 8; transfer += 1) {
          const [from = 0, step = 0, amount = 0] = random.bytes(3)
          const source = `account/${from % accounts}`
          const target = `account/${(from + 1 + (step % (accounts - 1))) % accounts}`
          await untilWon(async () => {
            const [debit, credit] = [await numberAt(store, source), await numberAt(store, target)]
            const result = await store.transact({
              conditions: [
                { kind: 'revision', key: source, revision: debit.revision },
                { kind: 'revision', key: target, revision: credit.revision },
              ],
              operations: [put(source, debit.value - amount), put(target, credit.value + amount)],
            })
            return result.committed
          })
        }
      }).finally(() => (writing.done = true))
      await auditor
    },
  },
  {
    name: 'readers that page along while writers run miss no change and see no gap',
    async run(place) {
      await using pair = await Pair.open(place)
      const [writers, each] = [6, 15]
      const revisions = new Map<string, number>()
      const writing = { done: false }
      const readers = pair.stores.map(async (store, reader) => {
        const seen: { key: string; revision: number }[] = []
        for (let cursor = 0, last = false; !last;) {
          last = writing.done
          const [changes, end] = await follow(store, '', cursor, 3 + reader * 10)
          seen.push(...changes)
          cursor = end
          await turn()
        }
        return seen
      })
      await together(pair.stores, writers, async (store, worker) => {
        for (let count = 0; count < each; count += 1) {
          const key = `${worker}/${count}/${randomId(seededRandom(count + 1))}`
          revisions.set(key, await apply(store, put(key, count), put(`${key}+`, count)))
        }
      }).finally(() => (writing.done = true))
      assert.deepEqual(
        [...revisions.values()].sort((a, b) => a - b),
        Array.from({ length: writers * each }, (_, index) => index + 1),
      )
      for (const seen of await Promise.all(readers)) {
        assert.equal(seen.length, writers * each * 2)
        for (const [key, revision] of revisions) {
          assert.deepEqual(
            seen.filter((change) => change.key === key || change.key === `${key}+`).map((change) => change.revision),
            [revision, revision],
          )
        }
      }
    },
  },
]
