/** Migrations that are tried on a copy of real data: what is measured, what is refused, and what becomes of the copy. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import type { ProviderContext, Trial } from '../provider/index.ts'
import { makeTestPostgres } from './conformance.ts'
import type { TestPostgres } from './conformance.ts'
import { postgresProvider } from './provider.ts'

suite('migrations on a copy', () => {
  const shared: { postgres?: TestPostgres; number: number } = { number: 0 }
  const postgres = (): TestPostgres => {
    assert.ok(shared.postgres !== undefined)
    return shared.postgres
  }
  const first = { '0001_a.sql': 'create table a (b int); insert into a select i from generate_series(1, 1000) i;' }
  const copy = async (): Promise<ProviderContext> => {
    const dataDir = await postgres().checkpoint(`copy-${shared.number++}`)
    return { ...postgres().resource.context, dataDir }
  }
  const rehearse = async (context: ProviderContext, lockMsMax: number): Promise<Trial> =>
    (await postgres().provider.rehearse?.(context, lockMsMax)) ?? assert.fail()

  before(async () => {
    shared.postgres = await makeTestPostgres()
    const { resource, provider } = shared.postgres
    await resource.start()
    await shared.postgres.migrations(first)
    await provider.prepare(resource.context)
  })
  after(() => shared.postgres?.[Symbol.asyncDispose]())

  test('each statement is measured, with the locks that it holds to the end of its transaction', async () => {
    await postgres().migrations({
      ...first,
      '0002_c.expand.sql': `alter table a add c int;\nupdate a set c = b;\nselect pg_sleep(0.6);\ncreate table made (d int)`,
      '0002_c.contract.sql': 'create index on a (c)',
      '0003_i.expand.sql': 'create index concurrently i on a (b)',
    })
    const context = await copy()
    const trial = await rehearse(context, 500)
    assert.deepEqual(
      trial.statements.map(({ file, line, text, locks }) => [
        `${file}:${line}`,
        text,
        ...locks.map(({ mode, table }) => `${mode} ${table}`),
      ]),
      [
        ['0002_c.expand.sql:1', 'alter table a add c int', 'AccessExclusiveLock a'],
        ['0002_c.expand.sql:2', 'update a set c = b', 'row locks a'],
        ['0002_c.expand.sql:3', 'select pg_sleep(0.6)'],
        ['0002_c.expand.sql:4', 'create table made (d int)'],
        ['0003_i.expand.sql:1', 'create index concurrently i on a (b)'],
        ['0002_c.contract.sql:1', 'create index on a (c)', 'ShareLock a'],
      ],
    )
    const [alter, , slept] = trial.statements
    assert.ok((slept?.durationMs ?? 0) >= 550 && (alter?.locks[0]?.heldMs ?? 0) >= 550, JSON.stringify(trial))
    assert.match(
      trial.refusals[0] ?? '',
      /^0002_c\.expand\.sql:1: alter table a add c int: holds AccessExclusiveLock on a for \d+ ms, and 500 ms is the most: readers and writers would wait$/,
    )
    assert.equal(trial.refusals.length, 1)
    // The copy is migrated and at rest; the live data was not touched.
    assert.deepEqual(await rehearse(context, 1), { statements: [], refusals: [] })
    assert.deepEqual(await postgres().admin(`select to_regclass('made') as made`), [{ made: null }])
  })

  test('rows that a transaction keeps others from changing are counted, and refused when it takes too long', async () => {
    await postgres().migrations({
      ...first,
      '0002_f.expand.sql': [
        'create table own (d int)',
        'insert into own select i from generate_series(1, 9) i',
        'update own set d = 0',
        'insert into a values (0)',
        'do $$ begin update a set b = b where b between 1 and 300; delete from a where b = 999; end $$',
        'select pg_sleep(0.4)',
        'update a set b = b where b between 1 and 40',
      ].join(';\n'),
    })
    const { statements, refusals } = await rehearse(await copy(), 300)
    assert.deepEqual(
      statements.flatMap(({ line, locks }) => locks.map(({ table, mode, rows }) => [line, table, mode, rows])),
      [
        [5, 'a', 'row locks', 301],
        [7, 'a', 'row locks', 40],
      ],
    )
    assert.equal(refusals.length, 1)
    assert.match(
      refusals[0] ?? '',
      /^0002_f\.expand\.sql:5: do .*: holds row locks \(301 rows\) on a for \d+ ms, and 300 ms is the most: who changes one of these would wait$/,
    )
  })

  test('rows that are selected for update are told of; how many is not known', async () => {
    await postgres().migrations({
      ...first,
      '0002_s.expand.sql': [
        'select b from a where b < 10',
        'create table own (d int)',
        'select d from own for update',
        'select b from a where b < 10 for no key update',
        'do $$ begin perform b from a where b = 11 FOR UPDATE; perform pg_sleep(0.4); end $$',
      ].join(';\n'),
    })
    const { statements, refusals } = await rehearse(await copy(), 300)
    assert.deepEqual(
      statements.flatMap(({ line, locks }) => locks.map(({ table, mode, rows }) => [line, table, mode, rows])),
      [
        [4, 'a', 'row locks', undefined],
        [5, 'a', 'row locks', undefined],
      ],
    )
    assert.equal(refusals.length, 1)
    assert.match(
      refusals[0] ?? '',
      /^0002_s\.expand\.sql:[45]: .*: holds row locks on a for \d+ ms, and 300 ms is the most: who changes one of these would wait$/,
    )
  })

  test('a long lock outside of a transaction is seen while it is held', async () => {
    await postgres().migrations({
      ...first,
      '0002_f.sql':
        'create function slow(int) returns int immutable language plpgsql as $$ begin perform pg_sleep(0.001); return $1; end $$; create index on a (slow(b)) where b <= 300',
      '0003_v.sql': 'vacuum full a',
    })
    const trial = await rehearse(await copy(), 100)
    assert.ok(trial.refusals.length === 1 && /on a for \d+ ms/.test(trial.refusals[0] ?? ''), JSON.stringify(trial))
    const vacuum = trial.statements.at(-1)
    assert.ok((vacuum?.locks.find(({ mode }) => mode === 'AccessExclusiveLock')?.heldMs ?? 0) > 100)
  })

  test('what fails is told as on the live data, and the copy can be tried again', async () => {
    await postgres().migrations({
      ...first,
      '0002_c.expand.sql': 'alter table a add c int;\nalter table nope add d int',
    })
    const context = await copy()
    await assert.rejects(rehearse(context, 2_000), {
      code: 'database.migration-failed',
      message: /^0002_c\.expand\.sql:2: relation "nope" does not exist/,
    })
    await postgres().migrations({ ...first, '0002_c.expand.sql': 'alter table a add c int' })
    assert.equal((await rehearse(context, 2_000)).statements.length, 1)
  })

  test('a migration that never ends is ended, also one that has lifted its own limit', async () => {
    await postgres().migrations({ ...first, '0002_c.sql': `set statement_timeout = 0;\nselect pg_sleep(3600)` })
    const impatient = postgresProvider({ binaries: postgres().binaries, copyTimeoutMs: 1_500 })
    await assert.rejects(async () => await impatient.rehearse?.(await copy(), 2_000), {
      code: 'database.rehearsal-timeout',
      message: '0002_c.sql:2: select pg_sleep(3600) has not ended on a copy of the data: all that is due has 2 s',
    })
  })
})
