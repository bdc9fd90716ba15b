/**
 * Which migrations are due, and whether they may run: pure. A migration is a file `0001_name.sql`.
 *
 * Invariants: what was applied stays as it was, to the byte, and nothing is slipped in below it; all that is due runs in
 * one transaction, so what cannot run in one is refused before anything has run.
 */
import { SteadError } from '../base/index.ts'
import { charactersOf, placeOf, splitStatements } from './sql.ts'
import type { Statement } from './sql.ts'

export interface MigrationFile {
  /** Name of the file, such as `0001_orders.sql`. */
  readonly name: string
  readonly text: string
  readonly sha256: string
}

export interface AppliedMigration {
  readonly name: string
  readonly sha256: string
}

/** A migration that is due, taken apart. */
export interface PendingMigration {
  readonly file: MigrationFile
  readonly statements: readonly Statement[]
}

/**
 * What is due, in order. Throws `database.migration-name`, `-duplicate`, `-changed`, `-removed`, `-order` or
 * `-refused`, naming the files.
 */
export function planMigrations(
  files: readonly MigrationFile[],
  applied: readonly AppliedMigration[],
): readonly PendingMigration[] {
  const numbered = files
    .map((file) => ({ file, number: numberOf(file.name) }))
    .sort((a, b) => (a.number < b.number ? -1 : a.number > b.number ? 1 : 0))
  numbered.forEach(({ file, number }, index) => {
    const previous = numbered[index - 1]
    if (previous?.number !== number) return
    throw new SteadError({
      code: 'database.migration-duplicate',
      message: `two migrations have the number ${number}: ${previous.file.name} and ${file.name}`,
      hint: 'Give one of them the next free number.',
    })
  })
  for (const done of applied) checkApplied(files, done)
  const appliedNames = new Set(applied.map((done) => done.name))
  const last = applied.map((done) => numberOf(done.name)).reduce((a, b) => (a > b ? a : b), -1n)
  const pending = numbered.filter(({ file }) => !appliedNames.has(file.name))
  const early = pending.find(({ number }) => number < last)
  if (early !== undefined) {
    const lastName = applied.find((done) => numberOf(done.name) === last)?.name ?? ''
    throw new SteadError({
      code: 'database.migration-order',
      message: `migration ${early.file.name} is new, but ${lastName} after it has been applied`,
      hint: `Give it a number above ${last}: databases that are ahead would get it in another order than new ones.`,
    })
  }
  return pending.map(({ file }) => ({ file, statements: parseMigration(file) }))
}

function numberOf(name: string): bigint {
  const digits = /^(\d{1,18})_[\w.-]+\.sql$/.exec(name)?.[1]
  if (digits !== undefined) return BigInt(digits)
  throw new SteadError({
    code: 'database.migration-name',
    message: `a migration cannot be called ${name}`,
    hint: 'Call it like 0001_orders.sql: a number, an underscore, a name.',
  })
}

function checkApplied(files: readonly MigrationFile[], done: AppliedMigration): void {
  const file = files.find((candidate) => candidate.name === done.name)
  if (file === undefined) {
    const same = files.find((candidate) => candidate.sha256 === done.sha256)
    throw new SteadError({
      code: 'database.migration-removed',
      message: `migration ${done.name} has been applied, but is no longer there`,
      hint: same === undefined ? 'Put the file back.' : `Give ${same.name}, which has its content, its old name back.`,
    })
  }
  if (file.sha256 === done.sha256) return
  throw new SteadError({
    code: 'database.migration-changed',
    message: `migration ${done.name} has been applied, and has been changed since`,
    hint: 'Put it back as it was, and write the change as a new migration.',
  })
}

function parseMigration(file: MigrationFile): readonly Statement[] {
  const statements = splitStatements(file.text)
  for (const statement of statements) {
    const refusal = refusalOfStatement(statement.words)
    if (refusal === null) continue
    throw new SteadError({
      code: 'database.migration-refused',
      message: excerpt(file, statement, null, `${refusal.what} cannot be part of a migration`),
      hint: refusal.hint,
    })
  }
  return statements
}

interface StatementRefusal {
  readonly what: string
  readonly hint: string
}

const inTransaction = 'Migrations run in one transaction, so that a failing one changes nothing; this cannot.'

/** Statements that end the transaction, cannot run in one, or wait for input, by their leading words. */
const refusals: readonly (readonly [RegExp, string, string])[] = [
  [
    /^(?:BEGIN|START TRANSACTION|COMMIT|END|ROLLBACK|ABORT|PREPARE TRANSACTION)\b/,
    'transaction control',
    'Leave it out: all migrations that are due run in one transaction.',
  ],
  [
    /^(?:CREATE (?:UNIQUE )?INDEX|DROP INDEX|REINDEX\b.*|ALTER TABLE\b.* DETACH PARTITION\b.*) CONCURRENTLY\b/,
    'CONCURRENTLY',
    `${inTransaction} Leave the word out, or do it by hand after the release.`,
  ],
  [/^REINDEX (?:DATABASE|SYSTEM|SCHEMA)\b/, 'REINDEX of more than a table', `${inTransaction} Name the tables.`],
  [/^VACUUM\b/, 'VACUUM', `${inTransaction} The server does it by itself.`],
  [/^CLUSTER$/, 'CLUSTER of all tables', `${inTransaction} Name the table.`],
  [/^(?:CREATE|DROP) DATABASE\b/, 'CREATE or DROP DATABASE', `${inTransaction} An app has one database.`],
  [
    /^(?:CREATE|DROP) TABLESPACE\b/,
    'a tablespace',
    'All data of an app is in one place, or it could not be taken back.',
  ],
  [/^(?:CREATE|DROP) SUBSCRIPTION\b/, 'a subscription', inTransaction],
  [/^ALTER SYSTEM\b/, 'ALTER SYSTEM', 'Settings of the server are the config of the database in the app file.'],
  [
    /^COPY\b.* (?:FROM STDIN|TO STDOUT)\b/,
    'COPY through the connection',
    'There is no connection to copy through: write INSERT ... VALUES.',
  ],
]

function refusalOfStatement(words: readonly string[]): StatementRefusal | null {
  const text = words.join(' ')
  const found = refusals.find(([pattern]) => pattern.test(text))
  return found === undefined ? null : { what: found[1], hint: found[2] }
}

/** What the server said about a statement. */
export interface StatementFailure {
  readonly message: string
  readonly detail: string | null
  readonly hint: string | null
  readonly sqlState: string
  readonly position: number | null
}

/** The error for a statement that the server refused, with its place in the file and the server's own words. */
export function migrationFailure(
  file: MigrationFile,
  statement: Statement,
  failure: StatementFailure,
  cause: unknown,
): SteadError {
  const lockWait = failure.sqlState === '55P03' || failure.sqlState === '40P01'
  return new SteadError({
    code: 'database.migration-failed',
    message: excerpt(file, statement, failure.position, failure.message),
    hint: [
      failure.detail ?? '',
      failure.hint ?? '',
      lockWait ? 'Another session holds a lock on it; try again when that session is done.' : '',
      'Nothing was changed.',
    ]
      .filter((part) => part !== '')
      .join(' '),
    retry: lockWait ? 'later' : 'never',
    cause,
  })
}

const excerptColumnsMax = 160

/** `file:line: message`, the line, and a caret under the place where the position is known. */
function excerpt(file: MigrationFile, statement: Statement, position: number | null, message: string): string {
  const place = placeOf(file.text, statement, position)
  const characters = charactersOf(place.lineText)
  const from = Math.max(0, place.column - Math.floor(excerptColumnsMax / 2))
  const shown = characters.slice(from, from + excerptColumnsMax)
  const before = shown.slice(0, place.column - 1 - from).map((character) => (character === '\t' ? '\t' : ' '))
  const caret = position === null ? '' : `\n  ${before.join('')}^`
  return `${file.name}:${place.line}: ${message}\n  ${shown.join('')}${caret}`
}
