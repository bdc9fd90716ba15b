/**
 * The ledger in PostgreSQL, through any client with `query(text, values)` that answers `{ rows }`: `pg`'s Client, Pool and
 * PoolClient. The table is `stead.effects`.
 */
import type { LedgerDriver, SqlValue, TextRow } from '../driver.ts'

/** A client of PostgreSQL that is handed in. */
export interface PostgresClient {
  query(text: string, values: unknown[]): Promise<{ readonly rows: readonly object[] }>
  /** As pg's clients have it: `I` outside of a transaction, `T` and `E` inside, null before the first answer. */
  getTransactionStatus?(): string | null
  /** A pool has this; each of its statements may go over another connection. */
  readonly totalCount?: number
}

const table = 'stead.effects'

/** Makes the driver for a client. */
export function postgresLedger(client: PostgresClient): LedgerDriver {
  const query = async (text: string, values: readonly SqlValue[]): Promise<readonly TextRow[]> =>
    (await client.query(text, [...values])).rows as readonly TextRow[]
  return {
    table,
    // One statement, so one transaction: of those who make it at once each waits for the one before.
    createTable: [
      `do $stead$ begin
       perform pg_advisory_xact_lock(7598861);
       create schema if not exists stead;
       create table if not exists ${table} (
         key text primary key,
         kind text not null,
         what text not null,
         payload jsonb,
         compensation text,
         state text not null check (state in ('planned','sending','sent','failed','compensated')),
         generation bigint not null default 1,
         created_at timestamptz not null default now(),
         sending_at timestamptz,
         sent_at timestamptz,
         attempts int not null default 0,
         result jsonb,
         abandoned_by_generation bigint
       );
       create index if not exists effects_unsettled on ${table} (key) where state in ('planned','sending','failed');
       end $stead$`,
    ],
    // Not `if not exists` alone: a consumer that may not make a schema may well use one that is there.
    exists: async () => (await query(`select to_regclass('${table}')::text as name`, []))[0]?.['name'] !== null,
    now: 'clock_timestamp()',
    ago: (parameter) => `clock_timestamp() - ${parameter} * interval '1 millisecond'`,
    ms: (column) => `cast(floor(extract(epoch from ${column}) * 1000) as text)`,
    transaction() {
      if (client.totalCount !== undefined) return 'none'
      const status = client.getTransactionStatus?.() ?? null
      if (status === null) return 'unknown'
      return status === 'I' ? 'none' : 'open'
    },
    async weakness() {
      const [row] = await query(
        `select current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit`,
        [],
      )
      const off = ['fsync', 'synchronous_commit'].find((setting) => row?.[setting] === 'off')
      return off === undefined ? null : `${off} is off`
    },
    query,
  }
}
