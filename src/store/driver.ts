/**
 * What a driver implements, and `storeOn`, which makes a Store of it. Everything that must not differ between drivers is
 * here, once: limits, the text of values, `putIf`, hints, closing. A driver gets only what is within the limits.
 */
import { assert } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import { Hints } from './hints.ts'
import * as limits from './limits.ts'
import { failure } from './errors.ts'
import { pageMax } from './store.ts'
import type { Condition, Lease, Store, StoreCapabilities, TransactionResult } from './store.ts'

/** A record as a driver keeps it: the value as canonical JSON text, null for a deletion that is remembered. */
export interface Row {
  readonly key: string
  readonly text: string | null
  readonly revision: number
}

/** One operation: the new text, or null to delete. */
export interface Write {
  readonly key: string
  readonly text: string | null
}

/** A transaction as a driver gets it. `bytes` is the size of its keys and texts. */
export interface Commit {
  readonly conditions: readonly Condition[]
  readonly writes: readonly Write[]
  readonly bytes: number
}

/** A page of rows; see `ChangePage`. */
export interface RowPage {
  readonly rows: readonly Row[]
  readonly cursor: number
  readonly more: boolean
}

/** The driver's side of a store. The meaning of each call is that of the same name in `Store`. */
export interface StoreDriver {
  readonly name: string
  readonly capabilities: StoreCapabilities
  get(key: string): Promise<Row | null>
  list(prefix: string): Promise<{ readonly rows: readonly Row[]; readonly revision: number }>
  listSince(prefix: string, cursor: number, limit: number): Promise<RowPage>
  transact(commit: Commit): Promise<TransactionResult>
  acquireLease(name: string, holder: string, ttlMs: number): Promise<Lease | null>
  releaseLease(name: string, epoch: number): Promise<void>
  scrub(): Promise<void>
  /** Waits for what was accepted, then lets go of everything. Called once. */
  close(): Promise<void>
}

/** The Store of a driver. The driver tells `hints` what it has changed, or what it hears that others have. */
export function storeOn(driver: StoreDriver, hints: Hints): Store {
  let closing: Promise<void> | undefined

  const open = (): StoreDriver => {
    if (closing === undefined) return driver
    throw failure(
      'closed',
      `the ${driver.name} store was closed`,
      'Open it again, or stop its users before it is closed.',
    )
  }
  const transact: Store['transact'] = async ({ conditions, operations }) => {
    const writes = operations.map((operation) => ({
      key: operation.key,
      text: operation.kind === 'put' ? limits.textOf(operation.key, operation.value) : null,
    }))
    return open().transact(limits.commitOf(conditions, writes))
  }
  const close = (): Promise<void> => {
    hints.close()
    closing ??= driver.close()
    return closing
  }

  return {
    driver: driver.name,
    capabilities: driver.capabilities,
    async get(key) {
      limits.checkKey(key)
      const row = await open().get(key)
      return row === null ? null : { key, value: valueOf(row), revision: row.revision }
    },
    async list(prefix) {
      limits.checkPrefix(prefix)
      const { rows, revision } = await open().list(prefix)
      return { entries: rows.map((row) => ({ key: row.key, value: valueOf(row), revision: row.revision })), revision }
    },
    async putIf(key, value, revision) {
      const conditions = [{ kind: 'revision', key, revision }] as const
      const result = await transact({ conditions, operations: [{ kind: 'put', key, value }] })
      return result.committed ? result.revision : null
    },
    transact,
    async listSince(prefix, cursor, limit = pageMax) {
      limits.checkPrefix(prefix)
      limits.checkNumber('cursor', cursor, 0, Number.MAX_SAFE_INTEGER)
      limits.checkNumber('limit', limit, 1, pageMax)
      const { rows, ...page } = await open().listSince(prefix, cursor, limit)
      const changes = rows.map((row) => ({
        key: row.key,
        value: row.text === null ? null : valueOf(row),
        deleted: row.text === null,
        revision: row.revision,
      }))
      return { changes, ...page }
    },
    watch(prefix, onHint) {
      limits.checkPrefix(prefix)
      open()
      return hints.watch(prefix, onHint)
    },
    async acquireLease(name, holder, ttlMs) {
      limits.checkKey(name)
      limits.checkKey(holder)
      limits.checkTtl(ttlMs)
      return open().acquireLease(name, holder, ttlMs)
    },
    async releaseLease(name, epoch) {
      limits.checkKey(name)
      limits.checkNumber('epoch', epoch, 0, Number.MAX_SAFE_INTEGER)
      return open().releaseLease(name, epoch)
    },
    scrub: async () => open().scrub(),
    close,
    [Symbol.asyncDispose]: close,
  }
}

function valueOf(row: Row): Json {
  assert(row.text !== null, `the record ${row.key} has no text`)
  const value: Json = JSON.parse(row.text)
  return value
}
