/** The ledger in an SQLite database of the app, through `node:sqlite`. The table is `stead_effects`; moments are text in UTC. */
import type { DatabaseSync } from 'node:sqlite'
import type { LedgerDriver, SqlValue, TextRow } from '../driver.ts'

const table = 'stead_effects'
const format = '%Y-%m-%dT%H:%M:%fZ'
const now = `strftime('${format}', 'now')`

/** Makes the driver for a database. */
export function sqliteLedger(db: DatabaseSync): LedgerDriver {
  const query = async (text: string, values: readonly SqlValue[]): Promise<readonly TextRow[]> => {
    const statement = db.prepare(text.replaceAll(/\$(\d)/g, '?$1'))
    return statement.all(...values) as unknown as readonly TextRow[]
  }
  return {
    table,
    createTable: [
      `create table if not exists ${table} (
         key text primary key,
         kind text not null,
         what text not null,
         payload text,
         compensation text,
         state text not null check (state in ('planned','sending','sent','failed','compensated')),
         generation integer not null default 1,
         created_at text not null default (${now}),
         sending_at text,
         sent_at text,
         attempts integer not null default 0,
         result text,
         abandoned_by_generation integer
       )`,
      `create index if not exists ${table}_unsettled on ${table} (key) where state in ('planned','sending','failed')`,
    ],
    exists: async () => (await query(`select 1 from sqlite_schema where name = $1`, [table])).length > 0,
    now,
    ago: (parameter) => `strftime('${format}', 'now', '-' || (${parameter} / 1000.0) || ' seconds')`,
    ms: (column) => `cast(cast(round((julianday(${column}) - 2440587.5) * 86400000) as integer) as text)`,
    transaction: () => (db.isTransaction ? 'open' : 'none'),
    weakness() {
      const level = Number(Object.values(db.prepare('pragma synchronous').get() ?? {})[0])
      return Promise.resolve(level >= 2 ? null : 'pragma synchronous is not FULL')
    },
    query,
  }
}
