/** Planning of migrations: what is due, what is refused, and how a failure is told. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { suite, test } from 'node:test'
import { migrationFailure } from './failures.ts'
import { pendingOf, planMigrations, schemaName } from './migrations.ts'
import type { MigrationFile } from './migrations.ts'
import { splitStatements } from './sql.ts'
import { outsiderOf } from './statements.ts'

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

suite('what has no place in a migration is refused with its line', () => {
  const refused = [
    'begin',
    'BEGIN WORK',
    'start transaction',
    'commit',
    'end',
    'rollback to a',
    'abort',
    `prepare transaction 'x'`,
    'create database d',
    'drop database d',
    `create tablespace t location '/x'`,
    `alter system set fsync = 'off'`,
    'copy t from stdin',
    'copy t (a, b) from stdin with (format csv)',
    'copy (select 1) to stdout',
    "create subscription s connection '' publication p",
    'create unique index concurrently on t (a)',
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

suite('what cannot run in a transaction has a file of its own', () => {
  const outside = [
    'create index concurrently i on t (a)',
    'drop index concurrently i',
    'reindex index concurrently i',
    'reindex (verbose) table concurrently t',
    'reindex database d',
    'vacuum',
    'vacuum (full) t',
    'cluster',
    'alter table t detach partition p concurrently',
    '/* x */ Vacuum',
  ]
  for (const text of outside) {
    test(text, () => {
      assert.throws(() => planMigrations([file('0001_a.sql', `select 1;\n  ${text};`)], []), {
        code: 'database.migration-refused',
        message: /^0001_a\.sql:2: this cannot run in a transaction, and other statements of the file do\n/,
      })
      const [pending] = planMigrations([file('0001_a.sql', `${text}; ${text}`)], [])
      assert.deepEqual([pending?.alone, pending?.statements.length], [true, 2])
    })
  }

  test('one that was begun is due from where it stopped, and must not change', () => {
    const index = file('0001_a.sql', 'vacuum a; vacuum b')
    const begun = { ...index, statementsDone: 1 }
    assert.equal(planMigrations([index], [begun])[0]?.done, 1)
    assert.deepEqual(
      pendingOf([index], [begun]).statements.map(({ text }) => text),
      ['vacuum b'],
    )
    assert.throws(() => planMigrations([file('0001_a.sql', 'vacuum c')], [begun]), {
      code: 'database.migration-changed',
      message: /has been begun/,
    })
  })

  test('an index is found by its name and table as they are written', () => {
    const outsider = (text: string): unknown => outsiderOf(splitStatements(text)[0] ?? assert.fail())
    const index = { kind: 'create-index', waits: true }
    assert.deepEqual(outsider('create index concurrently i on t (a)'), { ...index, index: 'i', table: 't' })
    assert.deepEqual(
      outsider('create unique index concurrently if not exists "My I" on only s . "T 1" using btree (a)'),
      {
        ...index,
        index: '"My I"',
        table: 's."T 1"',
      },
    )
    assert.deepEqual(outsider('create index concurrently on t (a)'), { ...index, index: null, table: 't' })
    assert.equal(outsider('create index i on t (a)'), null)
  })
})

suite('halves', () => {
  const [expand, contract] = [file('0002_two.expand.sql', 'select 1'), file('0002_two.contract.sql', 'select 2')]
  const [next, nextContract] = [file('0003_three.expand.sql', 'select 3'), file('0003_three.contract.sql', 'select 4')]
  const due = (...[files, applied, phase]: Parameters<typeof planMigrations>): readonly string[] =>
    planMigrations(files, applied, phase).map((pending) => pending.file.name)

  test('first halves come first, second ones when all is asked for, in the order of the numbers', () => {
    const files = [nextContract, next, contract, expand]
    assert.deepEqual(due(files, [], 'expand'), [expand.name, next.name])
    assert.deepEqual(due(files, [], 'all'), [expand.name, contract.name, next.name, nextContract.name])
    assert.deepEqual(due(files, [expand, next], 'expand'), [])
    // A second half may run after a later first half.
    assert.deepEqual(due(files, [expand, next], 'all'), [contract.name, nextContract.name])
  })

  test('a file without halves needs a stop', () => {
    assert.throws(() => planMigrations([one, expand], [], 'expand'), {
      code: 'database.migration-needs-stop',
      message: /^0001_one\.sql: /,
    })
    assert.deepEqual(due([one, expand], [one], 'expand'), [expand.name])
  })

  test('refused, by name', () => {
    const refusal = (code: string, message: RegExp): object => ({ code: `database.migration-${code}`, message })
    assert.throws(() => due([contract], []), refusal('half', /0002_two\.contract\.sql.*0002_two\.expand\.sql/))
    assert.throws(() => due([expand, two], []), refusal('duplicate', /0002_two\.sql and 0002_two\.expand\.sql/))
    const other = file('0002_other.contract.sql')
    assert.throws(() => due([expand, other], []), refusal('duplicate', /expand\.sql and 0002_other\.contract\.sql/))
    assert.throws(() => due([expand, next], [next]), refusal('order', /0002_two\.expand\.sql is new, but 0003_three/))
    const later = [expand, contract, next, nextContract]
    assert.throws(() => due(later, [expand, next, nextContract]), refusal('order', /0002_two\.contract\.sql is new/))
    const edited = file(expand.name, 'select 9')
    assert.throws(() => due([edited, contract], [expand]), refusal('changed', /0002_two\.expand\.sql has been applied/))
    assert.throws(() => due([expand], [expand, contract]), refusal('removed', /0002_two\.contract\.sql/))
    assert.throws(() => due([next], [expand]), refusal('removed', /0002_two\.expand\.sql/))
  })

  test('an older release works on the first halves of a newer one, not on more', () => {
    assert.deepEqual(due([one], [one, expand], 'all'), [])
    assert.equal(schemaName([one], [one, expand]), '0002_two (expanded)')
    assert.throws(() => due([one], [one, expand, contract]), { code: 'database.migration-removed' })
  })

  test('the schema has the name of the last migration, and says when a second half is due', () => {
    assert.equal(schemaName([one], []), null)
    assert.equal(schemaName([one, expand, contract], [one]), '0001_one')
    assert.equal(schemaName([one, expand, contract], [one, expand]), '0002_two (expanded)')
    assert.equal(schemaName([one, expand, contract], [one, expand, contract]), '0002_two')
    assert.equal(schemaName([expand, contract, next], [expand, next]), '0003_three (expanded)')
    assert.equal(schemaName([expand], [expand]), '0002_two')
  })

  test('of very many statements a person is shown the first', () => {
    const { statements } = pendingOf([file('0001_many.sql', `select '${'x'.repeat(9_000)}';`.repeat(600))], [])
    assert.deepEqual([statements.length, statements.at(-1)?.text], [501, '-- and 100 more'])
    assert.equal(statements[0]?.text.length, 4_000)
  })

  test('what is due is told for a person', () => {
    const of = (files: readonly MigrationFile[], applied: readonly MigrationFile[]): unknown => {
      const { migrates, contracts, statements } = pendingOf(files, applied)
      return [migrates, contracts, statements.map((statement) => `${statement.half}: ${statement.text}`)]
    }
    assert.deepEqual(of([one], [one]), ['none', false, []])
    assert.deepEqual(of([expand, contract], []), ['expand', true, ['expand: select 1', 'contract: select 2']])
    assert.deepEqual(of([expand, contract], [expand]), ['none', true, ['contract: select 2']])
    assert.deepEqual(of([one, expand], []), ['stop', false, ['whole: select 1', 'expand: select 1']])
  })
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
