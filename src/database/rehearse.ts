/**
 * Tries what is due on a copy of the data, as it would run on the live data, and measures it: how long each statement takes,
 * and which tables and rows it keeps others from, until the end of its transaction.
 *
 * Invariants: a lock counts from the last look at which it was not there, so it is rather said to be held too long than
 * too short; a copy on which it worked is left migrated and at rest.
 */
import { SteadError, sleep } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { ProviderContext, Trial } from '../provider/index.ts'
import type { PostgresBinaries } from './binaries.ts'
import { parseConfig } from './config.ts'
import type { Session } from './drivers/connection.ts'
import { readMigrationFiles } from './drivers/migration-files.ts'
import type { MigrationFile } from './migrations.ts'
import { pendingOf } from './migrations.ts'
import { namesOf, shownName } from './names.ts'
import { applyMigrations } from './prepare.ts'
import type { MigrationLimits } from './prepare.ts'
import { readRecord } from './record.ts'
import { rowLocks, RowLocks } from './row-locks.ts'
import type { Onlooker } from './run.ts'
import { chancePort, openServer } from './second.ts'
import { asAdmin, ensureDatabase } from './server.ts'
import type { Statement } from './sql.ts'

export interface RehearseOptions {
  readonly binaries: readonly PostgresBinaries[]
  readonly limits: MigrationLimits
  /** Most time of all that is tried. */
  readonly totalMsMax: number
}

/**
 * Runs what is due on the copy in `dataDir`. Throws as `prepare` does, or `database.rehearsal-timeout` with the statement
 * that had not ended.
 */
export async function rehearseMigrations(
  context: ProviderContext,
  lockMsMax: number,
  { binaries, limits, totalMsMax }: RehearseOptions,
): Promise<Trial> {
  const names = namesOf(context.app)
  const files = context.filesDir === null ? [] : await readMigrationFiles(context.filesDir)
  const { memoryBytes } = parseConfig(context.name, context.config)
  const how = { binaries, memoryBytes, settings: {}, purpose: 'be tried on' }
  await using server = await openServer(context, context.dataDir, chancePort(context.random), how)
  await ensureDatabase(server, names)
  const due = pendingOf(files, await asAdmin(server, names.database, readRecord))
  const log = new LockLog(context.clock, totalMsMax)
  const { random } = context
  // The limit of the whole is the one that ends a statement here, so that it can be told.
  const patient = { ...limits, statementTimeoutMs: totalMsMax + 60_000 }
  // As it will be: first halves in one transaction, second halves in another, later.
  const phases = due.migrates === 'expand' ? (['expand', 'all'] as const) : (['all'] as const)
  for (const phase of phases) {
    const onlooker = (admin: Session, migrator: Session): Promise<Onlooker> => log.look(admin, migrator)
    try {
      await applyMigrations({ server, names, files, phase, limits: patient, random, onlooker })
    } catch (error) {
      throw log.timeout() ?? error
    } finally {
      log.leave()
    }
  }
  return { statements: log.statements, refusals: refusalsOf(log.statements, lockMsMax) }
}

/** Modes that keep writers, or writers and readers, from a table. */
const modes: Readonly<Record<string, string>> = {
  ShareLock: 'writers',
  ShareRowExclusiveLock: 'writers',
  ExclusiveLock: 'writers',
  AccessExclusiveLock: 'readers and writers',
}

/** Why it should not be run: for each table, what keeps others from it longest. */
function refusalsOf(statements: Trial['statements'], lockMsMax: number): readonly string[] {
  const longest = new Map<string, { readonly heldMs: number; readonly sentence: string }>()
  for (const { file, line, text, locks } of statements) {
    for (const { table, mode, rows, heldMs } of locks) {
      if (heldMs <= lockMsMax || heldMs <= (longest.get(table)?.heldMs ?? 0)) continue
      const lock = rows === undefined ? mode : `${mode} (${rows} rows)`
      const waits = modes[mode] ?? 'who changes one of these'
      const sentence = `${file}:${line}: ${text}: holds ${lock} on ${table} for ${heldMs} ms, and ${lockMsMax} ms is the most: ${waits} would wait`
      longest.set(table, { heldMs, sentence })
    }
  }
  return [...longest.values()].map(({ sentence }) => sentence)
}

interface Held {
  readonly table: string
  readonly mode: string
  /** How many, where it is not the whole table. */
  readonly rows?: number
  readonly sinceMs: number
  heldMs: number
}

function toldOf({ table, mode, rows, heldMs }: Held): Trial['statements'][number]['locks'][number] {
  return { table, mode, ...(rows === undefined ? {} : { rows }), heldMs: Math.round(heldMs) }
}

interface Tried {
  readonly file: string
  readonly line: number
  readonly text: string
  durationMs: number
  readonly locks: Held[]
}

const textCharsMax = 120
/** Statements that are told of. */
const statementsMax = 1_000
/** Looks while a statement runs: often at first, so that what is short is not taken for long. */
const lookMsMin = 20
const lookMsMax = 250

/** What ran, and the locks that it held. One limit for all of it. */
class LockLog {
  readonly #clock: Clock
  readonly #deadlineMs: number
  readonly #totalMsMax: number
  readonly #tried: Tried[] = []
  /** Locks that are held now, by table and mode. */
  #held = new Map<string, Held>()
  /** Rows that are held now: each until the end of the transaction. */
  #rows: Held[] = []
  #lookedMs = 0
  #now: string | null = null
  #timeout: string | null = null
  #timer: Disposable | null = null

  constructor(clock: Clock, totalMsMax: number) {
    this.#clock = clock
    this.#totalMsMax = totalMsMax
    this.#deadlineMs = clock.monotonicMs() + totalMsMax
  }

  get statements(): Trial['statements'] {
    return this.#notable().map(({ locks, durationMs, ...tried }) => ({
      ...tried,
      durationMs: Math.round(durationMs),
      locks: locks.map(toldOf),
    }))
  }

  /** In their order: all, or of very many those that kept others waiting or took longest. */
  #notable(): readonly Tried[] {
    if (this.#tried.length <= statementsMax) return this.#tried
    const weight = ({ locks, durationMs }: Tried): number => durationMs + (locks.length > 0 ? this.#totalMsMax : 0)
    const chosen = new Set(this.#tried.toSorted((a, b) => weight(b) - weight(a)).slice(0, statementsMax))
    return this.#tried.filter((tried) => chosen.has(tried))
  }

  /** Looks on at what the migrator's session runs, and ends it when the time is over. */
  async look(admin: Session, migrator: Session): Promise<Onlooker> {
    const [row] = await migrator.query<{ pid: number }>('select pg_backend_pid() as pid')
    const pid = row?.pid ?? 0
    this.#timer = this.#clock.after(Math.max(0, this.#deadlineMs - this.#clock.monotonicMs()), () => {
      this.#timeout = this.#now ?? 'the end of the transaction'
      admin.query('select pg_terminate_backend($1)', [pid]).catch(() => undefined)
    })
    const locks = new RowLocks(admin, migrator, pid)
    return {
      around: (file, statement, run) => this.#around(admin, { pid, locks }, file, statement, run),
      over: () => this.#over(),
    }
  }

  leave(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = null
  }

  timeout(): SteadError | null {
    if (this.#timeout === null) return null
    return new SteadError({
      code: 'database.rehearsal-timeout',
      message: `${this.#timeout} has not ended on a copy of the data: all that is due has ${Math.round(this.#totalMsMax / 1000)} s`,
      hint: 'Do it in smaller steps. The live data was not touched.',
    })
  }

  async #around(
    admin: Session,
    { pid, locks }: { readonly pid: number; readonly locks: RowLocks },
    file: MigrationFile,
    statement: Statement,
    run: () => Promise<void>,
  ): Promise<void> {
    const text = statement.text.replaceAll(/\s+/g, ' ').slice(0, textCharsMax)
    const tried: Tried = { file: file.name, line: statement.line, text, durationMs: 0, locks: [] }
    this.#tried.push(tried)
    this.#now = `${file.name}:${statement.line}: ${text}`
    const startMs = this.#clock.monotonicMs()
    this.#lookedMs = startMs
    const state = { ended: false }
    const ended = run().finally(() => {
      state.ended = true
      tried.durationMs = this.#clock.monotonicMs() - startMs
    })
    // A refusal is thrown below; meanwhile it must not be one that nobody handles.
    ended.catch(() => undefined)
    for (let pauseMs = lookMsMin; !state.ended; pauseMs = Math.min(pauseMs * 2, lookMsMax)) {
      await Promise.race([ended.catch(() => undefined), sleep(this.#clock, pauseMs)])
      await this.#take(admin, pid, tried)
    }
    await ended
    for (const rows of await locks.of(statement.text)) {
      // Which of them was locked first, and when, is not known: as if it had been all of them, at once.
      const held = { ...rows, mode: rowLocks, sinceMs: startMs, heldMs: this.#clock.monotonicMs() - startMs }
      this.#rows.push(held)
      tried.locks.push(held)
    }
  }

  async #take(admin: Session, pid: number, tried: Tried): Promise<void> {
    const atMs = this.#clock.monotonicMs()
    const seen = await admin.query<{ table: string; mode: string }>(locksQuery, [pid, Object.keys(modes)])
    const keys = new Set(seen.map(({ table, mode }) => `${mode} ${table}`))
    for (const [key, lock] of this.#held) {
      lock.heldMs = atMs - lock.sinceMs
      if (!keys.has(key)) this.#held.delete(key)
    }
    for (const { table, mode } of seen) {
      const key = `${mode} ${table}`
      if (this.#held.has(key)) continue
      const lock = { table, mode, sinceMs: this.#lookedMs, heldMs: atMs - this.#lookedMs }
      this.#held.set(key, lock)
      tried.locks.push(lock)
    }
    this.#lookedMs = atMs
  }

  #over(): void {
    const atMs = this.#clock.monotonicMs()
    for (const lock of [...this.#held.values(), ...this.#rows]) lock.heldMs = atMs - lock.sinceMs
    this.#held = new Map()
    this.#rows = []
    this.#now = null
  }
}

/** Tables that a session keeps others from; a lock on an index counts for its table. What its own transaction has made is not seen. */
const locksQuery = `
  select distinct l.mode, ${shownName} as table
    from pg_locks l left join pg_index i on i.indexrelid = l.relation
    join pg_class c on c.oid = coalesce(i.indrelid, l.relation) join pg_namespace n on n.oid = c.relnamespace
    where l.pid = $1 and l.granted and l.locktype = 'relation' and l.mode = any ($2) and c.relkind in ('r', 'p', 'm')
      and l.database = (select oid from pg_database where datname = current_database())
      and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'stead')`
