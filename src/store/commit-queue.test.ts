/** Group commit: who shares a group, what is refused, and that a failure reaches everybody it concerns and nobody else. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { CommitQueue } from './commit-queue.ts'
import type { Group } from './commit-queue.ts'
import type { Loaded } from './draft.ts'
import { refuses } from './record.conformance.ts'
import { leasesMax, transactionBytesMax } from './store.ts'

const reads = { keys: [], leases: [] }

function emptyStore(leasesHeld = 0): Loaded {
  const head = { revision: 0, horizon: 0, tombstones: 0, epoch: 0 }
  return { head, nowMs: 1000, records: new Map(), leases: new Map(), leasesHeld }
}

function commitOf(key: string) {
  return { conditions: [{ kind: 'revision', key, revision: 0 } as const], writes: [{ key, text: '1' }], bytes: 2 }
}

suite('commit queue', () => {
  test('one turn is one group; each member sees what the ones before it left', async () => {
    let groups = 0
    const queue = new CommitQueue('test', (group) => {
      groups += 1
      group.decide(emptyStore())
    })
    const commit = commitOf('a')
    const results = await Promise.all([1, 2, 3].map(() => queue.submit(reads, 2, (draft) => draft.transact(commit))))
    assert.deepEqual(results, [
      { committed: true, revision: 1 },
      { committed: false, failed: commit.conditions },
      { committed: false, failed: commit.conditions },
    ])
    assert.equal(groups, 1)
  })

  test('what arrives during a commit goes into the next, in order', async () => {
    const sizes: number[] = []
    const order: number[] = []
    const gates: (() => void)[] = []
    const queue = new CommitQueue('test', async (group: Group) => {
      const before = order.length
      group.decide(emptyStore())
      sizes.push(order.length - before)
      await new Promise<void>((resolve) => void gates.push(resolve))
    })
    const submit = (index: number): Promise<unknown> => queue.submit(reads, 1, () => order.push(index))
    const first = submit(0)
    while (gates.length === 0) await new Promise((resolve) => void setImmediate(resolve))
    const rest = Promise.all([submit(1), submit(2)])
    gates[0]?.()
    await first
    while (gates.length === 1) await new Promise((resolve) => void setImmediate(resolve))
    gates[1]?.()
    await rest
    await queue.idle()
    assert.deepEqual(
      [sizes, order],
      [
        [1, 2],
        [0, 1, 2],
      ],
    )
  })

  test('a group that fails fails all its members; one that decides to throw fails alone', async () => {
    let full = true
    const queue = new CommitQueue('test', (group) => {
      if (full) throw new Error('disk full')
      group.decide(emptyStore(leasesMax))
    })
    const failed = await Promise.allSettled([1, 2].map(() => queue.submit(reads, 1, () => 1)))
    assert.deepEqual(
      failed.map(({ status }) => status),
      ['rejected', 'rejected'],
    )
    full = false
    const fine = queue.submit(reads, 1, (draft) => draft.transact(commitOf('a')))
    await refuses('store.too-large', () => queue.submit(reads, 1, (draft) => draft.acquireLease('l', 'me', 1000)))
    assert.ok((await fine).committed)
  })

  test('too many, and too large, are refused at once; what was accepted is done', async () => {
    let done = 0
    let groups = 0
    const queue = new CommitQueue('test', (group) => {
      groups += 1
      group.decide(emptyStore())
    })
    const many = Array.from({ length: 10_000 }, () => queue.submit(reads, 1, () => (done += 1)))
    await refuses('store.overloaded', () => queue.submit(reads, 1, () => 1))
    await Promise.all(many)
    assert.equal(done, 10_000)
    assert.equal(groups, Math.ceil(10_000 / 512))
    const large = [1, 2, 3, 4].map(() => queue.submit(reads, transactionBytesMax, () => 1))
    await refuses('store.overloaded', () => queue.submit(reads, 1, () => 1))
    groups = 0
    await Promise.all(large)
    assert.equal(groups, 4)
  })
})
