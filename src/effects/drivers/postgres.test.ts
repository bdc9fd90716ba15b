/** The suite on a real PostgreSQL: one server, a database for each case. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Client, Pool } from 'pg'
import type { ClientConfig } from 'pg'
import { isSteadError } from '../../base/index.ts'
import { makeTestPostgres } from '../../database/conformance.ts'
import type { TestPostgres } from '../../database/conformance.ts'
import { effectsConformance } from '../conformance.ts'
import { createTable, plan, run } from '../index.ts'

suite('effects on PostgreSQL', () => {
  const shared: { postgres?: TestPostgres; number: number } = { number: 0 }
  before(async () => {
    shared.postgres = await makeTestPostgres({ ownsSchema: true })
    await shared.postgres.resource.start()
  })
  after(() => shared.postgres?.[Symbol.asyncDispose]())

  const configOf = (database: string): ClientConfig => {
    assert.ok(shared.postgres !== undefined)
    const { socketDir, port, adminPassword } = shared.postgres.server
    return { host: socketDir, port, user: 'stead_admin', password: adminPassword, database }
  }
  const makeDatabase = async () => {
    shared.number += 1
    const name = `case_${shared.number}`
    const client = new Client(configOf('postgres'))
    await client.connect()
    await client.query(`create database ${name}`)
    await client.end()
    return {
      opening: { kind: 'postgres', config: configOf(name) },
      [Symbol.asyncDispose]: async () => undefined,
    } as const
  }

  effectsConformance({ name: 'PostgreSQL', histories: 10, makeDatabase })

  test('a consumer of the platform finds the table, may use it, and may not make rows vanish', async () => {
    assert.ok(shared.postgres !== undefined)
    await shared.postgres.provider.prepare(shared.postgres.resource.context)
    await shared.postgres.asConsumer('web', async (client) => {
      await createTable(client)
      await client.query('begin')
      await plan(client, { key: 'a', kind: 'mail', what: 'a mail' })
      await client.query('commit')
      assert.equal((await run(client, 'a', async () => 'taken')).state, 'sent')
      await assert.rejects(client.query('delete from stead.effects'), /permission denied/)
    })
  })

  test('a pool is no transaction, and two who make the table at once both have it', async () => {
    await using database = await makeDatabase()
    const pool = new Pool({ ...database.opening.config, max: 8 })
    try {
      await Promise.all(Array.from({ length: 8 }, () => createTable(pool)))
      await assert.rejects(plan(pool, { key: 'a', kind: 'mail', what: 'a mail' }), (error) => {
        return isSteadError(error) && error.code === 'effects.no-transaction'
      })
    } finally {
      await pool.end()
    }
  })

  test('who plans a key that another transaction has planned waits for it', async () => {
    await using database = await makeDatabase()
    const [first, second] = [new Client(database.opening.config), new Client(database.opening.config)]
    try {
      for (const client of [first, second]) await client.connect()
      await createTable(first)
      for (const client of [first, second]) await client.query('begin')
      await plan(first, { key: 'a', kind: 'mail', what: 'the first' })
      const waiting = plan(second, { key: 'a', kind: 'mail', what: 'the second' })
      await first.query('rollback')
      assert.equal((await waiting).what, 'the second')
      await second.query('commit')
    } finally {
      for (const client of [first, second]) await client.end()
    }
  })
})
