/**
 * Rows that a transaction keeps others from changing: those that it has changed or deleted itself, as its own session counts
 * them. They are no locks on a table, and `pg_locks` does not show them.
 *
 * Invariant: a table that the transaction has made counts for nothing, because nobody else can wait for it.
 */
import type { Session } from './drivers/connection.ts'
import { shownName } from './names.ts'

/** What `pg_locks` would call it, in the words of a person. */
export const rowLocks = 'row locks'

export interface LockedRows {
  readonly table: string
  readonly rows: number
}

/** What a session has changed so far, in its transaction. */
export class RowCounts {
  readonly #admin: Session
  readonly #migrator: Session
  #before: ReadonlyMap<string, number> = new Map()

  /** `admin` sees what was there before the transaction of `migrator`. */
  constructor(admin: Session, migrator: Session) {
    this.#admin = admin
    this.#migrator = migrator
  }

  /** Rows that were locked since the last time, by table. The session must be able to answer. */
  async since(): Promise<readonly LockedRows[]> {
    const counted = await this.#migrator.query<{ id: string; rows: string }>(countsQuery)
    const now = new Map(counted.map(({ id, rows }) => [id, Number(rows)]))
    // The session gives its counts to the server between transactions: less than before is a new beginning.
    const more = [...now].flatMap(([id, rows]) => {
      const before = this.#before.get(id) ?? 0
      const fresh = rows < before ? rows : rows - before
      return fresh > 0 ? [{ id, rows: fresh }] : []
    })
    this.#before = now
    if (more.length === 0) return []
    const tables = await this.#admin.query<{ id: string; table: string }>(tablesQuery, [more.map(({ id }) => id)])
    const names = new Map(tables.map(({ id, table }) => [id, table]))
    return more.flatMap(({ id, rows }) => {
      const table = names.get(id)
      return table === undefined ? [] : [{ table, rows }]
    })
  }
}

const countsQuery = `
  select relid::text as id, (n_tup_upd + n_tup_del)::text as rows
    from pg_catalog.pg_stat_xact_all_tables where n_tup_upd + n_tup_del > 0`

const tablesQuery = `
  select c.oid::text as id, ${shownName} as table
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = any ($1::oid[]) and c.relkind in ('r', 'p')
      and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'stead')`
