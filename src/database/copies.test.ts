/** Two states of one database on real servers: what the comparison says beside rows, what is counted, and rows that are brought back. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { sleep, systemClock } from '../base/index.ts'
import type { Position } from '../provider/index.ts'
import { makeTestPostgres } from './conformance.ts'
import type { TestPostgres } from './conformance.ts'

suite('a state and a later one', () => {
  const shared: { postgres?: TestPostgres; earlier: string; later: string } = { earlier: '', later: '' }
  const postgres = (): TestPostgres => {
    assert.ok(shared.postgres !== undefined)
    return shared.postgres
  }
  const position = async (): Promise<Position> =>
    (await postgres().provider.position?.(postgres().resource.context)) ?? assert.fail()
  const replay = async (table: string, where: string | null): Promise<number> =>
    (await postgres().provider.replay?.(postgres().resource.context, shared.later, { table, where })) ?? assert.fail()

  before(async () => {
    shared.postgres = await makeTestPostgres()
    const { resource, provider } = shared.postgres
    await resource.start()
    await postgres().migrations({
      '0001_a.sql': `
        create schema crm;
        create type mood as enum ('good', 'bad');
        create table crm.customers (id int generated always as identity primary key, name text unique, gone text);
        create table orders (
          id bigint, shop char(3) default 'abc', customer int constraint orders_of_customer references crm.customers,
          note text, twice int generated always as (length(note) * 2) stored, data jsonb, raw bytea, tags text[], price numeric(9, 2),
          mood mood, at timestamptz, ratio float8, primary key (shop, id));
        create table keyless (a int);
        create table parts (id int primary key) partition by range (id);
        create table parts_1 partition of parts for values from (0) to (100);
        create unlogged table cache (a int);
        create materialized view totals as select count(*) from orders;
        grant usage on schema crm to shop_1_users; grant all on all tables in schema crm to shop_1_users;`,
    })
    await provider.prepare(resource.context)
    await postgres().asConsumer('web', (client) =>
      client.query(`insert into crm.customers (name) values ('ann');
        insert into orders (id, customer, note) values (1, 1, 'kept');
        insert into stead.effects (key, kind, what, state, sent_at) values ('a', 'mail', 'known', 'sent', now()), ('b', 'mail', 'planned', 'planned', null)`),
    )
    shared.earlier = await postgres().checkpoint('earlier')
    await postgres().asConsumer('web', (client) =>
      client.query(`insert into crm.customers (name) values ('bob');
        insert into orders values (2, 'abc', 2, 'it''s', default, 'null', '\\x00ff', '{a,"b c",NULL}', 12.50, 'bad', '2026-11-29 12:00:00.123456+00', 'NaN'),
          (3, 'xyz', 1, null, default, '{"a": [1, "\u00e4"]}', null, '{}', null, null, null, 1e-300);
        update orders set note = 'changed' where id = 1;
        insert into keyless values (1); insert into parts values (1), (2); delete from parts where id = 2;
        update stead.effects set state = 'sent', sent_at = '2026-11-29 12:00:00+00', compensation = 'say sorry' where key = 'b';
        insert into stead.effects (key, kind, what, state, sending_at) values ('c', 'mail', 'new', 'sending', '2026-11-29 12:00:01+00'),
          ('d', 'mail', 'later', 'planned', null), ('e', 'mail', 'refused', 'failed', null);
        select lo_create(0)`),
    )
    shared.later = await postgres().checkpoint('later')
  })
  after(() => shared.postgres?.[Symbol.asyncDispose]())

  test('a comparison lists effects that are not remembered, and what it leaves out', async () => {
    const { provider, resource } = postgres()
    const diff = await provider.diff(resource.context, shared.earlier, shared.later)
    assert.deepEqual(diff.effects, [
      { key: 'b', what: 'planned', state: 'sent', compensation: 'say sorry', timeMs: Date.UTC(2026, 10, 29, 12) },
      { key: 'c', what: 'new', state: 'possibly-sent', compensation: null, timeMs: Date.UTC(2026, 10, 29, 12, 0, 1) },
    ])
    assert.deepEqual(diff.gaps, [
      'Large objects are not compared: there were 0, and are 1.',
      'Unlogged tables are emptied by a crash and by a return: cache.',
      'Materialized views are not compared: totals.',
      'Sequences have given out numbers, and go on past them after a return: crm.customers_id_seq.',
    ])
    assert.deepEqual(
      diff.items.map(({ name, added, removed, changed }) => [name, added, removed, changed]),
      [
        ['crm.customers', 1, 0, 0],
        ['keyless', 1, 0, 0],
        ['orders', 2, 0, 1],
        ['parts', 1, 0, 0],
      ],
    )
  })

  test('what changes is counted as it happens; a crash begins anew and that is said', async () => {
    // Sessions hand in their counts a little after they have committed.
    const expected = [
      { name: 'crm.customers', added: 2, removed: 0, changed: 0 },
      { name: 'keyless', added: 1, removed: 0, changed: 0 },
      { name: 'orders', added: 3, removed: 0, changed: 1 },
      { name: 'parts', added: 2, removed: 1, changed: 0 },
    ]
    const deadlineMs = systemClock.monotonicMs() + 30_000
    let now = await position()
    while (JSON.stringify(now.counts) !== JSON.stringify(expected) && systemClock.monotonicMs() < deadlineMs) {
      await sleep(systemClock, 50)
      now = await position()
    }
    assert.deepEqual(now.counts, expected)
    assert.match(now.position, /^[0-9A-F]+\/[0-9A-F]+$/)
    const { resource, provider, host } = postgres()
    await resource.stop()
    await host.copy(shared.earlier, resource.context.dataDir)
    await provider.recover(resource.context)
    await resource.start()
    const anew = await position()
    assert.ok(anew.countedSinceMs > now.countedSinceMs, `${anew.countedSinceMs} and ${now.countedSinceMs}`)
    assert.deepEqual(anew.counts, [])
  })

  test('rows come back as they were, each once; what is there stays', async () => {
    await assert.rejects(replay('orders', 'customer = 2'), {
      code: 'database.replay-refused',
      message: /violates foreign key constraint "orders_of_customer"/,
      hint: 'Key (customer)=(2) is not present in table "customers". Bring the rows of crm.customers in first. Nothing was changed.',
    })
    assert.equal(await replay('crm.customers', `name like 'b%' -- bob`), 1)
    assert.equal(await replay('orders', null), 2)
    assert.equal(await replay('orders', null), 0)
    assert.equal(await replay('parts', 'id in (select customer from orders)'), 1)
    const rows = await postgres().admin<{ row: string }>('select o::text as row from orders o order by id')
    assert.deepEqual(
      rows.map(({ row }) => row),
      [
        '(1,abc,1,kept,8,,,,,,,)',
        String.raw`(2,abc,2,it's,8,null,"\\x00ff","{a,""b c"",NULL}",12.50,bad,"2026-11-29 12:00:00.123456+00",NaN)`,
        '(3,xyz,1,,,"{""a"": [1, ""ä""]}",,{},,,,1e-300)',
      ],
    )
  })

  test('a unique name that is taken, a table without a key, one that is not there: told, and nothing was changed', async () => {
    await postgres().admin(`update crm.customers set id = default, name = 'bob2' where name = 'nobody'`)
    await postgres().admin(`delete from orders where customer = 2; delete from crm.customers where name = 'bob';
      insert into crm.customers (name) values ('x'), ('bob')`)
    await postgres().admin(`delete from crm.customers where id = 2`)
    await assert.rejects(replay('crm.customers', null), {
      code: 'database.replay-refused',
      message: /customers_name_key/,
      hint: 'Key (name)=(bob) already exists. Nothing was changed.',
    })
    await assert.rejects(replay('keyless', null), { code: 'database.replay-no-key' })
    for (const table of ['nope', 'stead.effects', 'orders; drop table orders', 'totals'])
      await assert.rejects(replay(table, null), { code: 'database.replay-table' })
  })

  for (const [what, where, message] of [
    ['more than one statement', 'true; drop table orders', /syntax error at or near ";"/],
    ['a way out of the parentheses', 'true); drop table orders; select (1', /not one statement/],
    ['a function that writes', `(select lo_create(0)) > 0`, /read-only/],
    ['passwords', `exists (select from pg_authid where rolpassword like 'S%')`, /permission denied/],
    ['another role', `set_config('role', 'stead_admin', false) = ''`, /permission denied/],
  ] as const) {
    test(`a condition can do nothing but read the app's tables: ${what}`, async () => {
      await assert.rejects(replay('orders', where), { code: 'database.replay-where', message })
    })
  }
})
