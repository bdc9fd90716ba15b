/** The PostgreSQL driver passes the suite on a real server, also when that is killed. */
import { after, before, suite } from 'node:test'
import assert from 'node:assert/strict'
import { sleep, systemClock } from '../../base/index.ts'
import { storeConformance } from '../conformance.ts'
import { needsPostgres, PostgresServer } from './postgres-server.test-helper.ts'
import { openPostgresStore } from './postgres.ts'

suite('postgres', { skip: needsPostgres() }, () => {
  let server: PostgresServer | undefined
  let places = 0
  const url = (): string => {
    assert.ok(server !== undefined)
    return server.url
  }
  before(async () => (server = await PostgresServer.start()))
  after(() => server?.[Symbol.asyncDispose]())

  storeConformance({
    name: 'postgres',
    async makePlace(tombstonesMax) {
      const options = { url: url(), schema: `place_${(places += 1)}`, tombstonesMax }
      return {
        open: () => openPostgresStore(options),
        pass: (ms) => sleep(systemClock, ms + 5),
        elsewhere: { module: import.meta.resolve('./postgres.ts'), name: 'openPostgresStore', options },
        async [Symbol.asyncDispose]() {},
      }
    },
    killRounds: 2,
    histories: 8,
  })
})
