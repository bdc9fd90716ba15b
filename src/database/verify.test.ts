/** Copies that are whole and copies that are not: each flipped byte is found, wherever it lies. */
import assert from 'node:assert/strict'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { isSteadError } from '../base/index.ts'
import { makeTestPostgres } from './conformance.ts'
import type { TestPostgres } from './conformance.ts'

suite('a copy is proved', () => {
  const shared: { postgres?: TestPostgres; copy: string } = { copy: '' }
  const postgres = (): TestPostgres => {
    assert.ok(shared.postgres !== undefined)
    return shared.postgres
  }
  const verify = async (probe: string | null): Promise<readonly string[]> => {
    const context = { ...postgres().resource.context, dataDir: shared.copy }
    return ((await postgres().provider.verify?.(context, probe)) ?? assert.fail()).checks
  }
  const pathOf = async (relation: string): Promise<string> => {
    const [row] = await postgres().admin<{ path: string }>(`select pg_relation_filepath('${relation}') as path`)
    return join(shared.copy, 'pgdata', row?.path ?? '')
  }
  /** Flips one bit, does the work, and flips it back. */
  const damaged = async (path: string, offset: number, work: () => Promise<void>): Promise<void> => {
    const flip = async (): Promise<void> => {
      await using file = await open(path, 'r+')
      const byte = Buffer.alloc(1)
      await file.read(byte, 0, 1, offset)
      byte.writeUInt8(byte.readUInt8(0) ^ 4)
      await file.write(byte, 0, 1, offset)
    }
    await flip()
    await work()
    await flip()
  }

  before(async () => {
    shared.postgres = await makeTestPostgres({ ownsSchema: true })
    const { resource, provider } = shared.postgres
    await resource.start()
    await provider.prepare(resource.context)
    await postgres().asConsumer('web', (client) =>
      client.query(`create table orders (id int primary key, note text, tags int[]);
        insert into orders select i, repeat('x', 200), array[i] from generate_series(1, 2000) i;
        insert into orders select 3000, string_agg(md5(i::text), ''), null from generate_series(1, 2000) i;
        create index by_tag on orders using gin (tags)`),
    )
    shared.copy = await postgres().checkpoint('copy')
  })
  after(() => shared.postgres?.[Symbol.asyncDispose]())

  test('one that is whole: what was checked is said, and the probe is asked', async () => {
    const checks = await verify('select count(*) = 2001 from orders')
    assert.equal(checks[0], 'a server started on it and recovered')
    assert.match(
      checks.join('\n'),
      /^database shop_1: \d+ tables and \d+ indexes were read whole, and their structure holds$/m,
    )
    assert.equal(checks.at(-2), 'every page had the checksum it was written with')
    assert.equal(checks.at(-1), 'the probe holds: select count(*) = 2001 from orders')
  })

  for (const [probe, message] of [
    ['select count(*) > 2001 from orders', /does not hold: it answered false/],
    ['select 1 from orders where false', /it answered no row/],
    ['select 1; select 2', /not one statement/],
    ['delete from orders', /permission denied|read-only/],
  ] as const) {
    test(`a probe that does not hold: ${probe}`, async () => {
      await assert.rejects(verify(probe), { code: 'database.probe-failed', message })
    })
  }

  test('one flipped bit is found: in a table, in what it has moved out, in each kind of index', async () => {
    const [toast] = await postgres().admin<{ name: string }>(
      `select reltoastrelid::regclass::text as name from pg_class where relname = 'orders'`,
    )
    for (const relation of ['orders', toast?.name ?? '', 'orders_pkey', 'by_tag']) {
      await damaged(await pathOf(relation), 8192 + 5000, async () => {
        await assert.rejects(verify(null), (error) => {
          assert.ok(isSteadError(error), String(error))
          assert.match(
            `${error.code} ${error.message}`,
            /database\.corrupt .*(?:table|index) \S+ of shop_1: invalid page in block 1 /,
          )
          return true
        })
      })
    }
  })
})
