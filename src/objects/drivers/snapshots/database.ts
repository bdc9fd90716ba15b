/** A database of the app that holds names: which driver it needs. */
import { DatabaseSync } from 'node:sqlite'
import type { Names } from './names.ts'
import { postgresNames } from './postgres.ts'
import type { NamesClient } from './postgres.ts'
import { sqliteNames } from './sqlite.ts'

/** A database of the app: SQLite through `node:sqlite`, or PostgreSQL through `pg`. It is not closed with the bucket. */
export type SnapshotDatabase = DatabaseSync | NamesClient

/** The names of a bucket in a database. */
export function namesOf(database: SnapshotDatabase, bucket: string): Names {
  return database instanceof DatabaseSync ? sqliteNames(database, bucket) : postgresNames(database, bucket)
}
