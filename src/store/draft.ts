/**
 * The pure core of the durable drivers: what a group of commits does to a state, decided in memory before anything is
 * written. Each commit in a group sees what the ones before it left, so a group gives the same answers as its commits
 * one by one. A driver loads what the group reads, lets it draft, and writes the draft in one database transaction.
 */
import type { Commit, Row } from './driver.ts'
import { checkSize } from './limits.ts'
import { leasesMax } from './store.ts'
import type { Condition, Lease, TransactionResult } from './store.ts'

/** The numbers that every commit moves: kept in one row, which is also what writers queue up on. */
export interface Head {
  /** The newest revision; 0 in a new store. */
  readonly revision: number
  /** Deletions up to this revision have been forgotten. */
  readonly horizon: number
  /** Deletions that are remembered. */
  readonly tombstones: number
  /** The newest lease epoch, of all leases together: so a lease can be forgotten and its epoch still never comes back. */
  readonly epoch: number
}

/** What a commit reads: keys of records and names of leases. */
export interface Reads {
  readonly keys: readonly string[]
  readonly leases: readonly string[]
}

/** The state a group starts from, with at least what it reads. `nowMs` is the store's clock. */
export interface Loaded {
  readonly head: Head
  readonly nowMs: number
  /** Records, and remembered deletions. */
  readonly records: ReadonlyMap<string, { readonly revision: number; readonly deleted: boolean }>
  readonly leases: ReadonlyMap<string, Lease>
  /** How many leases are held. */
  readonly leasesHeld: number
}

/** The keys and leases that a transaction reads. */
export function readsOf({ conditions, writes }: Commit): Reads {
  const tested = conditions.flatMap((condition) => (condition.kind === 'revision' ? [condition.key] : []))
  const leases = conditions.flatMap((condition) => (condition.kind === 'lease' ? [condition.name] : []))
  return { keys: [...tested, ...writes.map(({ key }) => key)], leases }
}

/** How many of the newest deletions are kept when there are more than `max`: a tenth fewer, so that it happens seldom. */
export function tombstonesKept(max: number): number {
  return Math.floor(max * 0.9)
}

/** The outcome of a group in the making. */
export class Draft {
  /** Records to write, by key: the last state of each. */
  readonly rows: Map<string, Row> = new Map()
  /** Leases to write, by name; null to remove. */
  readonly leases: Map<string, Lease | null> = new Map()
  readonly #loaded: Loaded
  #head: Head

  constructor(loaded: Loaded) {
    this.#loaded = loaded
    this.#head = loaded.head
  }

  get head(): Head {
    return this.#head
  }

  /** Whether there is anything to write. */
  get isEmpty(): boolean {
    return this.rows.size === 0 && this.leases.size === 0 && this.#head === this.#loaded.head
  }

  transact({ conditions, writes }: Commit): TransactionResult {
    const failed = conditions.filter((condition) => !this.#holds(condition))
    if (failed.length > 0) return { committed: false, failed }
    if (writes.length === 0) return { committed: true, revision: this.#head.revision }
    const revision = this.#head.revision + 1
    this.#head = { ...this.#head, revision }
    for (const { key, text } of writes) {
      const before = this.#record(key)
      if (text === null && (before === undefined || before.deleted)) continue
      const tombstones = this.#head.tombstones + Number(text === null) - Number(before?.deleted ?? false)
      this.#head = { ...this.#head, tombstones }
      this.rows.set(key, { key, text, revision })
    }
    return { committed: true, revision }
  }

  acquireLease(name: string, holder: string, ttlMs: number): Lease | null {
    const held = this.#heldLease(name)
    if (held !== undefined && held.holder !== holder) return null
    if (held === undefined) checkSize('the store', 'leases held', this.#leasesHeld() + 1, leasesMax)
    const epoch = held?.epoch ?? this.#head.epoch + 1
    this.#head = { ...this.#head, epoch: Math.max(epoch, this.#head.epoch) }
    const lease = { name, holder, epoch, expiresAtMs: this.#loaded.nowMs + ttlMs }
    this.leases.set(name, lease)
    return lease
  }

  releaseLease(name: string, epoch: number): void {
    if (this.#heldLease(name)?.epoch === epoch) this.leases.set(name, null)
  }

  #holds(condition: Condition): boolean {
    if (condition.kind === 'lease') return this.#heldLease(condition.name)?.epoch === condition.epoch
    const record = this.#record(condition.key)
    return condition.revision === (record === undefined || record.deleted ? 0 : record.revision)
  }

  #record(key: string): { readonly revision: number; readonly deleted: boolean } | undefined {
    const row = this.rows.get(key)
    return row === undefined ? this.#loaded.records.get(key) : { revision: row.revision, deleted: row.text === null }
  }

  #heldLease(name: string): Lease | undefined {
    const drafted = this.leases.get(name)
    const lease = drafted === undefined ? this.#loaded.leases.get(name) : drafted
    return lease && lease.expiresAtMs > this.#loaded.nowMs ? lease : undefined
  }

  /** Held leases, with those this draft takes; one that it takes and that was held already counts twice, on the safe side. */
  #leasesHeld(): number {
    return this.#loaded.leasesHeld + [...this.leases.values()].filter((lease) => lease !== null).length
  }
}
