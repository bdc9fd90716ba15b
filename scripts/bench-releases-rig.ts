/**
 * What scripts/bench-releases.ts works with: data like pgbench's, made by SQL; a load on it that notes how long every
 * transaction takes; and the peers, each as its own manual has it used.
 */
import { spawn } from 'node:child_process'
import { chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Client } from 'pg'
import { seededRandom, systemClock } from '../src/base/index.ts'
import type { Server } from './bench-domain-rig.ts'

const uid = 65_534
const accountsPerBranch = 100_000
const tellersPerBranch = 10
/** What a branch of pgbench's data weighs on disk, in MB. */
const branchMegabytes = 15

/** How many branches make that much data. */
export function branchesOf(megabytes: number): number {
  return Math.max(1, Math.round(megabytes / branchMegabytes))
}

/** Fills a database with branches, tellers and accounts, and an empty history. */
export async function fill(server: Server, branches: number): Promise<void> {
  for (const statement of [
    'create table pgbench_branches (bid int primary key, bbalance int not null, filler char(88))',
    'create table pgbench_tellers (tid int primary key, bid int not null, tbalance int not null, filler char(84))',
    'create table pgbench_accounts (aid int, bid int not null, abalance int not null, filler char(84)) with (fillfactor = 100)',
    'create table pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp default now(), filler char(22))',
    `insert into pgbench_branches select id, 0 from generate_series(1, ${branches}) id`,
    `insert into pgbench_tellers select id, (id - 1) / ${tellersPerBranch} + 1, 0 from generate_series(1, ${branches * tellersPerBranch}) id`,
    `insert into pgbench_accounts select id, (id - 1) / ${accountsPerBranch} + 1, 0, '' from generate_series(1, ${branches * accountsPerBranch}) id`,
    'alter table pgbench_accounts add primary key (aid)',
    'vacuum analyze',
    'checkpoint',
  ])
    await server.query(statement)
}

interface Transaction {
  readonly beganMs: number
  readonly endedMs: number
}

function longest(transactions: readonly Transaction[]): number {
  return Math.max(0, ...transactions.map(({ beganMs, endedMs }) => endedMs - beganMs))
}

/** Clients that do what pgbench's do, one transaction after another. */
export class Load {
  readonly #done: Transaction[] = []
  readonly #failures: string[] = []
  readonly #running: Promise<void>[]
  #going = true

  private constructor(clients: readonly Client[], branches: number) {
    this.#running = clients.map((client, index) => this.#lane(client, branches, index + 1))
  }

  static async start(server: Server, branches: number, connections = 4): Promise<Load> {
    const clients = await Promise.all(Array.from({ length: connections }, () => server.connect()))
    return new Load(clients, branches)
  }

  get failures(): readonly string[] {
    return this.#failures
  }

  get committed(): number {
    return this.#done.length
  }

  /** The longest that a client waited for a transaction that was under way in that time, in milliseconds. */
  longestMs(fromMs: number, toMs: number): number {
    return longest(this.#done.filter(({ beganMs, endedMs }) => beganMs < toMs && endedMs > fromMs))
  }

  /** The same of those that began and ended in that time. */
  longestWithinMs(fromMs: number, toMs: number): number {
    return longest(this.#done.filter(({ beganMs, endedMs }) => beganMs >= fromMs && endedMs <= toMs))
  }

  /** Ends it after the transactions that are under way. */
  async stop(): Promise<void> {
    this.#going = false
    await Promise.all(this.#running)
  }

  /** Ends it with whatever the server does to its clients: what fails from now on is expected. */
  abandon(): void {
    this.#going = false
  }

  async #lane(client: Client, branches: number, seed: number): Promise<void> {
    const random = seededRandom(seed * 7919)
    const pick = (count: number): number => 1 + (Buffer.from(random.bytes(6)).readUIntLE(0, 6) % count)
    while (this.#going) {
      const [aid, tid, bid] = [pick(branches * accountsPerBranch), pick(branches * tellersPerBranch), pick(branches)]
      const delta = pick(10_001) - 5001
      const beganMs = systemClock.monotonicMs()
      try {
        await client.query(
          `begin; update pgbench_accounts set abalance = abalance + ${delta} where aid = ${aid};
           select abalance from pgbench_accounts where aid = ${aid};
           update pgbench_tellers set tbalance = tbalance + ${delta} where tid = ${tid};
           update pgbench_branches set bbalance = bbalance + ${delta} where bid = ${bid};
           insert into pgbench_history (tid, bid, aid, delta) values (${tid}, ${bid}, ${aid}, ${delta}); end`,
        )
        this.#done.push({ beganMs, endedMs: systemClock.monotonicMs() })
      } catch (error) {
        if (this.#going) this.#failures.push(String(error))
        break
      }
    }
    await client.end().catch(() => undefined)
  }
}

/** Rows of the history, and whether every balance is what the history says: nothing lost, nothing in part. */
export async function audit(server: Server): Promise<{ readonly rows: number; readonly sound: boolean }> {
  const [row] = await server.query(
    `select (select count(*)::int from pgbench_history) as rows,
       (select sum(delta) from pgbench_history) is not distinct from nullif((select sum(bbalance) from pgbench_branches), null)
         or not exists (select from pgbench_history) as branches,
       (select coalesce(sum(bbalance), 0) from pgbench_branches) = (select coalesce(sum(tbalance), 0) from pgbench_tellers) as tellers,
       (select coalesce(sum(bbalance), 0) from pgbench_branches) = (select coalesce(sum(abalance), 0) from pgbench_accounts) as accounts`,
  )
  return {
    rows: Number(row?.['rows']),
    sound: ['branches', 'tellers', 'accounts'].every((name) => row?.[name] === true),
  }
}

/** Runs a program as the user of the servers; throws with what it said. Milliseconds. */
export async function timed(argv: readonly string[], cwd: string): Promise<number> {
  const startMs = systemClock.monotonicMs()
  const flags = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--', ...argv]
  const child = spawn('setpriv', flags, {
    cwd,
    env: { ...process.env, LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4000)))
  const code = await new Promise((resolve) => child.once('close', resolve))
  if (code !== 0) throw new Error(`${argv.slice(0, 2).join(' ')}: ${said}`)
  return systemClock.monotonicMs() - startMs
}

/** A directory that the user of the servers owns. */
export function ownDirectory(path: string): string {
  mkdirSync(path, { recursive: true })
  chownSync(path, uid, uid)
  return path
}

/** Writes pgBackRest's configuration for a server; answers the beginning of all of its commands. */
export function backrest(work: string, data: string, sockets: string, port: number): readonly string[] {
  const place = (name: string): string => ownDirectory(join(work, `backrest-${name}`))
  const config = join(work, 'backrest.conf')
  const lines = [
    '[global]',
    `repo1-path=${place('repo')}`,
    `lock-path=${place('lock')}`,
    `spool-path=${place('spool')}`,
    `log-path=${place('log')}`,
    'log-level-console=off',
    'log-level-stderr=error',
    'start-fast=y',
    'process-max=2',
    '[bench]',
    `pg1-path=${data}`,
    `pg1-socket-path=${sockets}`,
    `pg1-port=${port}`,
    'pg1-user=postgres',
    'pg1-database=postgres',
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
  return ['pgbackrest', `--config=${config}`, '--stanza=bench']
}

/** What is missing for the peers, or null. */
export function missingForPeers(bin: string): string | null {
  if (!existsSync(join(bin, 'pg_basebackup'))) return 'PostgreSQL 15 of Debian (apt-get install postgresql-15)'
  return existsSync('/usr/bin/pgbackrest') ? null : 'pgBackRest (apt-get install pgbackrest)'
}
