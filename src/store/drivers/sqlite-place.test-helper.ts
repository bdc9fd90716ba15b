/** Places for SQLite stores in tests: a temporary folder each, and a clock that moves when told to. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ManualClock } from '../../base/index.ts'
import type { StorePlace } from '../conformance.ts'
import { openSqliteStore } from './sqlite.ts'

/** A new place; it is removed when it is disposed of. */
export async function makeSqlitePlace(tombstonesMax: number): Promise<StorePlace> {
  const folder = await mkdtemp(join(tmpdir(), 'stead-store-'))
  const path = join(folder, 'store.db')
  const clock = new ManualClock(1_000_000)
  return {
    open: () => openSqliteStore({ path, clock, tombstonesMax }),
    pass: async (ms) => clock.advance(ms),
    elsewhere: { module: import.meta.resolve('./sqlite.ts'), name: 'openSqliteStore', options: { path } },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}
