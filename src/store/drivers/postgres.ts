/**
 * Records in a schema of a PostgreSQL database, shared by any number of processes. Writers queue up on the one row of
 * `head`, so revisions are given in the order of commits (a sequence is not). A commit whose answer was lost throws
 * `store.outcome-unknown`, never a guess. NOTIFY carries hints and nothing relies on it. `pg` is loaded when first used.
 */
import type { QueryResultRow } from 'pg'
import { assert, systemClock } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import { CommitQueue } from '../commit-queue.ts'
import type { Group } from '../commit-queue.ts'
import { readsOf, tombstonesKept } from '../draft.ts'
import type { Draft, Head, Loaded, Reads } from '../draft.ts'
import { storeOn } from '../driver.ts'
import type { Commit, Row, RowPage, StoreDriver } from '../driver.ts'
import { checkCursor } from '../errors.ts'
import { Hints } from '../hints.ts'
import { checkListBytes, endOfPrefix } from '../limits.ts'
import { listBytesMax, pageBytesMax, tombstonesMax } from '../store.ts'
import type { Lease, Store, StoreCapabilities, TransactionResult } from '../store.ts'
import { Connections } from './postgres-connections.ts'
import type { Session } from './postgres-connections.ts'
import { HintListener, hintOf } from './postgres-hints.ts'
import { checkSchemaName, knownHead, migrate, statements } from './postgres-schema.ts'
import type { HeadRow, Statements } from './postgres-schema.ts'

export interface PostgresStoreOptions {
  /** Where the primary is: `postgres://user:password@host:port/database`; `?host=/folder` goes to the Unix socket there. */
  readonly url: string
  /** The schema that holds the records, made when it is not there; lower-case letters, digits and `_`. Default `stead_store`. */
  readonly schema?: string
  /** Times the attempts to listen again for hints. Leases expire by the database's clock. Defaults to the machine's clock. */
  readonly clock?: Clock
  /** Deletions to remember; defaults to `tombstonesMax`. All processes on one schema should say the same. */
  readonly tombstonesMax?: number
}

/**
 * Opens the store in a schema. Throws `store.unavailable`, `store.cannot-open`, `store.newer-version`,
 * `store.not-durable` or `store.bad-input`. Give it the server itself, not a pooler that changes sessions between statements.
 */
export async function openPostgresStore(options: PostgresStoreOptions): Promise<Store> {
  const schema = options.schema ?? 'stead_store'
  checkSchemaName(schema)
  const pg = await import('pg')
  const hints = new Hints()
  const connections = new Connections(pg, options.url)
  try {
    await connections.write((session) => migrate(session, schema, connections.place))
  } catch (error) {
    await connections.close()
    throw error
  }
  const listener = new HintListener(pg, options.url, schema, hints, options.clock ?? systemClock)
  await listener.start()
  return storeOn(new PostgresDriver(connections, listener, options, schema, hints), hints)
}

class PostgresDriver implements StoreDriver {
  readonly name = 'postgres'
  readonly capabilities: StoreCapabilities = { durability: 'fsync', sharedByProcesses: true }
  readonly #connections: Connections
  readonly #listener: HintListener
  readonly #schema: string
  readonly #hints: Hints
  readonly #tombstonesMax: number
  readonly #sql: Statements
  readonly #queue: CommitQueue

  constructor(
    connections: Connections,
    listener: HintListener,
    options: PostgresStoreOptions,
    schema: string,
    hints: Hints,
  ) {
    this.#connections = connections
    this.#listener = listener
    this.#schema = schema
    this.#hints = hints
    this.#tombstonesMax = options.tombstonesMax ?? tombstonesMax
    this.#sql = statements(schema)
    this.#queue = new CommitQueue(connections.place, (group) => this.#commit(group))
  }

  async get(key: string): Promise<Row | null> {
    const [row] = await this.#read<Row>(this.#sql.get, [key])
    return row ?? null
  }

  async list(prefix: string): Promise<{ readonly rows: readonly Row[]; readonly revision: number }> {
    const found = await this.#read<ListRow>(this.#sql.list, [prefix, endOfPrefix(prefix), listBytesMax])
    const [first] = found
    assert(first !== undefined, 'the head row is missing')
    checkListBytes(prefix, first.bytes)
    return { rows: rowsIn(found), revision: first.head }
  }

  async listSince(prefix: string, cursor: number, limit: number): Promise<RowPage> {
    const values = [cursor, prefix, endOfPrefix(prefix), limit, pageBytesMax]
    const found = await this.#read<PageRow>(this.#sql.listSince, values)
    const [first] = found
    assert(first !== undefined, 'the head row is missing')
    checkCursor(cursor, { revision: first.head, horizon: first.horizon })
    const cut = first.more ? first.cut : null
    return { rows: rowsIn(found), cursor: cut ?? first.head, more: cut !== null }
  }

  transact(commit: Commit): Promise<TransactionResult> {
    return this.#queue.submit(readsOf(commit), commit.bytes, (draft) => draft.transact(commit))
  }

  acquireLease(name: string, holder: string, ttlMs: number): Promise<Lease | null> {
    return this.#queue.submit({ keys: [], leases: [name] }, 0, (draft) => draft.acquireLease(name, holder, ttlMs))
  }

  releaseLease(name: string, epoch: number): Promise<void> {
    return this.#queue.submit({ keys: [], leases: [name] }, 0, (draft) => draft.releaseLease(name, epoch))
  }

  /** Writes the table anew, without what was replaced. */
  async scrub(): Promise<void> {
    await this.#queue.idle()
    await this.#read(this.#sql.scrub, [])
  }

  async close(): Promise<void> {
    await this.#queue.idle()
    await this.#listener.close()
    await this.#connections.close()
  }

  /** One statement, which is one snapshot. */
  #read<T>(sql: string, values: readonly unknown[]): Promise<readonly RowOf<T>[]> {
    return this.#connections.read((session) => session.query<RowOf<T>>(sql, values))
  }

  async #commit(group: Group): Promise<void> {
    const draft = await this.#connections.write(async (session) => {
      const loaded = await this.#load(session, group.reads)
      const decided = group.decide(loaded)
      if (!decided.isEmpty) await this.#save(session, decided, loaded.nowMs)
      return decided
    })
    if (draft.rows.size > 0) this.#hints.changed(draft.rows.keys())
  }

  async #load(session: Session, { keys, leases }: Reads): Promise<Loaded> {
    const [locked] = await session.query<HeadRow>(this.#sql.lockHead)
    const head = knownHead(locked, this.#schema, this.#connections.place)
    const records = keys.length === 0 ? [] : await session.query<RowOf<KnownRow>>(this.#sql.loadRecords, [keys])
    const found = leases.length === 0 ? [] : await session.query<RowOf<LeaseRow>>(this.#sql.loadLeases, [leases])
    return {
      head,
      nowMs: found[0]?.now_ms ?? 0,
      records: new Map(records.map((row) => [row.key, row])),
      leases: new Map(found.flatMap((row) => (row.name === null ? [] : [[row.name, leaseOf(row.name, row)]]))),
      leasesHeld: found[0]?.held ?? 0,
    }
  }

  async #save(session: Session, draft: Draft, nowMs: number): Promise<void> {
    const rows = [...draft.rows.values()]
    if (rows.length > 0) {
      const columns = [rows.map((row) => row.key), rows.map((row) => row.text), rows.map((row) => row.revision)]
      await session.query(this.#sql.saveRecords, columns)
    }
    if (draft.leases.size > 0) await this.#saveLeases(session, draft.leases, nowMs)
    const head = await this.#forgetDeletions(session, draft.head)
    const numbers = [head.revision, head.horizon, head.tombstones, head.epoch]
    await session.query(this.#sql.saveHead, [...numbers, hintOf(draft.rows.keys())])
  }

  async #saveLeases(session: Session, leases: ReadonlyMap<string, Lease | null>, nowMs: number): Promise<void> {
    const removed = [...leases].flatMap(([name, lease]) => (lease === null ? [name] : []))
    const taken = [...leases.values()].filter((lease) => lease !== null)
    await session.query(this.#sql.removeLeases, [removed, nowMs])
    await session.query(this.#sql.saveLeases, [
      taken.map((lease) => lease.name),
      taken.map((lease) => lease.holder),
      taken.map((lease) => lease.epoch),
      taken.map((lease) => lease.expiresAtMs),
    ])
  }

  async #forgetDeletions(session: Session, head: Head): Promise<Head> {
    if (head.tombstones <= this.#tombstonesMax) return head
    const [oldest] = await session.query<RowOf<{ revision: number }>>(this.#sql.findHorizon, [
      tombstonesKept(this.#tombstonesMax),
    ])
    assert(oldest !== undefined, 'the count of deletions is wrong')
    const [forgotten] = await session.query<RowOf<{ count: number }>>(this.#sql.forgetDeletions, [oldest.revision])
    return { ...head, horizon: oldest.revision, tombstones: head.tombstones - (forgotten?.count ?? 0) }
  }
}

type RowOf<T> = QueryResultRow & T

interface KnownRow {
  readonly key: string
  readonly revision: number
  readonly deleted: boolean
}

interface LeaseRow {
  readonly now_ms: number
  readonly held: number
  readonly name: string | null
  readonly holder: string
  readonly epoch: number
  readonly expires_at_ms: number
}

/** A row of an outer join: the key is null when there is no record. */
interface JoinedRow {
  readonly head: number
  readonly key: string | null
  readonly text: string | null
  readonly revision: number
}

interface ListRow extends JoinedRow {
  readonly bytes: number
}

interface PageRow extends JoinedRow {
  readonly horizon: number
  readonly cut: number | null
  readonly more: boolean
}

function rowsIn(found: readonly JoinedRow[]): readonly Row[] {
  return found.flatMap(({ key, text, revision }) => (key === null ? [] : [{ key, text, revision }]))
}

function leaseOf(name: string, { holder, epoch, expires_at_ms: expiresAtMs }: LeaseRow): Lease {
  return { name, holder, epoch, expiresAtMs }
}
