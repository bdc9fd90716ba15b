/**
 * Whether what a server acknowledges is on the disk: what it is set to, and how often it has flushed its log for commits that
 * were made to see. The judgement is pure.
 *
 * Invariant: what is not known is no refusal; a server that says or shows that it acknowledges without flushing is one.
 */
import { SteadError } from '../base/index.ts'
import type { Session } from './drivers/connection.ts'

/** Commits that are made to see: one could be flushed together with another's. */
const commits = 4

/** The settings without which an acknowledged commit can be lost, or its page torn. */
const durable = ['fsync', 'synchronous_commit', 'full_page_writes'] as const

/** What a server is set to, and the flushes of its log that it has counted; null where it does not count them. */
export interface DurabilityFindings {
  readonly settings: Readonly<Record<string, string>>
  readonly commits: number
  readonly flushes: number | null
  /** What has counted. */
  readonly counter: string
}

/** How it is known, in a sentence. Throws `database.not-durable`. `name` is the resource's. */
export function judgeDurability(name: string, found: DurabilityFindings): string {
  const { settings, flushes, counter } = found
  const weak = durable.filter((setting) => weakens(settings[setting]))
  if (weak.length > 0) {
    const said = weak.map((setting) => `${setting} is ${settings[setting] ?? 'not known'}`).join(', ')
    throw notDurable(name, said, 'See the *.conf files in its data, and what it was started with.')
  }
  const method = settings['wal_sync_method'] ?? ''
  // Writes that wait for the disk themselves need no flush after them.
  if (method.startsWith('open_')) return `every commit is written through to the disk (${method})`
  if (flushes === null) return `set to flush for every commit (${method}); this server does not count that`
  if (flushes === 0) {
    const said = `${found.commits} commits were acknowledged and ${counter} has counted no flush of the log`
    throw notDurable(name, said, 'Is this a PostgreSQL that was changed, or preloaded with something that skips fsync?')
  }
  const perCommit = (flushes / found.commits).toFixed(1)
  return `${perCommit} flushes for each commit (${method}), counted by ${counter}`
}

function weakens(value: string | undefined): boolean {
  // Other values of synchronous_commit wait at least for the own disk.
  return value === undefined || value === 'off'
}

function notDurable(name: string, said: string, hint: string): SteadError {
  return new SteadError({
    code: 'database.not-durable',
    message: `database ${name} does not keep what it acknowledges over a loss of power: ${said}`,
    hint,
  })
}

/** The same of a server that others run: what its storage does to flush is theirs, what it is set to is not. */
export function judgeHosted(name: string, settings: DurabilityFindings['settings']): string {
  const weak = (['fsync', 'synchronous_commit'] as const).filter((setting) => settings[setting] === 'off')
  if (weak.length === 0) return 'set to flush for every commit; it is hosted elsewhere, so that was not counted'
  const said = weak.map((setting) => `${setting} is off`).join(', ')
  throw notDurable(
    name,
    said,
    'Ask whoever runs it, or set it for the role of its URL: alter role ... set synchronous_commit.',
  )
}

/** What a server is set to, as its sessions see it. */
export async function readSettings(session: Session): Promise<DurabilityFindings['settings']> {
  const names = [...durable, 'wal_sync_method'].map((setting) => `'${setting}'`).join(', ')
  const rows = await session.query<{ name: string; setting: string }>(
    `select name, setting from pg_settings where name in (${names})`,
  )
  return Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))
}

/** Looks at a server, and commits a few times something that is nowhere to be seen. */
export async function findDurability(session: Session): Promise<DurabilityFindings> {
  const settings = await readSettings(session)
  const counter = await counterOf(session)
  const before = await counter.read()
  for (let commit = 0; commit < commits; commit += 1)
    await session.query(`select pg_logical_emit_message(true, 'stead', 'durability')`)
  const after = await counter.read()
  const flushes = before === null || after === null ? null : after - before
  return { settings, commits, flushes, counter: counter.name }
}

interface Counter {
  readonly name: string
  read(): Promise<number | null>
}

/** Where a server counts flushes of its log: which view that is has changed with the versions. */
async function counterOf(session: Session): Promise<Counter> {
  const rows = await session.query<{ major: number }>(
    `select current_setting('server_version_num')::int / 10000 as major`,
  )
  const major = rows[0]?.major ?? 0
  const [name, question] =
    major >= 18
      ? ['pg_stat_io', `select sum(fsyncs)::float8 as n from pg_stat_io where object = 'wal'`]
      : ['pg_stat_wal', 'select wal_sync::float8 as n from pg_stat_wal']
  return {
    name,
    async read() {
      if (major < 15) return null
      // What a session has counted is seen when it has said so, at the end of a transaction.
      await session.query('select pg_stat_force_next_flush()')
      return (await session.query<{ n: number | null }>(question))[0]?.n ?? null
    },
  }
}
