/**
 * How far the data is, and what has changed so far, as the server counts it anyway: nothing is read but its counters.
 *
 * The counters say a little more than a comparison would: rows of transactions that were taken back are counted too, and a
 * session hands in its counts up to a second after it has committed. A crash, and so a return, begins them anew.
 */
import type { Position } from '../provider/index.ts'
import type { Session } from './drivers/connection.ts'
import { shownName } from './names.ts'

/** Reads the position and the counts of the database that the session is in. Partitions count for their table. */
export async function readPosition(session: Session): Promise<Position> {
  const [at] = await session.query<{ position: string; since: string }>(`
    select pg_current_wal_insert_lsn()::text as position,
      (extract(epoch from greatest(d.stats_reset, b.stats_reset)) * 1000)::bigint::text as since
    from pg_stat_database d, pg_stat_bgwriter b where d.datname = current_database()`)
  const counts = await session.query<{ name: string; added: string; removed: string; changed: string }>(`
    select ${shownName} as name, sum(s.n_tup_ins)::bigint::text as added, sum(s.n_tup_del)::bigint::text as removed,
        sum(s.n_tup_upd)::bigint::text as changed
      from pg_stat_user_tables s join pg_class c on c.oid = coalesce(pg_partition_root(s.relid), s.relid)
      join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and n.nspname <> 'stead' group by 1 having sum(s.n_tup_ins + s.n_tup_del + s.n_tup_upd) > 0 order by 1`)
  return {
    position: at?.position ?? '',
    countedSinceMs: Number(at?.since ?? 0),
    counts: counts.map(({ name, added, removed, changed }) => ({
      name,
      added: Number(added),
      removed: Number(removed),
      changed: Number(changed),
    })),
  }
}
