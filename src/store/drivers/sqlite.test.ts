/** The SQLite driver passes the suite, and refuses files it must not touch. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ManualClock } from '../../base/index.ts'
import { storeConformance } from '../conformance.ts'
import { openSqliteStore } from './sqlite.ts'

storeConformance({
  name: 'sqlite',
  async makePlace(tombstonesMax) {
    const folder = await mkdtemp(join(tmpdir(), 'stead-store-'))
    const path = join(folder, 'store.db')
    const clock = new ManualClock(1_000_000)
    return {
      open: () => openSqliteStore({ path, clock, tombstonesMax }),
      pass: async (ms) => clock.advance(ms),
      elsewhere: { module: import.meta.resolve('./sqlite.ts'), name: 'openSqliteStore', options: { path } },
      [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
    }
  },
  killRounds: 5,
  histories: 40,
})
