/** The PostgreSQL driver passes the whole suite, with its server killed and a minute of killed processes. */
import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { needsPostgres, PostgresServer } from '../../../test/postgres-server.ts'
import { queueConformance } from '../conformance.ts'
import { postgresPlaces } from './postgres/place.test-helper.ts'

suite('postgres queues', { skip: needsPostgres() }, () => {
  let server: PostgresServer | undefined
  const running = (): PostgresServer => {
    assert.ok(server !== undefined)
    return server
  }
  before(async () => void (server = await PostgresServer.start()))
  after(() => server?.[Symbol.asyncDispose]())

  queueConformance({ name: 'postgres', shared: true, makePlace: postgresPlaces(running), chaosMs: 60_000 })
})
