/** What a database tells about itself, as metrics. Read by the administrator, who is not counted among the connections. */
import type { Metric } from '../provider/index.ts'
import type { Session } from './drivers/connection.ts'

/** One metric: its name, kind, meaning, and the SQL that yields it from the database's row of statistics, d. */
type Definition = readonly [name: string, kind: Metric['kind'], help: string, sql: string]

const definitions: readonly Definition[] = [
  [
    'postgres_connections',
    'gauge',
    'Open connections of consumers.',
    `(select count(*) from pg_stat_activity where backend_type = 'client backend' and usename !~ '^stead_')`,
  ],
  [
    'postgres_connections_max',
    'gauge',
    'Connections that consumers may open together.',
    `current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int`,
  ],
  ['postgres_size_bytes', 'gauge', 'Size of the database on disk.', 'pg_database_size(d.datid)'],
  ['postgres_transactions_committed_total', 'counter', 'Transactions committed.', 'd.xact_commit'],
  ['postgres_transactions_rolled_back_total', 'counter', 'Transactions rolled back.', 'd.xact_rollback'],
  ['postgres_blocks_read_total', 'counter', 'Blocks read from disk or the system cache.', 'd.blks_read'],
  ['postgres_blocks_hit_total', 'counter', "Blocks found in the server's own cache.", 'd.blks_hit'],
  [
    'postgres_cache_hit_ratio',
    'gauge',
    "Part of the blocks found in the server's own cache, 0 to 1.",
    'coalesce(d.blks_hit::float8 / nullif(d.blks_hit + d.blks_read, 0), 1)',
  ],
  ['postgres_deadlocks_total', 'counter', 'Deadlocks.', 'd.deadlocks'],
  [
    'postgres_oldest_transaction_seconds',
    'gauge',
    'Age of the oldest open transaction of a consumer.',
    `coalesce((select extract(epoch from max(clock_timestamp() - xact_start)) from pg_stat_activity
       where backend_type = 'client backend' and usename !~ '^stead_'), 0)`,
  ],
  [
    'postgres_wal_bytes_total',
    'counter',
    'Bytes of write-ahead log since the database was made.',
    `pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')`,
  ],
]

/** Reads all metrics of the database that the session is in. */
export async function readMetrics(session: Session): Promise<readonly Metric[]> {
  const columns = definitions.map(([name, , , sql]) => `(${sql})::float8 as ${name}`).join(', ')
  const [row] = await session.query<Record<string, number>>(
    `select ${columns} from pg_stat_database d where d.datname = current_database()`,
  )
  return definitions.map(([name, kind, help]) => ({ name, kind, help, value: row?.[name] ?? 0 }))
}
