/**
 * What a statement of a migration is by its leading words: part of a transaction, one that cannot run in one, or nothing
 * for a migration at all. Pure.
 */
import { tokensOf } from './sql.ts'
import type { Statement } from './sql.ts'

/** Why a statement has no place in a migration. */
export interface StatementRefusal {
  readonly what: string
  readonly hint: string
}

/** Statements that end the transaction, reach beyond the app's database, or wait for input, by their leading words. */
const refusals: readonly (readonly [RegExp, string, string])[] = [
  [
    /^(?:BEGIN|START TRANSACTION|COMMIT|END|ROLLBACK|ABORT|PREPARE TRANSACTION)\b/,
    'transaction control',
    'Leave it out: all migrations that are due run in one transaction.',
  ],
  [/^(?:CREATE|DROP) DATABASE\b/, 'CREATE or DROP DATABASE', 'An app has one database.'],
  [
    /^(?:CREATE|DROP) TABLESPACE\b/,
    'a tablespace',
    'All data of an app is in one place, or it could not be taken back.',
  ],
  [/^(?:CREATE|DROP) SUBSCRIPTION\b/, 'a subscription', 'What another server sends does not go back with a release.'],
  [/^ALTER SYSTEM\b/, 'ALTER SYSTEM', 'Settings of the server are the config of the database in the app file.'],
  [
    /^COPY\b.* (?:FROM STDIN|TO STDOUT)\b/,
    'COPY through the connection',
    'There is no connection to copy through: write INSERT ... VALUES.',
  ],
]

/** Statements that the server does not run in a transaction. */
const outside: readonly RegExp[] = [
  /^(?:CREATE (?:UNIQUE )?INDEX|DROP INDEX|REINDEX\b.*|ALTER TABLE\b.* DETACH PARTITION\b.*) CONCURRENTLY\b/,
  /^REINDEX (?:DATABASE|SYSTEM|SCHEMA)\b/,
  /^VACUUM\b/,
  /^CLUSTER$/,
]

/** Why the statement cannot be part of a migration; null when it can. */
export function refusalOfStatement(statement: Statement): StatementRefusal | null {
  const text = statement.words.join(' ')
  const found = refusals.find(([pattern]) => pattern.test(text))
  if (found !== undefined) return { what: found[1], hint: found[2] }
  const outsider = outsiderOf(statement)
  if (outsider?.kind === 'create-index' && outsider.index === null) {
    return {
      what: 'CREATE INDEX CONCURRENTLY without a name',
      hint: 'Give the index a name: after a crash, what is left of it is found by its name.',
    }
  }
  return null
}

/** A statement that cannot run in a transaction, with what is needed to find out how far it came. Names are SQL, as written. */
export type Outsider =
  | { readonly kind: 'create-index'; readonly index: string | null; readonly table: string; readonly waits: boolean }
  | { readonly kind: 'drop-index' | 'reindex' | 'other'; readonly waits: boolean }

/** What a statement is that cannot run in a transaction; null for all others. */
export function outsiderOf(statement: Statement): Outsider | null {
  const text = statement.words.join(' ')
  if (!outside.some((pattern) => pattern.test(text))) return null
  // CONCURRENTLY waits for the transactions of others without keeping anybody out meanwhile.
  const waits = statement.words.includes('CONCURRENTLY')
  if (text.startsWith('CREATE')) return { kind: 'create-index', ...indexOf(statement), waits }
  if (text.startsWith('DROP INDEX')) return { kind: 'drop-index', waits }
  return { kind: text.startsWith('REINDEX') ? 'reindex' : 'other', waits }
}

/** `CREATE [UNIQUE] INDEX CONCURRENTLY [[IF NOT EXISTS] index] ON [ONLY] table ...` */
function indexOf(statement: Statement): { readonly index: string | null; readonly table: string } {
  const tokens = tokensOf(statement.text)
  const is = (at: number, word: string): boolean => tokens[at]?.toUpperCase() === word
  let at = tokens.findIndex((token) => token.toUpperCase() === 'CONCURRENTLY') + 1
  if (is(at, 'IF')) at += 3
  const index = is(at, 'ON') ? null : (tokens[at++] ?? null)
  at++
  if (is(at, 'ONLY')) at++
  let table = tokens[at] ?? ''
  while (tokens[at + 1] === '.') {
    table += `.${tokens[at + 2] ?? ''}`
    at += 2
  }
  return { index, table }
}
