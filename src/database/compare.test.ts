/** The diff of two data directories on real data: every kind of change, and what is said when tables are too large. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeTestPostgres } from './conformance.ts'
import { postgresProvider } from './provider.ts'

test('rows and tables that came, went and changed are counted; the same state differs in nothing', async () => {
  await using postgres = await makeTestPostgres({ ownsSchema: true })
  const { provider, resource, host } = postgres
  const state = async (name: string): Promise<string> => {
    await using _rest = await provider.quiesce(resource.context)
    await using _frozen = await resource.process().freeze()
    await host.copy(resource.context.dataDir, join(host.dir, name))
    return join(host.dir, name)
  }
  await resource.start()
  const empty = await state('empty')
  await postgres.asConsumer('web', (client) =>
    client.query(`
      create table keyed (id int primary key, name text, tag text collate "de-x-icu");
      insert into keyed select i, 'name ' || i, 'ä' || i from generate_series(1, 12000) i;
      create table pair (a text, b uuid, c int, primary key (b, a));
      insert into pair select 'a' || i, gen_random_uuid(), i from generate_series(1, 100) i;
      create table plain (a int); insert into plain select i % 3 from generate_series(1, 30) i;
      create table dropped (a int); insert into dropped values (1), (2);
      create table widened (id int primary key, a int); insert into widened select i, i from generate_series(1, 10) i;
      create table parts (id int primary key) partition by range (id);
      create table parts_1 partition of parts for values from (0) to (100); insert into parts values (1), (2);
      create schema s; create table s.same (id int primary key, j jsonb); insert into s.same values (1, '{"a": null}');
      create table untouched ()`),
  )
  const before = await state('before')
  await postgres.asConsumer('web', (client) =>
    client.query(`
      delete from keyed where id <= 5; update keyed set name = 'new' where id between 6 and 12;
      insert into keyed values (20001, 'x', null), (20002, null, 'x');
      update pair set c = -c where c > 98;
      update plain set a = 7 where ctid = (select min(ctid) from plain);
      drop table dropped; create table made (a int); insert into made values (1), (2), (3);
      alter table widened add column b int; update widened set b = 1 where id = 3; alter table widened alter a type bigint;
      insert into parts values (3); delete from parts where id = 1;
      update s.same set j = '{}'`),
  )
  const after = await state('after')
  const change = (name: string, added: number, removed: number, changed: number): object => ({
    name,
    added,
    removed,
    changed,
  })
  const diff = await provider.diff(resource.context, before, after)
  assert.deepEqual(diff, {
    exact: true,
    items: [
      change('dropped', 0, 2, 0),
      change('keyed', 2, 5, 7),
      change('made', 3, 0, 0),
      change('pair', 0, 0, 2),
      change('parts', 1, 1, 0),
      change('plain', 1, 1, 0),
      change('s.same', 0, 0, 1),
      change('widened', 0, 0, 1),
    ],
  })
  const same = join(host.dir, 'same')
  await host.copy(after, same)
  assert.deepEqual(await provider.diff(resource.context, after, same), { items: [], exact: true })
  const fromEmpty = await provider.diff(resource.context, empty, before)
  assert.deepEqual(
    fromEmpty.items.find((item) => item.name === 'keyed'),
    change('keyed', 12_000, 0, 0),
  )

  const hasty = postgresProvider({ binaries: postgres.binaries, diffRowsMax: 1_000 })
  const counted = await hasty.diff(resource.context, before, after)
  assert.equal(counted.exact, false)
  assert.deepEqual(
    counted.items.find((item) => item.name === 'keyed'),
    change('keyed', 0, 3, 0),
  )
})

test('metrics tell what is there', async () => {
  await using postgres = await makeTestPostgres({ ownsSchema: true })
  const { provider, resource } = postgres
  await resource.start()
  const metric = async (name: string): Promise<number> =>
    (await provider.metrics(resource.context)).find((candidate) => candidate.name === name)?.value ?? Number.NaN
  await postgres.asConsumer('web', async (client) => {
    const sizeBefore = await metric('postgres_size_bytes')
    const walBefore = await metric('postgres_wal_bytes_total')
    await client.query(`create table a (b text); insert into a select repeat('x', 100) from generate_series(1, 20000)`)
    assert.ok((await metric('postgres_size_bytes')) > sizeBefore + 2_000_000)
    assert.ok((await metric('postgres_wal_bytes_total')) > walBefore + 2_000_000)
    assert.equal(await metric('postgres_connections'), 1)
    assert.equal(await metric('postgres_oldest_transaction_seconds'), 0)
    await client.query('begin; select 1')
    await client.query('select pg_sleep(0.2)')
    assert.ok((await metric('postgres_oldest_transaction_seconds')) >= 0.2)
    await client.query('rollback')
  })
  assert.equal(await metric('postgres_connections_max'), 50)
  const ratio = await metric('postgres_cache_hit_ratio')
  assert.ok(ratio > 0 && ratio <= 1)
})
