/** Halves of migrations and statements outside of a transaction, on a real server: what runs when, and what a crash leaves. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, suite, test } from 'node:test'
import { sleep, systemClock } from '../base/index.ts'
import type { PreparePhase } from '../provider/index.ts'
import { makeTestPostgres } from './conformance.ts'
import type { TestPostgres } from './conformance.ts'

suite('halves of migrations on a server', () => {
  const shared: { postgres?: TestPostgres } = {}
  const postgres = (): TestPostgres => {
    assert.ok(shared.postgres !== undefined)
    return shared.postgres
  }
  const prepare = async (phase?: PreparePhase): Promise<string | null> =>
    (await postgres().provider.prepare(postgres().resource.context, phase)).schema
  const pending = async (): Promise<readonly unknown[]> => {
    const { migrates, contracts, statements } =
      (await postgres().provider.pending?.(postgres().resource.context)) ?? assert.fail()
    return [migrates, contracts, ...statements.map(({ half, text }) => `${half}: ${text}`)]
  }
  const applied = async (): Promise<readonly unknown[]> =>
    (
      await postgres().admin<{ name: string; done: number | null }>(
        'select name, statements_done as done from stead.migrations order by applied_at, name',
      )
    ).map(({ name, done }) => (done === null ? name : [name, done]))
  const columns = async (): Promise<readonly unknown[]> =>
    (
      await postgres().admin<{ name: string }>(
        `select attname as name from pg_attribute where attrelid = to_regclass('a') and attnum > 0 and not attisdropped order by attnum`,
      )
    ).map(({ name }) => name)
  const indexes = async (): Promise<readonly unknown[]> =>
    (
      await postgres().admin<{ name: string; valid: boolean }>(
        `select indexrelid::regclass::text as name, indisvalid as valid from pg_index where indrelid = to_regclass('a') order by 1`,
      )
    ).map(({ name, valid }) => (valid ? name : `${name} (invalid)`))
  const waitUntil = async (condition: string): Promise<void> => {
    const deadlineMs = systemClock.monotonicMs() + 30_000
    while ((await postgres().admin(condition)).length === 0) {
      assert.ok(systemClock.monotonicMs() < deadlineMs, condition)
      await sleep(systemClock, 20)
    }
  }

  before(async () => {
    shared.postgres = await makeTestPostgres({ lockTimeoutMs: 2_000 })
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

  const first = { '0001_a.sql': 'create table a (b int);' }
  const halves = {
    ...first,
    '0002_c.expand.sql': 'alter table a add c int',
    '0002_c.contract.sql': 'alter table a drop b',
  }

  test('the first half runs, then the second; each is recorded, and what is due is told before', async () => {
    await postgres().migrations(first)
    assert.deepEqual(await pending(), ['stop', false, 'whole: create table a (b int)'])
    assert.equal(await prepare(), '0001_a')
    await postgres().migrations(halves)
    assert.deepEqual(await pending(), [
      'expand',
      true,
      'expand: alter table a add c int',
      'contract: alter table a drop b',
    ])
    assert.equal(await prepare('expand'), '0002_c (expanded)')
    assert.equal(await prepare('expand'), '0002_c (expanded)')
    assert.deepEqual(await columns(), ['b', 'c'])
    assert.deepEqual(await pending(), ['none', true, 'contract: alter table a drop b'])
    // The release before comes back, with code only.
    await postgres().migrations(first)
    assert.equal(await prepare(), '0002_c (expanded)')
    await postgres().migrations(halves)
    assert.equal(await prepare('all'), '0002_c')
    assert.deepEqual(await columns(), ['c'])
    assert.deepEqual(await applied(), ['0001_a.sql', '0002_c.expand.sql', '0002_c.contract.sql'])
    assert.deepEqual(await pending(), ['none', false])
  })

  test('a file without halves is refused where both releases are to run, and nothing was changed', async () => {
    await postgres().migrations({ ...halves, '0003_d.sql': 'drop table a' })
    await assert.rejects(prepare('expand'), {
      code: 'database.migration-needs-stop',
      message: /^0001_a\.sql, 0003_d\.sql: /,
    })
    assert.deepEqual(await applied(), [])
  })

  test('a second half that fails leaves the first one as it was', async () => {
    await postgres().migrations(first)
    await prepare()
    const broken = { ...halves, '0002_c.contract.sql': 'alter table a drop b; alter table a drop nope' }
    await postgres().migrations(broken)
    await prepare('expand')
    await assert.rejects(prepare('all'), { code: 'database.migration-failed', hint: /Nothing was changed\.$/ })
    assert.deepEqual(await columns(), ['b', 'c'])
    // It has never run, so it may still be mended.
    await postgres().migrations(halves)
    assert.equal(await prepare('all'), '0002_c')
  })

  test('a record from before there were halves is brought up to date where it is', async () => {
    await postgres().migrations(first)
    await prepare()
    await postgres().admin('alter table stead.migrations drop column statements_done')
    assert.deepEqual(await pending(), ['none', false])
    await postgres().migrations(halves)
    assert.equal(await prepare('expand'), '0002_c (expanded)')
    assert.deepEqual(await applied(), ['0001_a.sql', '0002_c.expand.sql'])
  })

  const rows = 'create table a (b int); insert into a select i from generate_series(1, 1000) i;'

  test('what cannot run in a transaction runs by itself, between the others', async () => {
    await postgres().migrations({
      '0001_a.sql': rows,
      '0002_i.expand.sql': 'create index concurrently "I 1" on a (b);\nvacuum a; reindex table concurrently a',
      '0003_c.sql': 'alter table a add c int',
    })
    assert.equal(await prepare(), '0003_c')
    assert.deepEqual(await indexes(), ['"I 1"'])
    assert.deepEqual(await applied(), ['0001_a.sql', '0002_i.expand.sql', '0003_c.sql'])
  })

  test('an index that cannot be made leaves nothing behind; what ran before it stands, and is named', async () => {
    const twice = `${rows} insert into a values (7)`
    await postgres().migrations({ '0001_a.sql': twice, '0002_i.sql': 'create unique index concurrently i on a (b)' })
    await assert.rejects(prepare(), {
      code: 'database.migration-failed',
      message: /^0002_i\.sql:1: could not create unique index/,
      hint: 'Key (b)=(7) is duplicated. What ran before it stands: 0001_a.sql.',
    })
    assert.deepEqual([await indexes(), await applied()], [[], ['0001_a.sql']])
    await postgres().migrations({ '0001_a.sql': twice, '0002_i.sql': 'create index concurrently i on a (b)' })
    assert.equal(await prepare(), '0002_i')
  })

  test('a crash in the middle is found: the index that was left half made is made anew', async () => {
    await postgres().migrations({ '0001_a.sql': rows })
    await prepare()
    await postgres().migrations({
      '0001_a.sql': rows,
      '0002_i.sql': 'create index concurrently i on a (b); create index concurrently j on a (b, b)',
    })
    await postgres().asConsumer('web', async (client) => {
      // An index that is made concurrently waits for transactions that have written.
      await client.query('begin; insert into a values (0)')
      const running = assert.rejects(prepare())
      await waitUntil(`select 1 from pg_index where indexrelid = to_regclass('i')`)
      assert.deepEqual(await indexes(), ['i (invalid)'])
      await postgres().resource.process().kill()
      await running
    })
    await postgres().provider.recover(postgres().resource.context)
    await postgres().resource.start()
    assert.deepEqual([await indexes(), await applied()], [['i (invalid)'], ['0001_a.sql', ['0002_i.sql', 0]]])
    assert.equal(await prepare(), '0002_i')
    assert.deepEqual(
      [await indexes(), await applied()],
      [
        ['i', 'j'],
        ['0001_a.sql', '0002_i.sql'],
      ],
    )
  })

  test('a session that is ended in the middle: it is told that a part may stand, and the next try goes on', async () => {
    await postgres().migrations({ '0001_a.sql': rows })
    await prepare()
    await postgres().migrations({ '0001_a.sql': rows, '0002_i.sql': 'create index concurrently i on a (b)' })
    await postgres().asConsumer('web', async (client) => {
      await client.query('begin; insert into a values (0)')
      const running = assert.rejects(prepare(), {
        code: 'database.migration-failed',
        retry: 'later',
        hint: 'What ran before it stands: a part of 0002_i.sql, which goes on at the next try.',
      })
      await waitUntil(`select 1 from pg_index where indexrelid = to_regclass('i')`)
      await postgres().admin(`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'stead_migrator'`)
      await running
    })
    assert.deepEqual([await indexes(), await applied()], [['i (invalid)'], ['0001_a.sql', ['0002_i.sql', 0]]])
    assert.equal(await prepare(), '0002_i')
    assert.deepEqual(await indexes(), ['i'])
  })

  test('an index of somebody else that cannot be used is not taken for the one that was asked for', async () => {
    const twice = `${rows} insert into a values (7)`
    await postgres().migrations({ '0001_a.sql': twice })
    await prepare()
    await postgres()
      .admin('create unique index concurrently i on a (b)')
      .catch(() => undefined)
    const file = { '0002_i.sql': 'create unique index concurrently if not exists i on a (b)' }
    await postgres().migrations({ '0001_a.sql': twice, ...file })
    await assert.rejects(prepare(), { message: '0002_i.sql:1: the index i is there and cannot be used' })
    assert.deepEqual(await applied(), ['0001_a.sql'])
  })

  test('a statement that ended and was not recorded is not run again', async () => {
    const files = { '0001_a.sql': rows, '0002_i.sql': 'create index concurrently i on a (b)' }
    await postgres().migrations(files)
    await prepare()
    await postgres().admin(`update stead.migrations set statements_done = 0 where name = '0002_i.sql'`)
    assert.deepEqual(await pending(), ['stop', false, 'whole: create index concurrently i on a (b)'])
    assert.equal(await prepare(), '0002_i')
    const dropped = { ...files, '0003_d.sql': 'drop index concurrently i' }
    await postgres().migrations(dropped)
    await prepare()
    await postgres().admin(`update stead.migrations set statements_done = 0 where name = '0003_d.sql'`)
    assert.equal(await prepare(), '0003_d')
  })
})
