/**
 * Runs migrations that are due, in order: neighbours that can, in one transaction that also records them; one that cannot
 * run in a transaction by itself, statement by statement, each recorded when it is done.
 *
 * Invariants: of what runs in a transaction all holds or nothing does; what runs outside of one is on the record before it
 * begins, so that a crash in the middle is found, and an index that was left half made is made anew.
 */
import { SteadError } from '../base/index.ts'
import { isEnd, refusalOf } from './drivers/connection.ts'
import type { Session } from './drivers/connection.ts'
import { migrationFailure, whatStands } from './failures.ts'
import type { MigrationFile, PendingMigration } from './migrations.ts'
import { quoteName } from './names.ts'
import { outsiderOf } from './statements.ts'
import type { Outsider } from './statements.ts'
import type { Statement } from './sql.ts'

/** Looks on while migrations run, to measure them. */
export interface Onlooker {
  /** Runs the statement, which `run` does. */
  around(file: MigrationFile, statement: Statement, run: () => Promise<void>): Promise<void>
  /** What ran since the last time holds now, and its locks are gone. */
  over(): void
}

export const nobodyLooks: Onlooker = { around: (_file, _statement, run) => run(), over: () => undefined }

/** How migrations run on one database. */
export interface MigrationRun {
  /** Keeps the record of what runs outside of a transaction. */
  readonly record: Session
  /** Runs the statements, and records those of a transaction. */
  readonly session: Session
  /** The role that the statements have; null: the session's own. */
  readonly owner: string | null
  readonly onlooker: Onlooker
}

/** Runs all of it. Throws `database.migration-failed` with what stands and what does not. */
export async function runMigrations(run: MigrationRun, pending: readonly PendingMigration[]): Promise<void> {
  const stand: string[] = []
  for (let at = 0; at < pending.length;) {
    const first = pending[at]
    if (first === undefined) break
    const next = pending.findIndex(({ alone }, index) => index > at && alone)
    const end = first.alone ? at + 1 : next < 0 ? pending.length : next
    const together = pending.slice(at, end)
    if (first.alone) await runAlone(run, first, stand)
    else await runTogether(run, together, stand)
    stand.push(...together.map(({ file }) => file.name))
    at = end
  }
}

async function runTogether(
  run: MigrationRun,
  pending: readonly PendingMigration[],
  stand: readonly string[],
): Promise<void> {
  const { session } = run
  await session.query('begin')
  for (const { file, statements } of pending) {
    await takeRole(run)
    for (const statement of statements) {
      try {
        await run.onlooker.around(file, statement, async () => void (await session.query(statement.text)))
      } catch (error) {
        throw failureOf(file, statement, error, stand)
      }
    }
    await leaveRole(run)
    await session.query('insert into stead.migrations (name, sha256) values ($1, $2)', [file.name, file.sha256])
  }
  try {
    await session.query('commit')
  } catch (error) {
    const refusal = refusalOf(error)
    if (refusal === null) throw error
    throw new SteadError({
      code: 'database.migration-failed',
      message: `after ${pending.map(({ file }) => file.name).join(', ')}, at commit: ${refusal.message}`,
      hint: `${refusal.detail ?? ''} A deferred constraint does not hold. ${whatStands(stand)}`.trim(),
      cause: error,
    })
  }
  run.onlooker.over()
}

async function runAlone(run: MigrationRun, migration: PendingMigration, stand: readonly string[]): Promise<void> {
  const { file, statements, done } = migration
  const { record } = run
  if (done === null) {
    await record.query('insert into stead.migrations (name, sha256, statements_done) values ($1, $2, 0)', [
      file.name,
      file.sha256,
    ])
  }
  for (const [index, statement] of statements.entries()) {
    if (index < (done ?? 0)) continue
    const refused = await runOutside(run, file, statement, index === done).catch((error: unknown) => {
      // It is not known how far it came. The record stays, and the next try finds out.
      throw failureOf(file, statement, error, [...stand, `a part of ${file.name}, which goes on at the next try`])
    })
    if (refused !== null) {
      // Nothing of the file holds, so it may be mended.
      if (index === 0) await record.query('delete from stead.migrations where name = $1', [file.name])
      const holds = index === 0 ? stand : [...stand, `the first ${index} statements of ${file.name}`]
      throw failureOf(file, statement, refused.error, holds)
    }
    await record.query('update stead.migrations set statements_done = $2 where name = $1', [file.name, index + 1])
    run.onlooker.over()
  }
  await record.query('update stead.migrations set statements_done = null, applied_at = now() where name = $1', [
    file.name,
  ])
}

/**
 * Runs one statement outside of a transaction. `again`: it may have run before, in part or whole, and was not recorded.
 * Answers what kept it from running, when that has left nothing behind; throws when something may be left.
 */
async function runOutside(
  run: MigrationRun,
  file: MigrationFile,
  statement: Statement,
  again: boolean,
): Promise<{ readonly error: unknown } | null> {
  const { session } = run
  const outsider = outsiderOf(statement)
  await takeRole(run)
  if (outsider?.waits === true) await session.query('set lock_timeout = 0')
  if (again && outsider !== null && (await tidy(session, outsider)) === 'done') return null
  try {
    await run.onlooker.around(file, statement, async () => void (await session.query(statement.text)))
  } catch (error) {
    const refusal = refusalOf(error)
    if (refusal === null || isEnd(refusal)) throw error
    if (again && outsider?.kind === 'drop-index' && refusal.sqlState === '42704') return null
    // What it leaves half made would be in the way of the next try, and slow down every write until then. What was
    // there before it is somebody else's.
    if (outsider !== null && refusal.sqlState !== '42P07') await tidy(session, outsider)
    return { error }
  }
  if (outsider?.kind === 'create-index' && (await findIndex(session, outsider))?.valid !== true) {
    const error = new SteadError({
      code: 'database.migration-failed',
      message: `${file.name}:${statement.line}: the index ${outsider.index} is there and cannot be used`,
      hint: 'It is left over from somebody else. Drop it in a migration before this one.',
    })
    return { error }
  }
  await leaveRole(run)
  return null
}

type CreateIndex = Extract<Outsider, { kind: 'create-index' }>

/** Removes what an earlier try has left half made. Answers whether it had come to its end after all. */
async function tidy(session: Session, outsider: Outsider): Promise<'done' | 'to-do'> {
  if (outsider.kind === 'create-index') {
    const found = await findIndex(session, outsider)
    if (found?.valid === true) return 'done'
    if (found !== null) await dropIndexes(session, [found.name])
  }
  if (outsider.kind === 'reindex') {
    // Names that only the server gives, and only while it reindexes.
    const left = await session.query<{ name: string }>(
      String.raw`select i.indexrelid::regclass::text as name from pg_index i join pg_class c on c.oid = i.indexrelid
         where not i.indisvalid and c.relname ~ '_cc(?:new|old)\d*$'`,
    )
    await dropIndexes(
      session,
      left.map(({ name }) => name),
    )
  }
  return 'to-do'
}

async function dropIndexes(session: Session, names: readonly string[]): Promise<void> {
  for (const name of names) await session.query(`drop index concurrently if exists ${name}`)
}

async function findIndex(
  session: Session,
  { index, table }: CreateIndex,
): Promise<{ readonly name: string; readonly valid: boolean } | null> {
  const [row] = await session.query<{ name: string; valid: boolean }>(
    `select i.indexrelid::regclass::text as name, i.indisvalid as valid
       from pg_index i join pg_class c on c.oid = i.indexrelid
       where i.indrelid = to_regclass($1) and c.relname = (parse_ident($2))[1]`,
    [table, index],
  )
  return row ?? null
}

/** Each file starts from the same settings, whatever the one before it has set. */
async function takeRole({ session, owner }: MigrationRun): Promise<void> {
  await session.query('reset all')
  if (owner !== null) await session.query(`set role ${quoteName(owner)}`)
}

async function leaveRole({ session, owner }: MigrationRun): Promise<void> {
  await session.query(owner === null ? 'reset all' : 'reset role')
}

function failureOf(file: MigrationFile, statement: Statement, error: unknown, stand: readonly string[]): unknown {
  const refusal = refusalOf(error)
  return refusal === null ? error : migrationFailure(file, statement, refusal, error, stand)
}
