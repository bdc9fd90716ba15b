/**
 * The interface of the store: revisioned JSON records under string keys. Six verbs: get, putIf, transact, listSince,
 * watch, lease. (`list` reads a snapshot to start from.)
 *
 * Invariants every driver keeps, and the conformance suite checks:
 * - Revisions are given in commit order, one per committed transaction with operations, without gaps. A reader that has
 *   seen revision N will never later find a change with a revision of N or less.
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

/** Conditions and operations of one commit. Operations apply in order; deleting a key that does not exist changes nothing. */
export interface Transaction {
  readonly conditions: readonly Condition[]
  readonly operations: readonly Operation[]
}

/**
 * Either all operations were applied at `revision`, or none was and `failed` lists the conditions that did not hold.
 * Without operations, `revision` is the newest one and stays it: a check changes nothing.
 */
export type TransactionResult =
  | { readonly committed: true; readonly revision: number }
  | { readonly committed: false; readonly failed: readonly Condition[] }

/** A page of changes in revision order, never a part of a revision; `cursor` is where to go on. `more` says that another page waits. */
export interface ChangePage {
  readonly changes: readonly Change[]
  readonly cursor: number
  readonly more: boolean
}

/** A time-limited right with a fencing epoch. `holder` names one incarnation of a process: a restarted one takes a new name. */
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
export const conditionsMax: number = 256
/** Keys and values of one transaction together. */
export const transactionBytesMax: number = 16 * 1024 * 1024
/** Changes that one page aims at. It goes over to finish a revision, and ends early, after a revision, at `pageBytesMax`. */
export const pageMax: number = 1000
export const pageBytesMax: number = 8 * 1024 * 1024
/** Keys and values that `list` answers: a snapshot is one answer, so it has to fit into memory. */
export const listBytesMax: number = 64 * 1024 * 1024
export const leaseTtlMsMax: number = 24 * 60 * 60 * 1000
/** Leases that are held at one time. */
export const leasesMax: number = 10_000
/** Watches that are open on one store at one time. */
export const watchesMax: number = 10_000
/** Deletions that `listSince` remembers, unless the driver is opened with another number. */
export const tombstonesMax: number = 10_000

/** The verbs. All of them may throw the errors of the README: `store.unavailable` and `store.outcome-unknown` above all. */
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
   * Throws `store.cursor-too-old` when deletions since `cursor` have been forgotten, and `store.cursor-ahead` when the
   * store has never given out that revision (it was restored from an older copy): take a new snapshot with `list`.
   */
  listSince(prefix: string, cursor: number, limit?: number): Promise<ChangePage>
  /** Calls `onHint` soon after something under `prefix` may have changed. A hint may be lost, early or doubled. */
  watch(prefix: string, onHint: () => void): Disposable
  /**
   * Takes the lease for `holder`, or renews it to `ttlMs` from now. Null when another holds it. The epoch grows (not always
   * by one) when the holder changes, after expiry and after release.
   */
  acquireLease(name: string, holder: string, ttlMs: number): Promise<Lease | null>
  /** Gives the lease back; nothing happens when `epoch` is no longer current. */
  releaseLease(name: string, epoch: number): Promise<void>
  /**
   * Takes off the disk, as far as the driver can, what earlier values have left there after they were replaced or deleted:
   * for what should not have been stored. Copies of the files, and what a database server keeps elsewhere, are not reached.
   */
  scrub(): Promise<void>
  /** Waits for what is under way, then closes; afterwards everything throws `store.closed`. Closing twice is fine. */
  close(): Promise<void>
}
