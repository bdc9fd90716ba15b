/** What a comparison of rows leaves out, of two states of a database: a sentence each, only where there is something. */
import type { Session } from './drivers/connection.ts'
import { shownName } from './names.ts'

const namesMax = 10

/** What was not compared. */
export async function gapsBetween(before: Session, after: Session): Promise<readonly string[]> {
  const gaps: string[] = []
  const [objectsBefore, objectsAfter] = [await largeObjects(before), await largeObjects(after)]
  if (objectsBefore + objectsAfter > 0)
    gaps.push(`Large objects are not compared: there were ${objectsBefore}, and are ${objectsAfter}.`)
  const unlogged = await relations(after, `c.relkind in ('r', 'p') and c.relpersistence = 'u'`)
  if (unlogged.length > 0) gaps.push(`Unlogged tables are emptied by a crash and by a return: ${list(unlogged)}.`)
  const views = await relations(after, `c.relkind = 'm'`)
  if (views.length > 0) gaps.push(`Materialized views are not compared: ${list(views)}.`)
  const moved = await movedSequences(before, after)
  if (moved.length > 0)
    gaps.push(`Sequences have given out numbers, and go on past them after a return: ${list(moved)}.`)
  return gaps
}

async function largeObjects(session: Session): Promise<number> {
  const [row] = await session.query<{ count: string }>('select count(*) as count from pg_largeobject_metadata')
  return Number(row?.count ?? 0)
}

async function relations(session: Session, condition: string): Promise<readonly string[]> {
  const rows = await session.query<{ name: string }>(
    `select ${shownName} as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where ${condition} and not c.relispartition and n.nspname !~ '^pg_'
         and n.nspname not in ('information_schema', 'stead') order by 1`,
  )
  return rows.map(({ name }) => name)
}

async function movedSequences(before: Session, after: Session): Promise<readonly string[]> {
  const read = async (session: Session): Promise<ReadonlyMap<string, string | null>> => {
    const rows = await session.query<{ name: string; last: string | null }>(
      `select case when schemaname = 'public' then sequencename else schemaname || '.' || sequencename end as name,
          last_value::text as last
         from pg_sequences where schemaname !~ '^pg_' and schemaname not in ('information_schema', 'stead') order by 1`,
    )
    return new Map(rows.map(({ name, last }) => [name, last]))
  }
  const [then, now] = [await read(before), await read(after)]
  return [...now].filter(([name, last]) => last !== null && then.get(name) !== last).map(([name]) => name)
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, namesMax).join(', ')
  return names.length > namesMax ? `${shown} and ${names.length - namesMax} more` : shown
}
