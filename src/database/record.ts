/**
 * The record of the migrations that a database has had, in the database itself: made, brought up to date, read; and the
 * turn that whoever changes it has to take.
 */
import { SteadError } from '../base/index.ts'
import { refusalOf } from './drivers/connection.ts'
import type { Session } from './drivers/connection.ts'
import type { AppliedMigration } from './migrations.ts'

/**
 * Makes the record, or brings one from before to what it is now. What is there already is left alone without a lock, so
 * that nobody waits for migrations that are running.
 */
export async function ensureRecord(session: Session): Promise<void> {
  await session.query('create schema if not exists stead')
  await session.query(
    `create table if not exists stead.migrations (name text primary key, sha256 text not null,
       applied_at timestamptz not null default now(), statements_done integer)`,
  )
  if (await hasColumn(session, 'statements_done')) return
  await session.query('alter table stead.migrations add column if not exists statements_done integer')
}

/** What was applied. Nothing where there is no record yet. */
export async function readRecord(session: Session): Promise<readonly AppliedMigration[]> {
  const [found] = await session.query<{ there: boolean }>(`select to_regclass('stead.migrations') is not null as there`)
  if (found?.there !== true) return []
  const done = (await hasColumn(session, 'statements_done')) ? 'statements_done' : 'null::integer'
  return await session.query<{ name: string; sha256: string; statementsDone: number | null }>(
    `select name, sha256, ${done} as "statementsDone" from stead.migrations`,
  )
}

async function hasColumn(session: Session, column: string): Promise<boolean> {
  const found = await session.query(
    `select 1 from pg_attribute
       where attrelid = 'stead.migrations'::regclass and attname = $1 and not attisdropped`,
    [column],
  )
  return found.length > 0
}

/** Waits until nobody else migrates this database; held until the session ends. Throws `database.migration-busy`. */
export async function takeTurn(session: Session, resource: string): Promise<void> {
  try {
    await session.query('select pg_advisory_lock(7598812)')
  } catch (cause) {
    if (refusalOf(cause)?.sqlState !== '55P03') throw cause
    throw new SteadError({
      code: 'database.migration-busy',
      message: `database ${resource}: other migrations are running`,
      hint: 'Wait until they are done, and try again.',
      retry: 'later',
      cause,
    })
  }
}
