/** Reads the migration files of an app. What they may be called and hold is the business of `migrations.ts`. */
import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { SteadError, messageOf } from '../../base/index.ts'
import type { MigrationFile } from '../migrations.ts'

const filesMax = 10_000
const fileBytesMax = 16 * 1024 * 1024

/**
 * The files of a directory that end in `.sql`, sorted by name; others are left alone. Line ends and a byte-order mark do
 * not count, so that a checkout on another system is the same migration. Throws `database.migration-unreadable`.
 */
export async function readMigrationFiles(dir: string): Promise<readonly MigrationFile[]> {
  const names = (await readdir(dir).catch((error: unknown) => refuse(dir, messageOf(error), error)))
    .filter((name) => name.endsWith('.sql'))
    .sort()
  if (names.length > filesMax) refuse(dir, `${names.length} files, and ${filesMax} is the most`)
  const files: MigrationFile[] = []
  for (const name of names) files.push(await readMigrationFile(join(dir, name), name))
  return files
}

async function readMigrationFile(path: string, name: string): Promise<MigrationFile> {
  try {
    const { size } = await stat(path)
    if (size > fileBytesMax) refuse(name, `${size} bytes, and ${fileBytesMax} is the most`)
    const decoded = new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path))
    const text = decoded.replaceAll('\r\n', '\n')
    return { name, text, sha256: createHash('sha256').update(text).digest('hex') }
  } catch (error) {
    return refuse(name, messageOf(error), error)
  }
}

function refuse(what: string, why: string, cause?: unknown): never {
  throw new SteadError({
    code: 'database.migration-unreadable',
    message: `cannot read the migration ${what}: ${why}`,
    hint: 'Migrations are text files in UTF-8, called like 0001_orders.sql.',
    cause,
  })
}
