/**
 * The last route table on disk: with it a gateway that starts while control is away serves at once. Invariant: the file is
 * always one whole table; one that cannot be read is as none.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { type RouteTable, routeTableSchema } from '../protocol/index.ts'

/** A table, and the epoch of the control that sent it. */
export interface SavedTable {
  readonly epoch: number
  readonly table: RouteTable
}

/** Reads what was written; null when there is nothing that can be used. */
export function readTable(path: string): SavedTable | null {
  try {
    const { epoch, table } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
    const parsed = routeTableSchema.safeParse(table)
    return parsed.success && typeof epoch === 'number' ? { epoch, table: parsed.data } : null
  } catch {
    return null
  }
}

/** Replaces what is there. Not forced to disk: after a crash of the machine no target of it is true any more. */
export function writeTable(path: string, saved: SavedTable): void {
  writeFileSync(`${path}.new`, JSON.stringify(saved), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}
