/**
 * The proof that a checkpoint is one moment of everything: writers keep numbers in PostgreSQL, in SQLite and in files of one
 * domain while checkpoints are taken, and a book beside it says when each number was begun and when it was acknowledged.
 *
 * A checkpoint is in order when three things hold of the numbers in it:
 * - what was acknowledged before the checkpoint was asked for is in it;
 * - what was begun after it was answered is not in it;
 * - whenever a number is in it, so is every number that was acknowledged before that one was begun, in whatever store.
 *
 * Moments are counted, not measured: one process does all of it, so beginnings and ends have one order.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Client } from 'pg'
import { Server } from '../scripts/bench-domain-rig.ts'
import { sleep, systemClock } from '../src/base/index.ts'

export const stores = ['postgres', 'sqlite', 'files'] as const
export type StoreName = (typeof stores)[number]

/** Numbers by the store they are in. */
export type Contents = Readonly<Record<StoreName, ReadonlySet<number>>>

interface Kept {
  readonly store: StoreName
  readonly begun: number
  readonly acknowledged: number
}

/** When what was begun and acknowledged. */
export class Book {
  readonly #kept: { store: StoreName; begun: number; acknowledged: number }[] = []
  readonly #onAcknowledged: (moment: number) => void
  #moment = 0

  /** `onAcknowledged` is told each moment at which something was acknowledged. */
  constructor(onAcknowledged: (moment: number) => void = () => undefined) {
    this.#onAcknowledged = onAcknowledged
  }

  /** The present moment; each is later than all before. */
  now(): number {
    this.#moment += 1
    return this.#moment
  }

  /** The next number, begun now. */
  begin(store: StoreName): number {
    return this.#kept.push({ store, begun: this.now(), acknowledged: Number.POSITIVE_INFINITY }) - 1
  }

  acknowledge(number: number): void {
    const kept = this.#kept[number]
    if (kept === undefined) return
    kept.acknowledged = this.now()
    this.#onAcknowledged(kept.acknowledged)
  }

  get entries(): readonly Kept[] {
    return this.#kept
  }

  /** Numbers acknowledged in a store. */
  count(store: StoreName): number {
    return this.#kept.filter((kept) => kept.store === store && kept.acknowledged < Number.POSITIVE_INFINITY).length
  }
}

/** What is out of order in a checkpoint that was asked for and answered at these moments; a sentence each. */
export function violations(book: Book, contents: Contents, askedAt: number, answeredAt: number): readonly string[] {
  const present = book.entries.map(({ store }, number) => contents[store].has(number))
  const latestBegun = Math.max(0, ...book.entries.filter((_, number) => present[number]).map(({ begun }) => begun))
  return book.entries.flatMap(({ store, begun, acknowledged }, number) => {
    if (present[number] === true)
      return begun > answeredAt ? [`${number} of ${store} was begun after the checkpoint, and is in it`] : []
    if (acknowledged < askedAt) return [`${number} of ${store} was acknowledged before the checkpoint, and is missing`]
    if (acknowledged < latestBegun)
      return [`${number} of ${store} is missing, and something begun after its acknowledgement is there`]
    return []
  })
}

const accounts = 50

/** The three stores under a directory, being written to. */
export interface Load {
  readonly book: Book
  /** Moments at which writers failed, with what they were told. */
  readonly failures: readonly string[]
  stop(): Promise<void>
}

/** How much is written: by how many writers, and how long each rests after a write, in milliseconds. */
export interface Pace {
  readonly lanes: number
  readonly restMs: number
}

/** Makes the stores in an empty directory and starts writers on them, each going from store to store. */
export async function startLoad(
  directory: string,
  server: Server,
  { lanes, restMs }: Pace,
  choose: (sides: number) => number,
  book: Book = new Book(),
): Promise<Load> {
  const failures: string[] = []
  await mkdir(join(directory, 'files'))
  const sqlite = new DatabaseSync(join(directory, 'app.db'))
  sqlite.exec('pragma journal_mode = wal; pragma synchronous = full; create table kept (number integer primary key)')
  const insert = sqlite.prepare('insert into kept values (?)')
  await server.query('create table kept (number integer primary key)')
  await server.query('create table accounts (id integer primary key, balance bigint not null)')
  await server.query(`insert into accounts select id, 100 from generate_series(1, ${accounts}) as id`)
  const clients = await Promise.all(Array.from({ length: lanes }, () => server.connect()))
  const state = { going: true }
  const lane = async (client: Client): Promise<void> => {
    while (state.going) {
      const store = stores[choose(stores.length)] ?? 'files'
      const number = book.begin(store)
      try {
        if (store === 'postgres') await keepInPostgres(client, number, choose)
        else if (store === 'sqlite') insert.run(number)
        else await keepInFile(directory, number)
        book.acknowledge(number)
      } catch (error) {
        failures.push(`${store} ${number}: ${String(error)}`)
        return
      }
      // SQLite's writes take the only thread: the others are to have their turn.
      await sleep(systemClock, restMs)
    }
  }
  const running = clients.map(lane)
  return {
    book,
    failures,
    async stop() {
      if (!state.going) return
      state.going = false
      await Promise.all(running)
      for (const client of clients) await client.end()
      sqlite.close()
    },
  }
}

/** Waits until every store has taken something new. */
export async function progressOf(load: Load): Promise<void> {
  const before = stores.map((store) => load.book.count(store))
  const deadlineMs = systemClock.monotonicMs() + 60_000
  while (stores.some((store, index) => load.book.count(store) <= (before[index] ?? 0))) {
    if (load.failures.length > 0) throw new Error(`a writer was refused: ${load.failures.join('; ')}`)
    if (systemClock.monotonicMs() > deadlineMs) throw new Error('the writers stand still')
    await sleep(systemClock, 5)
  }
}

/** A number and a transfer between two accounts, in one transaction: the sum of all accounts never changes. */
async function keepInPostgres(client: Client, number: number, choose: (sides: number) => number): Promise<void> {
  const [from, to] = [1 + choose(accounts), 1 + choose(accounts)].toSorted((a, b) => a - b)
  await client.query(
    `begin; insert into kept values (${number});
     update accounts set balance = balance - 1 where id = ${from};
     update accounts set balance = balance + 1 where id = ${to}; commit`,
  )
}

async function keepInFile(directory: string, number: number): Promise<void> {
  const folder = join(directory, 'files')
  const file = await open(join(folder, String(number)), 'wx')
  try {
    await file.writeFile(`${number}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  // The name lies in the directory, which is a file of its own to the disk.
  const names = await open(folder)
  try {
    await names.sync()
  } finally {
    await names.close()
  }
}

/** Reads the stores of a writable copy: PostgreSQL and SQLite recover in it as after a loss of power. */
export async function readCopy(copy: string, startServer: (data: string) => Server): Promise<Contents> {
  // It is the live server's, which is not this one.
  rmSync(join(copy, 'postgres', 'postmaster.pid'), { force: true })
  const server = startServer(join(copy, 'postgres'))
  try {
    if (!(await server.ready())) throw new Error(`PostgreSQL does not start on ${copy}: ${server.complaint}`)
    const kept = await server.query('select number from kept')
    const [sum] = await server.query('select sum(balance)::int as sum from accounts')
    if (sum?.['sum'] !== accounts * 100) throw new Error(`accounts hold ${String(sum?.['sum'])}, not ${accounts * 100}`)
    return {
      postgres: new Set(kept.map((row) => Number(row['number']))),
      sqlite: readSqlite(join(copy, 'app.db')),
      files: readFiles(join(copy, 'files')),
    }
  } finally {
    await server.stop('SIGQUIT')
  }
}

function readSqlite(path: string): ReadonlySet<number> {
  const db = new DatabaseSync(path)
  try {
    const check = Object.values(db.prepare('pragma integrity_check').get() ?? {})
    if (check[0] !== 'ok') throw new Error(`SQLite: ${String(check[0])}`)
    return new Set(
      db
        .prepare('select number from kept')
        .all()
        .map((row) => Number(row['number'])),
    )
  } finally {
    db.close()
  }
}

/** Files that are there whole; one that was being written may be there in part. */
function readFiles(folder: string): ReadonlySet<number> {
  const whole = readdirSync(folder).filter((name) => readFileSync(join(folder, name), 'utf8') === `${name}\n`)
  return new Set(whole.map(Number))
}
