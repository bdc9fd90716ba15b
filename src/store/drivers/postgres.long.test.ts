/** PostgreSQL killed with -9 many times, and more histories than a usual run has time for. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { refuses } from '../record.conformance.ts'
import { surviveKills } from './postgres-failure.test-helper.ts'
import { needsPostgres, PostgresServer } from '../../../test/postgres-server.ts'
import { openPostgresStore } from './postgres.ts'

suite('postgres, long', { skip: needsPostgres() }, () => {
  test('twenty kills of the server lose nothing', async (context) => {
    await using server = await PostgresServer.start()
    context.diagnostic(await surviveKills(server, 'killed', 20))
  })

  test('a server that does not force commits to the disk is refused', async () => {
    await using server = await PostgresServer.start(['fsync=off'])
    await refuses('store.not-durable', () => openPostgresStore({ url: server.url }))
  })

  test('a server that relaxes commits by default is made strict for the store', async () => {
    await using server = await PostgresServer.start(['synchronous_commit=off'])
    await using store = await openPostgresStore({ url: server.url })
    assert.equal(await store.putIf('a', 1, 0), 1)
    await server.kill()
    await server.start()
    assert.equal((await store.get('a'))?.value, 1)
  })
})
