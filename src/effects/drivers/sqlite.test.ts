/** The suite on SQLite: a file that several processes open. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { effectsConformance } from '../conformance.ts'

effectsConformance({
  name: 'SQLite',
  histories: 30,
  async makeDatabase() {
    const directory = await mkdtemp(join(tmpdir(), 'stead-effects-db-'))
    return {
      opening: { kind: 'sqlite', path: join(directory, 'app.db') },
      [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
    }
  },
})
