/** The PostgreSQL driver passes the suite on a real server, also when that is killed; and says why what cannot be opened cannot. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { needsPostgres, PostgresServer } from '../../../test/postgres-server.ts'
import { queueConformance } from '../conformance.ts'
import { jsonCodec } from '../codec.ts'
import { assertNothing, refuses, take } from '../helpers.conformance.ts'
import { PostgresInbox, PostgresOutbox } from '../outbox-postgres.ts'
import { openMemoryQueues } from './memory.ts'
import { postgresPlaces } from './postgres/place.test-helper.ts'
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

  test('an outbox sends what is committed and not what is rolled back, and an inbox lets an effect happen once', async () => {
    const { default: pg } = await import('pg')
    const pool = new pg.Pool({ connectionString: running().url, max: 4 })
    try {
      const [outbox, inbox] = [new PostgresOutbox(pool), new PostgresInbox(pool)]
      await outbox.prepare()
      await inbox.prepare()
      await pool.query('CREATE TABLE effects (n int)')
      await using queues = await openMemoryQueues()
      const mail = await queues.declare('mail', jsonCodec)
      const client = await pool.connect()
      for (const [n, end] of [
        [1, 'COMMIT'],
        [2, 'ROLLBACK'],
        [3, 'COMMIT'],
      ] as const) {
        const message = await mail.prepare(n, { id: `m${n}` })
        await client.query('BEGIN')
        await outbox.add(client, message)
        await client.query(end)
      }
      // Two relays at once carry each message once.
      await using _relay = queues.relay(outbox, { pollMs: 20 })
      await using _other = queues.relay(outbox, { pollMs: 20 })
      const messages = await take(mail, 2)
      assert.deepEqual(messages.map(({ id }) => id).toSorted(), ['m1', 'm3'])
      const effect = async (id: string, end: 'COMMIT' | 'ROLLBACK'): Promise<boolean> => {
        await client.query('BEGIN')
        const first = await inbox.first(client, 'mail', id)
        if (first) await client.query('INSERT INTO effects VALUES (1)')
        await client.query(end)
        return first
      }
      assert.deepEqual(
        [await effect('m1', 'ROLLBACK'), await effect('m1', 'COMMIT'), await effect('m1', 'COMMIT')],
        [true, true, false],
      )
      assert.equal((await pool.query('SELECT count(*)::int AS n FROM effects')).rows[0]?.n, 1)
      await inbox.forget(0)
      assert.equal(await effect('m1', 'ROLLBACK'), true)
      for (const message of messages) await message.ack()
      await assertNothing(mail)
      client.release()
    } finally {
      await pool.end()
    }
  })

  test("the server's own client finds what was sent", async () => {
    const { default: pg } = await import('pg')
    await using queues = await openPostgresQueues({ url: running().url, schema: 'below' })
    await (await queues.declare('mail', jsonCodec)).send('ours')
    const { connectionString, schema } = queues.native
    const client = new pg.Client({ connectionString })
    await client.connect()
    const { rows } = await client.query<{ readonly text_body: string }>(`SELECT text_body FROM ${schema}.messages`)
    await client.end()
    assert.deepEqual(rows, [{ text_body: '"ours"' }])
  })

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
