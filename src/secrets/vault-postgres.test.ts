/** The vault on a store in PostgreSQL. */
import { after, before, suite } from 'node:test'
import assert from 'node:assert/strict'
import { makeTestPostgres, type TestPostgres } from '../database/conformance.ts'
import { openPostgresStore } from '../store/index.ts'
import { vaultConformance } from './conformance.ts'

const linux = process.platform === 'linux' ? false : 'needs Linux, where tests have a PostgreSQL'

suite('a real server', { skip: linux }, () => {
  let postgres: TestPostgres | undefined
  let places = 0
  before(async () => {
    postgres = await makeTestPostgres({ ownsSchema: true })
    await postgres.resource.start()
    await postgres.provider.prepare(postgres.resource.context)
  })
  after(() => postgres?.[Symbol.asyncDispose]())

  vaultConformance('postgres', async () => {
    assert.ok(postgres !== undefined)
    const { socketDir, adminPassword } = postgres.server
    const url = `postgres://stead_admin:${adminPassword}@localhost/postgres?host=${encodeURIComponent(socketDir)}`
    const store = await openPostgresStore({ url, schema: `vault_${(places += 1)}` })
    return { store, [Symbol.asyncDispose]: () => store.close() }
  })
})
