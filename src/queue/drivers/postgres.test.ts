/** The PostgreSQL driver passes the suite on a real server, also when that is killed; and says why what cannot be opened cannot. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { needsPostgres, PostgresServer } from '../../../test/postgres-server.ts'
import { queueConformance } from '../conformance.ts'
import { refuses } from '../helpers.conformance.ts'
import { postgresPlaces } from './postgres-place.test-helper.ts'
import { openPostgresQueues } from './postgres.ts'

suite('postgres queues', { skip: needsPostgres() }, () => {
  let server: PostgresServer | undefined
  const running = (): PostgresServer => {
    assert.ok(server !== undefined)
    return server
  }
  before(async () => void (server = await PostgresServer.start()))
  after(() => server?.[Symbol.asyncDispose]())

  queueConformance({ name: 'postgres', shared: true, makePlace: postgresPlaces(running), brief: true, chaosMs: 0 })

  test('what cannot be opened is said with its reason', async () => {
    await refuses('queue.bad-input', () => openPostgresQueues({ url: 'not a URL' }))
    await refuses('queue.bad-input', () => openPostgresQueues({ url: running().url, schema: 'Bad"Name' }))
    await refuses('queue.unavailable', () => openPostgresQueues({ url: 'postgres://stead@localhost/x?host=/nowhere' }))
    await refuses('queue.not-authorized', () => openPostgresQueues({ url: running().url.replace('stead@', 'guest@') }))
    await (await openPostgresQueues({ url: running().url, schema: 'gone_on', generation: 3 })).close()
    const options = { url: running().url, schema: 'gone_on', generation: 2 }
    await refuses('queue.stale-generation', () => openPostgresQueues(options))
  })
})
