/**
 * Brings rows that only a copy has into the live data: by primary key, in one transaction, with the rights of the app's
 * owner.
 *
 * Invariants: all of it or nothing; what is there already stays as it is; the condition is put to the copy, by a reader.
 * Triggers of the table fire, as for any other row that comes in.
 */
import { SteadError } from '../base/index.ts'
import type { ProviderContext, ReplayOrder } from '../provider/index.ts'
import type { PostgresBinaries } from './binaries.ts'
import { refusalOf } from './drivers/connection.ts'
import type { Session } from './drivers/connection.ts'
import { namesOf, quoteName, shownName } from './names.ts'
import { asMigrator } from './prepare.ts'
import type { MigrationLimits } from './prepare.ts'
import { ask, asReader } from './reader.ts'
import { takeTurn } from './record.ts'
import { chancePort, databaseOf, openServer, readerMemoryBytes } from './second.ts'
import { asAdmin } from './server.ts'
import type { Server } from './server.ts'

export interface ReplayOptions {
  readonly binaries: readonly PostgresBinaries[]
  readonly limits: MigrationLimits
}

const batchRows = 200

/**
 * Copies the rows and answers how many came in. Throws `database.replay-table`, `-no-key`, `-where`, `-refused`; then nothing
 * was changed.
 */
export async function replayRows(
  context: ProviderContext,
  live: Server,
  from: string,
  order: ReplayOrder,
  { binaries, limits }: ReplayOptions,
): Promise<number> {
  const names = namesOf(context.app)
  const settings = { shared_buffers: '32MB', autovacuum: 'off' }
  const how = { binaries, memoryBytes: readerMemoryBytes, settings, purpose: 'be read' }
  await using source = await openServer(context, from, chancePort(context.random), how)
  const database = await databaseOf(context, source)
  const theirs = await asAdmin(source, database, (session) => findTable(session, order.table, 'the copy'))
  return await asAdmin(live, names.database, async (admin) => {
    const ours = await findTable(admin, order.table, 'the live data')
    if (ours.key.length === 0) {
      throw new SteadError({
        code: 'database.replay-no-key',
        message: `table ${order.table} has no primary key, so it cannot be told which rows are missing`,
        hint: 'Copy them by hand, from a look at the copy.',
      })
    }
    await takeTurn(admin, context.name)
    return await asReader(source, database, context.random, limits, (reader) =>
      asMigrator(admin, { server: live, names, limits, random: context.random }, async (writer) => {
        try {
          await writer.query(`set role ${quoteName(names.owner)}`)
          await writer.query('begin')
          const count = await copyRows(reader, writer, theirs, ours, order.where)
          await writer.query('commit')
          return count
        } catch (error) {
          throw await refusedReplay(error, admin, order.table, ours)
        }
      }),
    )
  })
}

interface Table {
  /** Schema and name, as SQL. */
  readonly sql: string
  readonly partitioned: boolean
  /** All but those that are generated. */
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly key: readonly string[]
}

async function findTable(session: Session, name: string, where: string): Promise<Table> {
  const [table] = await session.query<{ [Key in keyof Table]: Table[Key] }>(
    `select quote_ident(n.nspname) || '.' || quote_ident(c.relname) as sql, c.relkind = 'p' as partitioned,
       (select coalesce(json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod))
           order by a.attnum), '[]'::json)
         from pg_attribute a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns,
       array(select a.attname::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid
         where i.indrelid = c.oid and i.indisprimary
           and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1])) as key
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and ${shownName} = $1
       and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'stead')`,
    [name],
  )
  if (table !== undefined) return table
  throw new SteadError({
    code: 'database.replay-table',
    message: `there is no table ${name} in ${where}`,
    hint: 'Tables outside of schema public are called SCHEMA.TABLE, as in the report.',
  })
}

/** Values travel as text, in the form that the server itself reads and writes for their type. */
async function copyRows(
  reader: Session,
  writer: Session,
  theirs: Table,
  ours: Table,
  where: string | null,
): Promise<number> {
  const columns = ours.columns.filter(({ name }) => theirs.columns.some((column) => column.name === name))
  const values = columns.map(({ name }) => `${quoteName(name)}::text`).join(', ')
  const source = `${theirs.partitioned ? '' : 'only '}${theirs.sql}`
  // On lines of its own, so that a comment in the condition ends with it.
  const condition = where === null ? '' : ` where (\n${where}\n)`
  await ask(
    reader,
    `declare stead_rows no scroll cursor for select to_json(array[${values}])::text as row from ${source}${condition}`,
    { code: 'database.replay-where', what: `the condition for ${theirs.sql} cannot be used` },
  )
  const insert = `insert into ${ours.sql} (${columns.map(({ name }) => quoteName(name)).join(', ')}) overriding system value
    select ${columns.map(({ type }, index) => `(r ->> ${index})::${type}`).join(', ')} from json_array_elements($1::json) r
    on conflict (${ours.key.map(quoteName).join(', ')}) do nothing returning 1`
  for (let count = 0; ;) {
    const rows = await ask<{ row: string }>(reader, `fetch ${batchRows} from stead_rows`, {
      code: 'database.replay-where',
      what: `the condition for ${theirs.sql} cannot be used`,
    })
    if (rows.length === 0) return count
    count += (await writer.query(insert, [`[${rows.map(({ row }) => row).join(',')}]`])).length
  }
}

/** What the live data said to a row, with what can be done. */
async function refusedReplay(error: unknown, admin: Session, shown: string, { sql }: Table): Promise<unknown> {
  const refusal = refusalOf(error)
  if (refusal === null) return error
  const [needed] =
    refusal.sqlState === '23503' && refusal.constraint !== null
      ? await admin.query<{ name: string }>(
          `select ${shownName} as name from pg_constraint k join pg_class c on c.oid = k.confrelid
             join pg_namespace n on n.oid = c.relnamespace
             where k.conname = $1 and k.conrelid = $2::regclass`,
          [refusal.constraint, sql],
        )
      : []
  const next = needed === undefined ? '' : `Bring the rows of ${needed.name} in first.`
  return new SteadError({
    code: 'database.replay-refused',
    message: `table ${shown}: ${refusal.message}`,
    hint: [refusal.detail ?? '', next, 'Nothing was changed.'].filter((part) => part !== '').join(' '),
    cause: error,
  })
}
