/**
 * Records in memory, for tests and simulation: nothing survives the process. It is also the model that the conformance
 * suite holds the other drivers against, so it does each thing at once and in the plainest way, and shares none of their
 * group commit.
 */
import { systemClock } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import { tombstonesKept } from '../draft.ts'
import { storeOn } from '../driver.ts'
import type { Row, StoreDriver } from '../driver.ts'
import { checkCursor } from '../errors.ts'
import { Hints } from '../hints.ts'
import { leaseClock } from '../lease-clock.ts'
import { checkSize } from '../limits.ts'
import { pageOf, snapshotOf } from '../page.ts'
import { leasesMax, tombstonesMax } from '../store.ts'
import type { Condition, Lease, Store } from '../store.ts'

export interface MemoryStoreOptions {
  /** What leases expire by. Defaults to the machine's clock. */
  readonly clock?: Clock
  /** Deletions to remember; defaults to `tombstonesMax`. */
  readonly tombstonesMax?: number
}

/** A new, empty store in memory. */
export function openMemoryStore(options: MemoryStoreOptions = {}): Store {
  const nowMs = leaseClock(options.clock ?? systemClock)
  const hints = new Hints()
  const records = new Map<string, Row>()
  const leases = new Map<string, Lease>()
  let head = { revision: 0, horizon: 0, tombstones: 0, epoch: 0 }

  const held = (name: string): Lease | undefined => {
    const lease = leases.get(name)
    return lease !== undefined && lease.expiresAtMs > nowMs() ? lease : undefined
  }
  const stands = (key: string): Row | undefined => {
    const row = records.get(key)
    return row?.text === null ? undefined : row
  }
  const holds = (condition: Condition): boolean =>
    condition.kind === 'lease'
      ? held(condition.name)?.epoch === condition.epoch
      : (stands(condition.key)?.revision ?? 0) === condition.revision
  const forgetDeletions = (max: number): void => {
    const tombstones = [...records.values()].filter((row) => row.text === null)
    if (tombstones.length <= max) return
    const newestFirst = tombstones.sort((a, b) => b.revision - a.revision)
    const horizon = newestFirst[tombstonesKept(max)]?.revision ?? 0
    for (const row of tombstones) if (row.revision <= horizon) records.delete(row.key)
    head = { ...head, horizon }
  }
  const byKey = (a: Row, b: Row): number => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key))
  const under = (prefix: string): readonly Row[] =>
    [...records.values()].filter((row) => row.key.startsWith(prefix)).sort(byKey)

  const driver: StoreDriver = {
    name: 'memory',
    capabilities: { durability: 'memory', sharedByProcesses: false },
    async get(key) {
      return stands(key) ?? null
    },
    async list(prefix) {
      const rows = under(prefix).filter((row) => row.text !== null)
      return { rows: snapshotOf(rows, prefix), revision: head.revision }
    },
    async listSince(prefix, cursor, limit) {
      checkCursor(cursor, head)
      const rows = under(prefix).filter((row) => row.revision > cursor)
      return pageOf(
        rows.sort((a, b) => a.revision - b.revision || byKey(a, b)),
        head,
        limit,
      )
    },
    async transact({ conditions, writes }) {
      const failed = conditions.filter((condition) => !holds(condition))
      if (failed.length > 0) return { committed: false, failed }
      if (writes.length === 0) return { committed: true, revision: head.revision }
      head = { ...head, revision: head.revision + 1 }
      for (const { key, text } of writes) {
        if (text !== null || stands(key) !== undefined) records.set(key, { key, text, revision: head.revision })
      }
      if (writes.some(({ text }) => text === null)) forgetDeletions(options.tombstonesMax ?? tombstonesMax)
      hints.changed(writes.map(({ key }) => key))
      return { committed: true, revision: head.revision }
    },
    async acquireLease(name, holder, ttlMs) {
      const current = held(name)
      if (current !== undefined && current.holder !== holder) return null
      for (const other of leases.keys()) if (held(other) === undefined) leases.delete(other)
      if (current === undefined) {
        checkSize('the store', 'leases held', leases.size + 1, leasesMax)
        head = { ...head, epoch: head.epoch + 1 }
      }
      const lease = { name, holder, epoch: current?.epoch ?? head.epoch, expiresAtMs: nowMs() + ttlMs }
      leases.set(name, lease)
      return lease
    },
    async releaseLease(name, epoch) {
      if (held(name)?.epoch === epoch) leases.delete(name)
    },
    async scrub() {},
    async close() {
      records.clear()
      leases.clear()
    },
  }
  return storeOn(driver, hints)
}
