/** What outlives a return to an earlier state, on a real server: numbers that were given out, and what was done outside. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import { after, before, suite, test } from 'node:test'
import { makeTestPostgres } from './conformance.ts'
import type { TestPostgres } from './conformance.ts'

suite('a return to an earlier state', () => {
  const shared: { postgres?: TestPostgres; dir: string; earlier: string } = { dir: '', earlier: '' }
  const postgres = (): TestPostgres => {
    assert.ok(shared.postgres !== undefined)
    return shared.postgres
  }
  const schema = {
    '0001_a.sql': `create table orders (id int generated always as identity, note text);
      create sequence down increment by -5 minvalue -1000 maxvalue 100 start 100;
      create sequence small as smallint; create sequence idle; create sequence "Odd Name";`,
  }
  const later = { ...schema, '0002_b.sql': 'create table invoices (id serial, note text); drop sequence idle' }
  /** Puts the data back as it was at the first checkpoint, and starts. */
  const putBack = async (): Promise<void> => {
    const { resource, provider, host } = postgres()
    await resource.stop()
    await host.copy(shared.earlier, resource.context.dataDir)
    await provider.recover(resource.context)
    await resource.start()
  }
  const carry = async (dir: string, generation: number): Promise<readonly string[]> =>
    (await postgres().provider.carry?.(postgres().resource.context, dir, generation)) ?? assert.fail()
  const next = async (sequence: string): Promise<number> => {
    const [row] = await postgres().admin<{ next: string }>(`select nextval('${sequence}') as next`)
    return Number(row?.next)
  }
  const ledger = async (): Promise<readonly unknown[]> =>
    (
      await postgres().admin<{ key: string; state: string; attempts: number; by: string | null }>(
        'select key, state, attempts, abandoned_by_generation as by from stead.effects order by key',
      )
    ).map(({ key, state, attempts, by }) => [key, state, attempts, by === null ? null : Number(by)])

  before(async () => {
    shared.dir = await mkdtemp(join(tmpdir(), 'stead-carry-'))
    shared.postgres = await makeTestPostgres()
    const { resource, provider } = shared.postgres
    await resource.start()
    await postgres().migrations(schema)
    await provider.prepare(resource.context)
    await postgres().asConsumer('web', (client) =>
      client.query(`insert into orders (note) select 'first' from generate_series(1, 10);
        insert into stead.effects (key, kind, what, state) values
          ('known-planned', 'mail', 'a', 'planned'), ('known-sending', 'mail', 'b', 'sending'), ('pruned', 'mail', 'c', 'sent')`),
    )
    shared.earlier = await postgres().checkpoint('earlier')
    await postgres().migrations(later)
    await provider.prepare(resource.context)
    await postgres().asConsumer('web', (client) =>
      client.query(`insert into orders (note) select 'second' from generate_series(1, 90);
        insert into invoices (note) select 'x' from generate_series(1, 7);
        select nextval('down') from generate_series(1, 3); select nextval('small'); select nextval('"Odd Name"');
        update stead.effects set state = 'sent', sent_at = now(), attempts = 2 where key = 'known-planned';
        insert into stead.effects (key, kind, what, state, payload) values ('new-sent', 'mail', 'd', 'sent', '{"a": [1]}'),
          ('new-sending', 'mail', 'e', 'sending', null), ('new-planned', 'mail', 'f', 'planned', null)`),
    )
    await shared.postgres.admin(`delete from stead.effects where key = 'pruned'`)
    await provider.abandon?.(resource.context, shared.dir)
    await provider.abandon?.(resource.context, shared.dir)
  })
  after(async () => {
    await shared.postgres?.[Symbol.asyncDispose]()
    await rm(shared.dir, { recursive: true })
  })

  test('no number is given out twice, and what was sent is known; carried once', async () => {
    await putBack()
    await postgres().migrations(schema)
    assert.deepEqual(await carry(shared.dir, 2), [
      'sequences were moved on by a large step, because it is not known what they had given out: public.idle',
    ])
    assert.deepEqual(await ledger(), [
      ['known-planned', 'sent', 2, null],
      ['known-sending', 'sending', 0, null],
      ['new-sending', 'sending', 0, 2],
      ['new-sent', 'sent', 0, 2],
      ['pruned', 'sent', 0, null],
    ])
    assert.deepEqual(await postgres().admin(`select payload from stead.effects where key = 'new-sent'`), [
      { payload: { a: [1] } },
    ])
    assert.deepEqual([await next('orders_id_seq'), await next('down'), await next('small')], [101, 85, 2])
    assert.deepEqual([await next('"Odd Name"'), await next('idle')], [2, 1_000_002])
    assert.deepEqual(await carry(shared.dir, 2), [])
    assert.equal(await next('idle'), 1_000_003)
    assert.deepEqual(await postgres().admin('select count(*)::int as orders from orders'), [{ orders: 10 }])
  })

  test('a sequence that is undone and made again goes on where it was, also after one more return', async () => {
    const again = join(shared.dir, 'again')
    await postgres().provider.abandon?.(postgres().resource.context, again)
    await putBack()
    await carry(again, 3)
    await postgres().migrations({ ...schema, '0002_c.sql': 'create table invoices (id serial, note text)' })
    await postgres().provider.prepare(postgres().resource.context)
    assert.equal(await next('invoices_id_seq'), 8)
    assert.deepEqual(await postgres().admin('select * from stead.missed_sequences'), [])
    assert.ok((await next('idle')) > 1_000_003)
  })

  test('a state that could not be asked: every sequence is moved far on, as far as there is room, and that is said', async () => {
    const orders = await next('orders_id_seq')
    const notes = await carry(join(shared.dir, 'nothing'), 4)
    assert.match(notes.join('\n'), /could not be asked\nsequences were moved on by a large step.*public\."Odd Name", /)
    assert.deepEqual([await next('orders_id_seq'), await next('small')], [orders + 1_000_001, 3_279])
    assert.ok((await next('down')) >= -1000)
  })

  test('what makes no sense is refused, and nothing was carried', async () => {
    const dir = join(shared.dir, 'bad')
    await postgres().provider.abandon?.(postgres().resource.context, dir)
    const path = join(dir, 'db.carried.jsonl')
    const text = await readFile(path, 'utf8')
    for (const bad of [text.replace('"version":1', '"version":9'), '', '{']) {
      await writeFile(path, bad)
      await assert.rejects(carry(dir, 5), { code: 'database.carry-failed', message: /makes no sense/ })
    }
    await writeFile(path, text)
    assert.deepEqual(await carry(dir, 5), [])
  })

  test('a state from before there was a database can be returned to', async () => {
    await postgres().admin('drop schema stead cascade')
    assert.deepEqual(await carry(join(shared.dir, 'bad'), 6), [])
  })
})
