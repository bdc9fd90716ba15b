/** Planning of migrations: what is due, what is refused, and how a failure is told. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { suite, test } from 'node:test'
import { migrationFailure, planMigrations } from './migrations.ts'
import type { MigrationFile } from './migrations.ts'
import { splitStatements } from './sql.ts'

const file = (name: string, text = 'select 1;'): MigrationFile => ({
  name,
  text,
  sha256: createHash('sha256').update(text).digest('hex'),
})
const namesOf = (files: readonly MigrationFile[], applied: readonly MigrationFile[] = []): readonly string[] =>
  planMigrations(files, applied).map((pending) => pending.file.name)

const [one, two, ten] = [file('0001_one.sql'), file('0002_two.sql', 'select 2'), file('10_ten.sql', 'select 10')]

test('what is due comes in the order of its numbers; gaps are allowed', () => {
  assert.deepEqual(namesOf([ten, two, one]), ['0001_one.sql', '0002_two.sql', '10_ten.sql'])
  assert.deepEqual(namesOf([ten, two, one], [one, two]), ['10_ten.sql'])
  assert.deepEqual(namesOf([one, two], [one, two]), [])
  assert.deepEqual(namesOf([]), [])
})

suite('refused, by name', () => {
  const cases: readonly (readonly [string, readonly MigrationFile[], readonly MigrationFile[], string, RegExp])[] = [
    ['a bad name', [file('orders.sql')], [], 'name', /orders\.sql/],
    ['a number twice', [one, file('1_other.sql')], [], 'duplicate', /0001_one\.sql and 1_other\.sql/],
    ['an applied file that was changed', [file('0001_one.sql', 'select 3')], [one], 'changed', /0001_one\.sql/],
    ['an applied file that was removed', [two], [one], 'removed', /0001_one\.sql/],
    ['a new file below an applied one', [one, two, ten], [one, ten], 'order', /0002_two\.sql is new, but 10_ten\.sql/],
  ]
  for (const [what, files, applied, code, message] of cases) {
    test(what, () =>
      assert.throws(() => planMigrations(files, applied), { code: `database.migration-${code}`, message }),
    )
  }
  test('a renamed file: the hint says which', () => {
    const renamed = { ...one, name: '0003_new.sql' }
    assert.throws(() => planMigrations([renamed], [one]), { code: 'database.migration-removed', hint: /0003_new\.sql/ })
  })
})

suite('what cannot run in a transaction is refused with its line', () => {
  const refused = [
    'begin',
    'BEGIN WORK',
    'start transaction',
    'commit',
    'end',
    'rollback to a',
    'abort',
    `prepare transaction 'x'`,
    'create index concurrently i on t (a)',
    'create unique index concurrently on t (a)',
    'drop index concurrently i',
    'reindex index concurrently i',
    'reindex (verbose) table concurrently t',
    'reindex database d',
    'vacuum',
    'vacuum (full) t',
    'cluster',
    'create database d',
    'drop database d',
    `create tablespace t location '/x'`,
    `alter system set fsync = 'off'`,
    'alter table t detach partition p concurrently',
    'copy t from stdin',
    'copy t (a, b) from stdin with (format csv)',
    'copy (select 1) to stdout',
    "create subscription s connection '' publication p",
    '/* x */ Vacuum',
  ]
  for (const text of refused) {
    test(text, () =>
      assert.throws(() => planMigrations([file('0001_a.sql', `select 1;\n\n  ${text};`)], []), {
        code: 'database.migration-refused',
        message: /^0001_a\.sql:3: .* cannot be part of a migration\n {2}/,
      }),
    )
  }
})

suite('what only looks like it is not', () => {
  const allowed = [
    `select 'vacuum'`,
    'create table "vacuum" (a int)',
    'create index on t (a)',
    'refresh materialized view concurrently v',
    'do $$ begin perform 1; end $$',
    'create function f() returns int begin atomic select 1; end',
    'cluster t using i',
    `comment on table t is 'copy from stdin'`,
    'reindex table t',
    'alter table t add column begin int',
  ]
  for (const text of allowed) test(text, () => assert.equal(namesOf([file('0001_a.sql', text)]).length, 1))
})

test('a failure is told with file, line, the line itself and a caret', () => {
  const text = 'create table a (b int);\n\ncreate table c (\n\td integer references nowhere (id)\n);\n'
  const statement = splitStatements(text)[1]
  assert.ok(statement !== undefined)
  const failure = { message: 'no such table', detail: 'Some detail.', hint: null, sqlState: '42P01', position: 18 + 11 }
  const error = migrationFailure(file('0002_c.sql', text), statement, failure, null)
  assert.equal(error.message, '0002_c.sql:4: no such table\n  \td integer references nowhere (id)\n  \t          ^')
  assert.equal(error.hint, 'Some detail. Nothing was changed.')
  assert.equal(error.retry, 'never')
  assert.equal(
    migrationFailure(file('0002_c.sql', text), statement, { ...failure, sqlState: '55P03' }, null).retry,
    'later',
  )
})

test('of a very long line only the part around the place is shown', () => {
  const text = `select ${'1, '.repeat(2000)}oops${', 1'.repeat(2000)}`
  const statement = splitStatements(text)[0]
  assert.ok(statement !== undefined)
  const failure = { message: 'no', detail: null, hint: null, sqlState: '42703', position: 7 + 6000 + 1 }
  const [, shown = '', caret = ''] = migrationFailure(file('1_a.sql', text), statement, failure, null).message.split(
    '\n',
  )
  assert.ok(shown.length < 200)
  assert.equal(shown.slice(caret.length - 1).slice(0, 4), 'oops')
})
