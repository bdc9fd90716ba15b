/**
 * Which migrations are due, and whether they may run: pure. A migration is a file `0001_name.sql`, or comes in two halves:
 * `0001_name.expand.sql`, with which the release before can work, and `0001_name.contract.sql`, with which it cannot.
 *
 * Invariants: what was applied stays as it was, to the byte, and nothing is slipped in below it; a statement that cannot
 * run where it stands is refused before anything has run.
 */
import { SteadError } from '../base/index.ts'
import type { Pending, PreparePhase } from '../provider/index.ts'
import { excerpt } from './failures.ts'
import { splitStatements } from './sql.ts'
import type { Statement } from './sql.ts'
import { outsiderOf, refusalOfStatement } from './statements.ts'

export interface MigrationFile {
  /** Name of the file, such as `0001_orders.sql` or `0001_orders.expand.sql`. */
  readonly name: string
  readonly text: string
  readonly sha256: string
}

export interface AppliedMigration {
  readonly name: string
  readonly sha256: string
  /** Of a file that runs outside of a transaction and has not come to its end: how many statements are done. Else null. */
  readonly statementsDone?: number | null
}

/** Which part of a migration a file is. */
export type Half = 'whole' | 'expand' | 'contract'

/** A migration that is due, taken apart. */
export interface PendingMigration {
  readonly file: MigrationFile
  readonly half: Half
  readonly statements: readonly Statement[]
  /** It cannot run in a transaction, so it runs by itself, statement by statement. */
  readonly alone: boolean
  /** Of one that was begun and not ended: how many of its statements are done. Null when it is new. */
  readonly done: number | null
}

interface Named {
  readonly number: bigint
  /** Without the half and the ending. */
  readonly stem: string
  readonly half: Half
}

/**
 * What is due, in order. Throws `database.migration-name`, `-duplicate`, `-half`, `-changed`, `-removed`, `-order`,
 * `-refused`, or with phase `expand` `-needs-stop`, naming the files.
 */
export function planMigrations(
  files: readonly MigrationFile[],
  applied: readonly AppliedMigration[],
  phase: PreparePhase = 'all',
): readonly PendingMigration[] {
  const sorted = files.map((file) => ({ file, ...nameOf(file.name) })).sort(inOrder)
  sorted.forEach((later, index) => checkPair(sorted[index - 1], later))
  const highest = sorted.at(-1)?.number ?? -1n
  for (const done of applied) checkApplied(files, done, highest)
  const records = new Map(applied.map((done) => [done.name, done]))
  const ended = applied.filter((done) => (done.statementsDone ?? null) === null)
  const due = sorted.filter(({ file }) => !ended.some((done) => done.name === file.name))
  for (const candidate of due) if (!records.has(candidate.file.name)) checkOrder(candidate, applied)
  const chosen = phase === 'all' ? due : due.filter(({ half }) => half !== 'contract')
  const whole = chosen.filter(({ half }) => half === 'whole').map(({ file }) => file.name)
  if (phase === 'expand' && whole.length > 0) {
    throw new SteadError({
      code: 'database.migration-needs-stop',
      message: `${whole.join(', ')}: without halves, the release before could not work on it`,
      hint: 'Stop the release before, or write the migration as NAME.expand.sql and NAME.contract.sql.',
    })
  }
  return chosen.map(({ file, half }) => {
    const statements = parseMigration(file)
    const done = records.get(file.name)?.statementsDone ?? null
    return { file, half, statements, alone: statements.some((statement) => outsiderOf(statement) !== null), done }
  })
}

/** What a person is shown: so many statements, and so much of each. */
const shownMax = 500
const shownCharsMax = 4_000

/** What is due, for a person. Throws as `planMigrations` does. */
export function pendingOf(files: readonly MigrationFile[], applied: readonly AppliedMigration[]): Pending {
  const due = planMigrations(files, applied)
  const first = due.filter(({ half }) => half !== 'contract')
  const statements = due.flatMap(({ file, half, statements: all, done }) =>
    all.slice(done ?? 0).map(({ text }) => ({ file: file.name, half, text: text.slice(0, shownCharsMax) })),
  )
  const last = statements[shownMax]
  const more = statements.length - shownMax
  return {
    migrates: first.length === 0 ? 'none' : first.some(({ half }) => half === 'whole') ? 'stop' : 'expand',
    contracts: due.some(({ half }) => half === 'contract'),
    statements: [
      ...statements.slice(0, shownMax),
      ...(last === undefined ? [] : [{ ...last, text: `-- and ${more} more` }]),
    ],
  }
}

/** Names the schema for a person: the last migration, `(expanded)` while a second half is due or not known here. */
export function schemaName(files: readonly MigrationFile[], applied: readonly AppliedMigration[]): string | null {
  const last = applied.map(({ name }) => nameOf(name)).sort(inOrder)
  const end = last.at(-1)
  if (end === undefined) return null
  const isApplied = (name: string): boolean => applied.some((done) => done.name === name)
  const ahead = end.half === 'expand' && !files.some((file) => nameOf(file.name).number === end.number)
  const due = files.some(
    ({ name }) => nameOf(name).half === 'contract' && !isApplied(name) && isApplied(`${nameOf(name).stem}.expand.sql`),
  )
  return ahead || due ? `${end.stem} (expanded)` : end.stem
}

const rank: Readonly<Record<Half, number>> = { whole: 0, expand: 1, contract: 2 }

function inOrder(a: Named, b: Named): number {
  return a.number === b.number ? rank[a.half] - rank[b.half] : a.number < b.number ? -1 : 1
}

function nameOf(name: string): Named {
  const [, stem, digits, half] = /^((\d{1,18})_[\w.-]+?)(?:\.(expand|contract))?\.sql$/.exec(name) ?? []
  if (stem !== undefined && digits !== undefined) {
    return { number: BigInt(digits), stem, half: half === 'expand' || half === 'contract' ? half : 'whole' }
  }
  throw new SteadError({
    code: 'database.migration-name',
    message: `a migration cannot be called ${name}`,
    hint: 'Call it like 0001_orders.sql: a number, an underscore, a name.',
  })
}

type NamedFile = Named & { readonly file: MigrationFile }

/** A number is had by one migration: one file, or two halves of one name. */
function checkPair(earlier: NamedFile | undefined, later: NamedFile): void {
  if (earlier?.number === later.number) {
    if (earlier.half === 'expand' && later.half === 'contract' && earlier.stem === later.stem) return
    throw new SteadError({
      code: 'database.migration-duplicate',
      message: `two migrations have the number ${later.number}: ${earlier.file.name} and ${later.file.name}`,
      hint: 'Give one of them the next free number.',
    })
  }
  if (later.half !== 'contract') return
  throw new SteadError({
    code: 'database.migration-half',
    message: `${later.file.name} is a second half, and there is no ${later.stem}.expand.sql`,
    hint: 'Write the first half, with which the release before can work; or call it without the word contract.',
  })
}

/**
 * Whole files and first halves run in the order of their numbers. A second half may run after first halves above it,
 * because its own release may never have come so far; it was there before them all the same.
 */
function checkOrder({ file, number, half }: NamedFile, applied: readonly AppliedMigration[]): void {
  const above = applied
    .map((done) => ({ ...nameOf(done.name), name: done.name }))
    .filter((done) => done.number > number && (half !== 'contract' || done.half !== 'expand'))
    .sort(inOrder)
    .at(-1)
  if (above === undefined) return
  throw new SteadError({
    code: 'database.migration-order',
    message: `migration ${file.name} is new, but ${above.name} after it has been applied`,
    hint: `Give it a number above ${above.number}: databases that are ahead would get it in another order than new ones.`,
  })
}

function checkApplied(files: readonly MigrationFile[], done: AppliedMigration, highest: bigint): void {
  const file = files.find((candidate) => candidate.name === done.name)
  if (file === undefined) {
    // An older release that has come back works on the first halves of the newer one; it does not know their files.
    const { half, number } = nameOf(done.name)
    if (half === 'expand' && number > highest) return
    const same = files.find((candidate) => candidate.sha256 === done.sha256)
    throw new SteadError({
      code: 'database.migration-removed',
      message: `migration ${done.name} has been applied, but is no longer there`,
      hint: same === undefined ? 'Put the file back.' : `Give ${same.name}, which has its content, its old name back.`,
    })
  }
  if (file.sha256 === done.sha256) return
  const begun = (done.statementsDone ?? null) === null ? 'applied' : 'begun'
  throw new SteadError({
    code: 'database.migration-changed',
    message: `migration ${done.name} has been ${begun}, and has been changed since`,
    hint: 'Put it back as it was, and write the change as a new migration.',
  })
}

function parseMigration(file: MigrationFile): readonly Statement[] {
  const statements = splitStatements(file.text)
  const outsider = statements.find((statement) => outsiderOf(statement) !== null)
  const insider = statements.find((statement) => outsiderOf(statement) === null)
  for (const statement of statements) {
    const refusal = refusalOfStatement(statement)
    if (refusal !== null) throw refused(file, statement, `${refusal.what} cannot be part of a migration`, refusal.hint)
  }
  if (outsider === undefined || insider === undefined) return statements
  throw refused(
    file,
    outsider,
    'this cannot run in a transaction, and other statements of the file do',
    'Put it into a file of its own: that one runs outside of a transaction, guarded by the checkpoint.',
  )
}

function refused(file: MigrationFile, statement: Statement, problem: string, hint: string): SteadError {
  return new SteadError({
    code: 'database.migration-refused',
    message: excerpt(file, statement, null, problem),
    hint,
  })
}
