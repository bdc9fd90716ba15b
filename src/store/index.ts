/** The face of `store`: revisioned records behind one interface, and the drivers that keep them. */
export {
  conditionsMax,
  keyBytesMax,
  leasesMax,
  leaseTtlMsMax,
  listBytesMax,
  operationsMax,
  pageBytesMax,
  pageMax,
  tombstonesMax,
  transactionBytesMax,
  valueBytesMax,
  watchesMax,
} from './store.ts'
export type {
  Change,
  ChangePage,
  Condition,
  Durability,
  Entry,
  Lease,
  Operation,
  Store,
  StoreCapabilities,
  Transaction,
  TransactionResult,
} from './store.ts'
export { openMemoryStore } from './drivers/memory.ts'
export type { MemoryStoreOptions } from './drivers/memory.ts'
export { openSqliteStore } from './drivers/sqlite.ts'
export type { SqliteStoreOptions } from './drivers/sqlite.ts'
export { openPostgresStore } from './drivers/postgres.ts'
export type { PostgresStoreOptions } from './drivers/postgres.ts'
export { storeOn } from './driver.ts'
export type { Commit, Row, RowPage, StoreDriver, Write } from './driver.ts'
export { Hints } from './hints.ts'
