/** Migrations on a real server: all or nothing, told with the place, one at a time, and never with more rights than the owner. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, suite, test } from 'node:test'
import { messageOf, sleep, systemClock } from '../base/index.ts'
import { makeTestPostgres } from './conformance.ts'
import type { TestPostgres } from './conformance.ts'
import { splitStatements } from './sql.ts'

suite('migrations on a server', () => {
  const shared: { postgres?: TestPostgres } = {}
  const postgres = (): TestPostgres => {
    assert.ok(shared.postgres !== undefined)
    return shared.postgres
  }
  const prepare = (): Promise<unknown> => postgres().provider.prepare(postgres().resource.context)
  const tables = async (): Promise<readonly string[]> =>
    (
      await postgres().admin<{ name: string }>(
        `select tablename as name from pg_tables where schemaname = 'public' order by 1`,
      )
    ).map((row) => row.name)
  const applied = async (): Promise<readonly string[]> =>
    (await postgres().admin<{ name: string }>('select name from stead.migrations order by 1')).map((row) => row.name)

  before(async () => {
    shared.postgres = await makeTestPostgres({ lockTimeoutMs: 500 })
    await shared.postgres.resource.start()
  })
  after(() => shared.postgres?.[Symbol.asyncDispose]())
  beforeEach(async () => {
    await postgres().migrations({})
    await prepare().catch(() => undefined)
    await postgres().admin(
      'drop schema public cascade; create schema public authorization shop_1_owner; truncate stead.migrations',
    )
  })

  test('what is due is applied in order, as the owner, and recorded; again changes nothing', async () => {
    await postgres().migrations({
      '0002_b.sql': 'insert into a values (1);',
      '0001_a.sql': 'create table a (b int);',
      'notes.txt': 'no migration',
    })
    await prepare()
    await prepare()
    assert.deepEqual(await applied(), ['0001_a.sql', '0002_b.sql'])
    const rows = await postgres().admin(
      `select (select count(*)::int from a) as count, tableowner from pg_tables where tablename = 'a'`,
    )
    assert.deepEqual(rows, [{ count: 1, tableowner: 'shop_1_owner' }])
  })

  test('a failing one changes nothing, also of those before it, and is told with place and words', async () => {
    await postgres().migrations({
      '0001_a.sql': 'create table a (b int);',
      '0002_c.sql': 'create table c (d int);\n\nselect 1; select\n  b, oops\nfrom a;',
    })
    await assert.rejects(prepare(), {
      code: 'database.migration-failed',
      message: '0002_c.sql:4: column "oops" does not exist\n    b, oops\n       ^',
      hint: 'Nothing was changed.',
    })
    assert.deepEqual([await tables(), await applied()], [[], []])
  })

  test('an error without a position names the line of its statement, with the details of the server', async () => {
    await postgres().migrations({
      '0001_a.sql': 'create table a (b int unique);\n\n-- twice\ninsert into a values (1), (1);\n',
    })
    await assert.rejects(prepare(), {
      code: 'database.migration-failed',
      message: /^0001_a\.sql:4: duplicate key value .*\n {2}insert into a values \(1\), \(1\);$/,
      hint: 'Key (b)=(1) already exists. Nothing was changed.',
    })
  })

  test('a constraint that is checked at the end is told too', async () => {
    await postgres().migrations({
      '0001_a.sql':
        'create table a (b int primary key, c int references a deferrable initially deferred); insert into a values (1, 2);',
    })
    await assert.rejects(prepare(), {
      code: 'database.migration-failed',
      message: /0001_a\.sql, at commit: .*foreign key/,
    })
    assert.deepEqual(await tables(), [])
  })

  test('what was applied and then changed is refused', async () => {
    await postgres().migrations({ '0001_a.sql': 'create table a (b int);' })
    await prepare()
    await postgres().migrations({ '0001_a.sql': 'create table a (b bigint);' })
    await assert.rejects(prepare(), { code: 'database.migration-changed' })
    await postgres().migrations({ '0001_a.sql': '\ufeffcreate table a (b int);' })
    await prepare()
  })

  test('a setting of one file does not reach the next', async () => {
    await postgres().migrations({
      '0001_a.sql': `select pg_catalog.set_config('search_path', '', false); set lock_timeout = 0;`,
      '0002_b.sql': 'create table a (b int);',
    })
    await prepare()
    assert.deepEqual(await tables(), ['a'])
  })

  for (const escape of [
    'reset role; create role evil superuser;',
    'set session authorization stead_admin;',
    `do $$ begin execute 'reset role'; execute 'create role evil superuser'; end $$;`,
    `copy (select 1) to program 'true';`,
    'alter role stead_migrator superuser;',
  ]) {
    test(`no more rights than the owner: ${escape}`, async () => {
      await postgres().migrations({ '0001_a.sql': escape })
      await assert.rejects(prepare(), { code: 'database.migration-failed', message: /permission denied/ })
    })
  }

  test('the migrator can log in only while migrations run', async () => {
    await postgres().migrations({ '0001_a.sql': 'select 1;' })
    await prepare()
    const rows = await postgres().admin(
      `select rolcanlogin, rolsuper, rolpassword from pg_authid where rolname = 'stead_migrator'`,
    )
    assert.deepEqual(rows, [{ rolcanlogin: false, rolsuper: false, rolpassword: null }])
  })

  test('a lock that somebody holds ends the wait, and may be tried again', async () => {
    await postgres().migrations({ '0001_a.sql': 'create table a (b int);' })
    await prepare()
    await postgres().migrations({ '0001_a.sql': 'create table a (b int);', '0002_b.sql': 'alter table a add c int;' })
    await postgres().asConsumer('web', async (client) => {
      await client.query('begin; select * from a')
      await assert.rejects(prepare(), {
        code: 'database.migration-failed',
        retry: 'later',
        message: /^0002_b\.sql:1: canceling statement due to lock timeout/,
      })
    })
    await prepare()
    assert.deepEqual(await applied(), ['0001_a.sql', '0002_b.sql'])
  })

  test('two at a time: each waits for the other or says that it is busy; applied once', async () => {
    await postgres().migrations({ '0001_a.sql': 'create table a (b int); select pg_sleep(0.1);' })
    const outcomes = await Promise.allSettled([prepare(), prepare(), prepare()])
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') assert.match(messageOf(outcome.reason), /other migrations are running/)
    }
    assert.ok(outcomes.some((outcome) => outcome.status === 'fulfilled'))
    assert.deepEqual(await applied(), ['0001_a.sql'])
  })

  test('a server that is killed in the middle: nothing was changed, and it can be done again', async () => {
    await postgres().migrations({ '0001_a.sql': 'create table a (b int); select pg_sleep(60);' })
    const running = assert.rejects(prepare())
    const sleeping = `select 1 from pg_stat_activity where query like '%pg_sleep(60)%' and usename = 'stead_migrator'`
    const deadlineMs = systemClock.monotonicMs() + 30_000
    while ((await postgres().admin(sleeping)).length === 0) {
      assert.ok(systemClock.monotonicMs() < deadlineMs, 'the migration did not start')
      await sleep(systemClock, 20)
    }
    await postgres().resource.process().kill()
    await running
    await postgres().provider.recover(postgres().resource.context)
    await postgres().resource.start()
    assert.deepEqual([await tables(), await applied()], [[], []])
    await postgres().migrations({ '0001_a.sql': 'create table a (b int);' })
    await prepare()
    assert.deepEqual(await tables(), ['a'])
  })

  test('a directory that is not there, or a file that is no text, is told by name', async () => {
    const { context } = postgres().resource
    await assert.rejects(postgres().provider.prepare({ ...context, filesDir: '/nonexistent' }), {
      code: 'database.migration-unreadable',
      message: /\/nonexistent/,
    })
    await postgres().migrations({ '0001_a.sql': Uint8Array.of(0x2d, 0x2d, 0xff) })
    await assert.rejects(prepare(), { code: 'database.migration-unreadable', message: /0001_a\.sql.*utf-8/ })
  })

  test('statements come apart as the server itself takes them apart', async () => {
    const literals = [
      `'a;b'`,
      `''''`,
      `'\\'`,
      `E'\\';'`,
      `$$;$$`,
      `$a$ $$;$b$ $a$`,
      `'x' /* ; /* ; */ */`,
      `U&'\\0041;'`,
      `E'a'\n'\\';'`,
    ]
    const text = literals.map((literal) => `select ${literal} as "v;"`).join(' -- ;\n; ')
    const parts = splitStatements(text).map((statement) => statement.text)
    assert.equal(parts.length, literals.length)
    await postgres().asConsumer('web', async (client) => {
      const whole: unknown = await client.query(text)
      assert.ok(Array.isArray(whole))
      const single = []
      for (const part of parts) single.push((await client.query(part)).rows)
      assert.deepEqual(
        single,
        whole.map((result: { rows: unknown }) => result.rows),
      )
    })
  })
})
