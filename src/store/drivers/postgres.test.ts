/** The PostgreSQL driver passes the suite on a real server, also when that is killed. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Client } from 'pg'
import { sleep, systemClock } from '../../base/index.ts'
import { storeConformance } from '../conformance.ts'
import { refuses } from '../record.conformance.ts'
import { surviveKills } from './postgres-failure.test-helper.ts'
import { needsPostgres, PostgresServer } from '../../../test/postgres-server.ts'
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

  test('a server that is killed with -9 has what it confirmed, and the same store goes on', async (context) => {
    assert.ok(server !== undefined)
    context.diagnostic(await surviveKills(server, 'killed', 3))
  })

  test('a hint comes again after the server was away', async () => {
    assert.ok(server !== undefined)
    await using store = await openPostgresStore({ url: server.url, schema: 'hinted' })
    await using other = await openPostgresStore({ url: server.url, schema: 'hinted' })
    await server.kill()
    await server.start()
    const { promise, resolve } = Promise.withResolvers<void>()
    using _watch = store.watch('', resolve)
    await other.putIf('a', 1, 0)
    await promise
  })

  test('a commit whose wait for the standby is cancelled is unknown, not made', async () => {
    await using store = await openPostgresStore({ url: url(), schema: 'waiting' })
    await store.putIf('a', 1, 0)
    await configure(url(), 'a_standby_that_is_not_there')
    try {
      const cancelling = cancelWaiting(url())
      let last = 0
      // The server begins to wait a little after it has the setting; commits before that are made at once.
      await refuses('store.outcome-unknown', async () => {
        for (last = 1; last < 10_000; last += 1) await store.putIf('a', last, last)
      })
      await cancelling
      await configure(url(), '')
      assert.equal((await store.get('a'))?.value, last, 'it was made after all: that is why it must not be denied')
    } finally {
      await configure(url(), '')
    }
  })

  test('a newer version is refused, also while the store is open, and nothing is changed', async () => {
    const options = { url: url(), schema: 'newer' }
    await using store = await openPostgresStore(options)
    await store.putIf('a', 1, 0)
    await query(url(), 'UPDATE newer.head SET version = 7')
    await refuses('store.newer-version', () => store.putIf('a', 2, 1))
    await refuses('store.newer-version', () => openPostgresStore(options))
    assert.deepEqual(await query(url(), 'SELECT version::int, revision::int FROM newer.head'), [
      { version: 7, revision: 1 },
    ])
  })

  test('many that open a new schema at once make it once', async () => {
    const stores = await Promise.all([1, 2, 3, 4].map(() => openPostgresStore({ url: url(), schema: 'at_once' })))
    const won = await Promise.all(stores.map((store) => store.putIf('a', 1, 0)))
    assert.deepEqual(
      won.filter((revision) => revision !== null),
      [1],
    )
    await Promise.all(stores.map((store) => store.close()))
  })

  test('what cannot be reached or opened is said with its reason', async () => {
    await query(url(), 'CREATE SCHEMA theirs; CREATE TABLE theirs.head (x int); CREATE ROLE guest LOGIN')
    await refuses('store.foreign', () => openPostgresStore({ url: url(), schema: 'theirs' }))
    await refuses('store.cannot-open', () => openPostgresStore({ url: url().replace('stead@', 'guest@') }))
    await refuses('store.cannot-open', () => openPostgresStore({ url: url().replace('/postgres?', '/nowhere?') }))
    await refuses('store.unavailable', () =>
      openPostgresStore({ url: 'postgres://stead:secret@localhost/x?host=/nowhere' }),
    )
    await refuses('store.bad-input', () => openPostgresStore({ url: 'not a URL' }))
    await refuses('store.bad-input', () => openPostgresStore({ url: url(), schema: 'Bad"Name' }))
  })
})

/** One statement by a connection of its own. */
async function query(url: string, sql: string): Promise<readonly unknown[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}

/** Makes commits wait for the standby of this name, or for none. */
async function configure(url: string, standby: string): Promise<void> {
  await query(url, `ALTER SYSTEM SET synchronous_standby_names = '${standby}'`)
  await query(url, 'SELECT pg_reload_conf()')
  await until(async () => {
    const [found] = await query(url, `SELECT current_setting('synchronous_standby_names') = '${standby}' AS done`)
    return JSON.stringify(found) === '{"done":true}'
  })
}

/** Cancels the commit that waits for a standby, as an administrator might. */
async function cancelWaiting(url: string): Promise<void> {
  const sql = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
  await until(async () => (await query(url, sql)).length > 0)
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 2000; tries += 1) {
    if (await holds()) return
    await sleep(systemClock, 10)
  }
  assert.fail('waited too long')
}
