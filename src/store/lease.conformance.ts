/** Conformance: leases, their epochs, and fencing. */
import assert from 'node:assert/strict'
import type { StoreCase } from './conformance.ts'
import { put } from './record.conformance.ts'
import type { Lease, Store, TransactionResult } from './store.ts'

const longMs = 600_000
const shortMs = 40

/** A write that only the holder of the lease may do. */
function guarded(store: Store, { name, epoch }: Lease): Promise<TransactionResult> {
  return store.transact({ conditions: [{ kind: 'lease', name, epoch }], operations: [put('guarded', epoch)] })
}

/** Takes a lease that is free. */
async function take(store: Store, holder: string, ttlMs: number): Promise<Lease> {
  const lease = await store.acquireLease('leader', holder, ttlMs)
  assert.ok(lease !== null, `${holder} could not take a lease that is free`)
  assert.equal(lease.holder, holder)
  return lease
}

export const leaseCases: readonly StoreCase[] = [
  {
    name: 'a lease has one holder, who renews it at the same epoch',
    async run(place) {
      await using store = await place.open()
      const first = await take(store, 'one', longMs)
      assert.equal(await store.acquireLease('leader', 'two', longMs), null)
      const renewed = await take(store, 'one', longMs * 2)
      assert.equal(renewed.epoch, first.epoch)
      assert.ok(renewed.expiresAtMs > first.expiresAtMs)
      assert.ok((await store.acquireLease('another', 'two', longMs)) !== null, 'another lease is free')
    },
  },
  {
    name: 'a lease that was given back is taken at a higher epoch',
    async run(place) {
      await using store = await place.open()
      const first = await take(store, 'one', longMs)
      await store.releaseLease('leader', first.epoch + 1)
      assert.equal(await store.acquireLease('leader', 'two', longMs), null, 'a wrong epoch gives nothing back')
      await store.releaseLease('leader', first.epoch)
      const second = await take(store, 'one', longMs)
      assert.ok(second.epoch > first.epoch, 'also by the same holder')
      await store.releaseLease('leader', first.epoch)
      assert.ok((await guarded(store, second)).committed, 'an old epoch gives nothing back')
    },
  },
  {
    name: 'a lease that has expired is taken at a higher epoch',
    async run(place) {
      await using store = await place.open()
      const first = await take(store, 'one', shortMs)
      await place.pass(shortMs)
      const second = await take(store, 'two', shortMs)
      assert.ok(second.epoch > first.epoch)
      await place.pass(shortMs)
      const third = await take(store, 'two', longMs)
      assert.ok(third.epoch > second.epoch, 'also by the same holder')
    },
  },
  {
    name: 'a guarded transaction is refused to an expired, an older and a released lease',
    async run(place) {
      await using store = await place.open()
      const old = await take(store, 'one', shortMs)
      await place.pass(shortMs)
      assert.ok(!(await guarded(store, old)).committed, 'expired, although nobody else has taken it')
      const held = await take(store, 'two', longMs)
      assert.ok((await guarded(store, held)).committed)
      assert.ok(!(await guarded(store, old)).committed, 'fenced by the newer epoch')
      assert.equal((await store.get('guarded'))?.value, held.epoch)
      await store.releaseLease('leader', held.epoch)
      assert.ok(!(await guarded(store, held)).committed)
    },
  },
  {
    name: 'one of many takes the lease, and what it guards is never written by two at one epoch',
    async run(place) {
      await using store = await place.open()
      const holders = Array.from({ length: 20 }, (_, index) => `holder-${index}`)
      const epochs: number[] = []
      for (let round = 0; round < 5; round += 1) {
        const taken = await Promise.all(holders.map((holder) => store.acquireLease('leader', holder, longMs)))
        const won = taken.filter((lease) => lease !== null)
        assert.equal(won.length, 1)
        for (const lease of won) {
          epochs.push(lease.epoch)
          await store.releaseLease('leader', lease.epoch)
        }
      }
      assert.deepEqual(
        epochs,
        epochs.toSorted((a, b) => a - b),
      )
      assert.equal(new Set(epochs).size, epochs.length)
    },
  },
]
