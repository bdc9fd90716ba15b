/**
 * Rows that a transaction keeps others from changing: those that it has changed or deleted itself, as its own session counts
 * them, and those that it has selected for update. They are no locks on a table, and `pg_locks` does not show them.
 *
 * Invariant: a table that the transaction has made counts for nothing, because nobody else can wait for it.
 */
import type { Session } from './drivers/connection.ts'
import { shownName } from './names.ts'

/** What `pg_locks` would call it, in the words of a person. */
export const rowLocks = 'row locks'

export interface LockedRows {
  readonly table: string
  /** Absent: selected, and how many is not known. */
  readonly rows?: number
}

/** What a session has locked so far, in its transaction. */
export class RowLocks {
  readonly #admin: Session
  readonly #migrator: Session
  readonly #pid: number
  #before: ReadonlyMap<string, number> = new Map()

  /** `admin` sees what was there before the transaction of `migrator`, whose process is `pid`. */
  constructor(admin: Session, migrator: Session, pid: number) {
    this.#admin = admin
    this.#migrator = migrator
    this.#pid = pid
  }

  /** Rows that the statement has locked, by table. The session must be able to answer. */
  async of(statement: string): Promise<readonly LockedRows[]> {
    return [...(await this.#changed()), ...(locksRows(statement) ? await this.#selected() : [])]
  }

  async #changed(): Promise<readonly LockedRows[]> {
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

  /** Tables of which it may have selected rows for itself; where a key leads there it is seen too, and is rather said than not. */
  #selected(): Promise<readonly LockedRows[]> {
    return this.#admin.query<{ table: string }>(selectedQuery, [this.#pid])
  }
}

/** Whether a statement says so itself. What a function does that it calls is not seen. */
function locksRows(statement: string): boolean {
  return /\bfor\s+(no\s+key\s+update|update|share|key\s+share)\b/i.test(statement)
}

const countsQuery = `
  select relid::text as id, (n_tup_upd + n_tup_del)::text as rows
    from pg_catalog.pg_stat_xact_all_tables where n_tup_upd + n_tup_del > 0`

const fromTables = `from pg_class c join pg_namespace n on n.oid = c.relnamespace`
const ofTheApp = `c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'stead')`

const tablesQuery = `
  select c.oid::text as id, ${shownName} as table ${fromTables} where c.oid = any ($1::oid[]) and ${ofTheApp}`

/** Whoever selects rows for himself has this lock on their table, which keeps nobody from anything. */
const selectedQuery = `
  select distinct ${shownName} as table ${fromTables} join pg_locks l on l.relation = c.oid
    where l.pid = $1 and l.granted and l.locktype = 'relation' and l.mode = 'RowShareLock'
      and l.database = (select oid from pg_database where datname = current_database()) and ${ofTheApp}`
