/**
 * Releases of a whole app on the real daemon, under load through its way in: a deployment, and going back with the data, from
 * the command to serving, with what clients see of it. Uses the published build, as servers do.
 *
 *     scripts/node scripts/bench-releases-whole.ts [sizes in MB, default 100 1000] [--haproxy]
 *
 * Needs Linux, root and btrfs-progs. Prints Markdown; decides nothing. About a minute and a half for 1 GB.
 */
import { spawnSync } from 'node:child_process'
import { cpSync } from 'node:fs'
import { loadavg } from 'node:os'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { ReleasesStatus } from '../src/operator/index.ts'
import { examplesDir } from '../test/command-line.ts'
import { DaemonBench } from '../test/daemon-bench.ts'
import { replaceApp } from '../test/small-app.ts'

const host = 'bench.localhost'
const returns = 5
const deployments = 5
const lanes = 4
const loadMs = 2000
/** Seconds that PostgreSQL is given to look at its new rows: it begins once in a minute. */
const settleTriesMax = 300
/** Rows of an account in one MB. */
const rowsPerMegabyte = 6700
const fillRows = 500_000

/** An app of accounts and a history: POST /next books on an account by chance and answers 201 once that is committed. */
function appOf(megabytes: number, version: number): Record<string, string> {
  const rows = megabytes * rowsPerMegabyte
  return {
    'app.ts': [
      `import { app, postgres, service } from 'stead'`,
      `export default app('bench', () => {`,
      `  const db = postgres('db', { migrations: './migrations' })`,
      `  const web = service('web', { from: './web', run: ['node', 'server.js'], http: 3000, use: { db } })`,
      `  return { parts: { web }, public: { '${host}': web }, data: '${Math.ceil((megabytes * 3) / 1000) + 5}GB' }`,
      `})`,
    ].join('\n'),
    'migrations/001_first.sql': [
      'create table accounts (id int primary key, balance int not null, filler char(84) not null);',
      'create table history (id int not null, delta int not null, made timestamptz not null default now());',
    ].join('\n'),
    'web/server.js': `
      import { createServer } from 'node:http'
      import pg from 'pg'
      const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 8, connectionTimeoutMillis: 2000 })
      pool.on('error', () => {})
      await pool.query('select 1').catch(() => {})
      const book = 'with a as (update accounts set balance = balance + 1 where id = $1) insert into history (id, delta) values ($1, 1)'
      createServer(async (question, answer) => {
        try {
          if (question.url.startsWith('/fill/')) {
            const from = Number(question.url.slice(6))
            await pool.query("insert into accounts select id, 0, '' from generate_series($1::int, $2::int) id", [from, Math.min(${rows}, from + ${fillRows} - 1)])
            return answer.end()
          }
          if (question.url === '/settled') {
            const vacuumed = "select 1 from pg_stat_user_tables where relname = 'accounts' and n_ins_since_vacuum <= ${rows} / 4"
            const { rows } = await pool.query(vacuumed + ' and not exists (select from pg_stat_progress_vacuum)')
            // The last of them, too.
            if (rows.length > 0) await pool.query('select count(*) from accounts')
            return answer.end(String(rows.length > 0))
          }
          if (question.url === '/size') return answer.end(String((await pool.query('select pg_database_size(current_database()) as size')).rows[0].size))
          if (question.method !== 'POST') return answer.end('version ${version}')
          await pool.query(book, [1 + Math.floor(Math.random() * ${rows})])
          answer.writeHead(201).end()
        } catch (error) {
          answer.writeHead(503).end(error.message)
        }
      }).listen(process.env.PORT)
      process.on('SIGTERM', () => process.exit(0))
    `,
  }
}

/** Puts it in the place of what is deployed now. */
function put(daemon: DaemonBench, megabytes: number, version: number): void {
  replaceApp(daemon.bench, appOf(megabytes, version))
  for (const name of ['package.json', 'package-lock.json'])
    cpSync(join(examplesDir, 'shop', 'web', name), join(daemon.bench.appDir, 'web', name))
}

function ask(port: number, method: string, path: string): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve) => {
    const question = request({ host: '127.0.0.1', port, method, path, agent: false, headers: { host } })
    question.on('error', () => resolve({ status: 0, body: '' }))
    question.on('response', (answer) => {
      let body = ''
      answer.setEncoding('utf8').on('data', (text: string) => (body += text))
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body }))
      answer.on('error', () => resolve({ status: 0, body }))
    })
    question.end()
  })
}

/** Clients that book, one after another in each lane. */
class Clients {
  failed = 0
  booked = 0
  longestMs = 0
  #going = true
  readonly #running: Promise<void>[]

  constructor(port: number) {
    this.#running = Array.from({ length: lanes }, async () => {
      while (this.#going) {
        const startMs = performance.now()
        const { status } = await ask(port, 'POST', '/next')
        this.longestMs = Math.max(this.longestMs, performance.now() - startMs)
        if (status === 201) this.booked += 1
        else this.failed += 1
      }
    })
  }

  async stop(): Promise<void> {
    this.#going = false
    await Promise.all(this.#running)
  }
}

function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (index: number): string => ((sorted[index] ?? Number.NaN) / 1000).toFixed(2)
  return `${at(Math.floor(sorted.length / 2))} s (${at(sorted.length - 1)})`
}

async function steadOf(daemon: DaemonBench, ...words: readonly string[]): Promise<string> {
  const result = await daemon.bench.stead(...words)
  if (result.code !== 0) throw new Error(`stead ${words.join(' ')}: ${result.stderr}`)
  return result.stdout
}

/** Milliseconds of each step of the newest rollout, and when the step ended. */
async function stepsOf(daemon: DaemonBench): Promise<readonly { step: string; tookMs: number; endMs: number }[]> {
  const { releases } = JSON.parse(await steadOf(daemon, 'releases', '--app', 'bench', '--json')) as ReleasesStatus
  return (releases.at(-1)?.rollout?.steps ?? []).map(({ step, startMs, endMs }) => {
    return { step, tookMs: (endMs ?? Number.NaN) - startMs, endMs: endMs ?? Number.NaN }
  })
}

async function measure(megabytes: number): Promise<void> {
  const main = join(import.meta.dirname, '..', 'dist', 'cli', 'main.js')
  await using daemon = await DaemonBench.start(
    { main },
    process.argv.includes('--haproxy') ? ['--engine', 'haproxy'] : [],
  )
  const { port } = daemon
  put(daemon, megabytes, 0)
  await daemon.deploy('bench')
  process.stderr.write(`${megabytes} MB: filling ...\n`)
  for (let from = 1; from <= megabytes * rowsPerMegabyte; from += fillRows) {
    const { status, body } = await ask(port, 'POST', `/fill/${from}`)
    if (status !== 200) throw new Error(`it cannot be filled: ${body}`)
  }
  // Rows that have just come are written once more by the first who reads them, which is nobody's everyday.
  for (let tries = 0; (await ask(port, 'GET', '/settled')).body !== 'true'; tries += 1) {
    if (tries === settleTriesMax) throw new Error('PostgreSQL has not vacuumed what it was filled with')
    await pause(1000)
  }
  await steadOf(daemon, 'checkpoint', 'filled', '--app', 'bench')
  const size = Number((await ask(port, 'GET', '/size')).body)
  process.stdout.write(
    `\n### ${(size / 1e6).toFixed(0)} MB of data, ${lanes} clients\n\n| what | figure |\n|---|---|\n`,
  )
  const deploying = { took: [] as number[], stall: [] as number[], failed: 0 }
  for (let version = 1; version <= deployments; version += 1) {
    put(daemon, megabytes, version)
    const clients = new Clients(port)
    await pause(500)
    const startMs = performance.now()
    await daemon.deploy('bench')
    deploying.took.push(performance.now() - startMs)
    await clients.stop()
    deploying.stall.push(clients.longestMs)
    deploying.failed += clients.failed
  }
  const row = (what: string, figure: string): void => void process.stdout.write(`| ${what} | ${figure} |\n`)
  row(`rolling deploy under load, the whole command (${deployments}), median (longest)`, spread(deploying.took))
  row('requests failed; longest wait of a client', `${deploying.failed}; ${spread(deploying.stall)}`)
  const back = { took: [] as number[], stall: [] as number[], failed: 0, steps: new Map<string, number[]>() }
  for (let number = 0; number < returns; number += 1) {
    await steadOf(daemon, 'checkpoint', `mark-${number}`, '--app', 'bench')
    const clients = new Clients(port)
    await pause(loadMs)
    const startMs = Date.now()
    await steadOf(daemon, 'rollback', '--checkpoint', `mark-${number}`, '--app', 'bench')
    await clients.stop()
    const steps = await stepsOf(daemon)
    const served = steps.find(({ step }) => step === 'exchange')
    back.took.push((served?.endMs ?? Number.NaN) - startMs)
    back.stall.push(clients.longestMs)
    back.failed += clients.failed
    for (const { step, tookMs } of steps) back.steps.set(step, [...(back.steps.get(step) ?? []), tookMs])
  }
  row(`going back with the data under load, command to serving (${returns}), median (longest)`, spread(back.took))
  row(
    'of that, by step; the report comes after',
    [...back.steps].map(([step, took]) => `${step} ${spread(took)}`).join(', '),
  )
  row('requests failed; longest wait of a client', `${back.failed}; ${spread(back.stall)}`)
}

spawnSync(process.execPath, ['scripts/build.ts'], { stdio: 'ignore' })
process.stdout.write(`load ${loadavg()[0]?.toFixed(1)} at the start\n`)
const sizes = process.argv
  .slice(2)
  .filter((option) => /^\d+$/.test(option))
  .map(Number)
for (const megabytes of sizes.length > 0 ? sizes : [100, 1000]) await measure(megabytes)
