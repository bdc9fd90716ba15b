/**
 * The interface of the store: revisioned JSON records under string keys. Six verbs: get, putIf, transact, listSince,
 * watch, lease. (`list` reads a snapshot to start from.)
 *
 * Invariants every driver keeps, and the conformance suite checks:
 * - Revisions are given in commit order, one per committed transaction, without gaps. A reader that has seen revision
 *   N will never later find a change with a revision of N or less.
 * - What `transact` has answered as committed survives kill -9 of the process and, for durable drivers, loss of power.
 * - The cursor is the truth and a watch is only a hint: a lost hint loses nothing, since `listSince` finds the change.
 * - A lease carries an epoch that only grows. A transaction guarded by an older epoch is refused: fencing.
 */
import type { Json } from '../base/index.ts'

/** A record as it stands. */
export interface Entry {
  readonly key: string
  readonly value: Json
  /** Revision of the transaction that wrote it; at least 1. */
  readonly revision: number
}

/** The latest change of one key: `value` is null when it was deleted. */
export interface Change {
  readonly key: string
  readonly value: Json
  readonly deleted: boolean
  readonly revision: number
}

/** What must hold for a transaction to be applied. */
export type Condition =
  /** The key stands at exactly this revision; 0 means that it does not exist. */
  | { readonly kind: 'revision'; readonly key: string; readonly revision: number }
  /** The lease is held at exactly this epoch and has not expired: fencing. */
  | { readonly kind: 'lease'; readonly name: string; readonly epoch: number }

/** A change to make when all conditions hold. */
export type Operation =
  | { readonly kind: 'put'; readonly key: string; readonly value: Json }
  | { readonly kind: 'delete'; readonly key: string }

export interface Transaction {
  readonly conditions: readonly Condition[]
  readonly operations: readonly Operation[]
}

/** Either all operations were applied at `revision`, or none was and `failed` lists the conditions that did not hold. */
export type TransactionResult =
  | { readonly committed: true; readonly revision: number }
  | { readonly committed: false; readonly failed: readonly Condition[] }

/** A page of changes in revision order; `cursor` is where to go on. `more` says that another page waits. */
export interface ChangePage {
  readonly changes: readonly Change[]
  readonly cursor: number
  readonly more: boolean
}

/** A time-limited right with a fencing epoch. */
export interface Lease {
  readonly name: string
  readonly holder: string
  readonly epoch: number
  /** By the store's clock, milliseconds since 1970. */
  readonly expiresAtMs: number
}

/** What an acknowledged commit survives. */
export type Durability = 'memory' | 'fsync'

export interface StoreCapabilities {
  readonly durability: Durability
  /** Whether several processes may open the same store at once. */
  readonly sharedByProcesses: boolean
}

/** Limits that every driver holds; more is refused with `store.too-large`. */
export const keyBytesMax: number = 512
export const valueBytesMax: number = 1024 * 1024
export const operationsMax: number = 256
export const pageMax: number = 1000

export interface Store extends AsyncDisposable {
  readonly driver: string
  readonly capabilities: StoreCapabilities
  /** The record, or null. */
  get(key: string): Promise<Entry | null>
  /** All records whose key starts with `prefix`, in key order, as of one revision: a snapshot to go on from with `listSince(prefix, revision)`. */
  list(prefix: string): Promise<{ readonly entries: readonly Entry[]; readonly revision: number }>
  /** Writes one key when it stands at `revision` (0: does not exist). Answers the new revision, or null when the race was lost. */
  putIf(key: string, value: Json, revision: number): Promise<number | null>
  /** Applies all operations, or none. */
  transact(transaction: Transaction): Promise<TransactionResult>
  /**
   * Changes after revision `cursor` under `prefix`, in revision order, each key once with its latest state.
   * Throws `store.cursor-too-old` when deletions since `cursor` have been forgotten: take a new snapshot with `list`.
   */
  listSince(prefix: string, cursor: number, limit?: number): Promise<ChangePage>
  /** Calls `onHint` soon after something under `prefix` may have changed. A hint may be lost, early or doubled. */
  watch(prefix: string, onHint: () => void): Disposable
  /** Takes or renews the lease for `holder`. Null when another holds it. The epoch grows when the holder changes or after expiry. */
  acquireLease(name: string, holder: string, ttlMs: number): Promise<Lease | null>
  /** Gives the lease back; nothing happens when `epoch` is no longer current. */
  releaseLease(name: string, epoch: number): Promise<void>
  close(): Promise<void>
}
