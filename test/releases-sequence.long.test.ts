/**
 * Long random sequences on a real daemon, under load: deployments of every kind, good and bad, returns with and without
 * data, checkpoints, and kill -9 of the platform or of PostgreSQL in between. After every step, against a model: what serves
 * is one release, whole; what is live is what has to be readable in it; and nothing that was acknowledged is missing from
 * both what is live and what was kept.
 *
 * STEAD_STEPS and STEAD_SEED choose another sequence. Its dice are seeded; when a kill falls is up to the machine.
 */
import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { ReleasesStatus } from '../src/operator/index.ts'
import { Dice } from '../src/release/dice.test-helper.ts'
import { ask, type Result } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { useLedger, writeNumbers } from './ledger-app.ts'
import { needsRoot } from './needs.ts'
import { kill, liveNumbers, missingNumbers, newestOf, releasesOf, said, settled } from './release-rig.ts'

const steps = Number(process.env['STEAD_STEPS'] ?? 200)
const seed = Number(process.env['STEAD_SEED'] ?? 1)

/** A deployment by what is in it. */
const deployments = ['code', 'code', 'halves', 'halves', 'stop', 'dies', 'bad sql'] as const
const doings = [
  ...deployments,
  'back with data',
  'back with data',
  'back, code only',
  'checkpoint',
  'back to it',
] as const
type Doing = (typeof doings)[number]

/** What a return must lead to: numbers that have to be there, and those that were there or on their way. */
interface Moment {
  readonly release: number
  readonly surely: ReadonlySet<number>
  readonly perhaps: ReadonlySet<number>
  /** Numbers from this one to `to` were tried as the moment passed. */
  readonly from: number
  readonly to: number
}

/** A migration, as files; its column carries its name. */
interface Migration {
  readonly column: string
  readonly order: number
  readonly files: Readonly<Record<string, string>>
}

interface Order {
  readonly words: readonly string[]
  readonly toward: Moment | null
}

class Sequence {
  readonly #daemon: DaemonBench
  readonly #dice: Dice
  readonly #acknowledged = new Set<number>()
  readonly #migrations = new Map<string, Migration>()
  /** For each release, the moment in which it last gave way with its data kept. */
  readonly #gaveWay = new Map<number, Moment>()
  readonly #checkpoints = new Map<string, Moment>()
  readonly counts = new Map<string, number>()
  #next = 1

  constructor(daemon: DaemonBench, dice: Dice) {
    this.#daemon = daemon
    this.#dice = dice
  }

  /** Does one thing, perhaps with a kill in its midst, and checks what has become of it. Answers it in a sentence. */
  async step(number: number): Promise<string> {
    const daemon = this.#daemon
    const doing = this.#dice.of(doings)
    const before = await releasesOf(daemon)
    const there = await liveNumbers(daemon)
    const from = this.#next
    const { words, toward } = await this.#order(doing, number, before)
    await using load = writeNumbers(daemon.port, 1, from)
    const running = daemon.bench.stead(...words)
    const victim = this.#dice.of([null, null, 'platform', 'postgres'] as const)
    const delayMs = this.#dice.below(3000)
    if (victim !== null) {
      await this.#begun(running, before)
      await Promise.race([running, pause(delayMs)])
      await kill(daemon, victim)
    }
    const result = await running
    // A rollout that goes on without the command is followed to its end.
    const after = await settled(daemon, `step ${number}, ${doing}`, newestOf(before))
    const { kept, last } = await load.stop()
    this.#next = last + 1
    for (const one of kept) this.#acknowledged.add(one)
    const moment: Moment = { release: before.live, surely: there, perhaps: there, from, to: last }
    const outcome = await this.#check(doing, before, after, { moment, toward, result })
    if (doing === 'checkpoint' && result.code === 0) this.#checkpoints.set(words[1] ?? '', moment)
    assert.deepEqual(await missingNumbers(daemon, after, this.#acknowledged), [], 'acknowledged, and in no copy')
    const told = `${doing}${victim === null ? '' : ` (${victim} killed after ${delayMs} ms)`}: ${outcome}`
    for (const count of [doing, outcome.replace(/ \d+/g, '')]) this.counts.set(count, (this.counts.get(count) ?? 0) + 1)
    return told
  }

  /** Waits until a rollout is under way, or the command has ended. */
  async #begun(running: Promise<unknown>, before: ReleasesStatus): Promise<void> {
    let over = false
    const watched = running.then(() => (over = true))
    while (!over && newestOf(await releasesOf(this.#daemon)) === newestOf(before))
      await Promise.race([watched, pause(50)])
  }

  /** The command, with the app's directory as it needs it, and the moment that it leads back to, where there is one. */
  async #order(doing: Doing, number: number, { releases }: ReleasesStatus): Promise<Order> {
    if (doing === 'checkpoint') return { words: ['checkpoint', `mark-${number}`, '--app', 'ledger'], toward: null }
    const back = ['rollback', '--app', 'ledger'] as const
    if (doing === 'back to it') {
      const name = this.#dice.of(['no-such', ...this.#checkpoints.keys()])
      return { words: [...back, '--checkpoint', name], toward: this.#checkpoints.get(name) ?? null }
    }
    if (doing === 'back with data' || doing === 'back, code only') {
      const target = releases[this.#dice.below(releases.length)]?.number ?? 1
      const how = doing === 'back with data' ? '--with-data' : '--code-only'
      return { words: [...back, how, String(target)], toward: this.#gaveWay.get(target) ?? null }
    }
    await this.#prepare(doing, number)
    const strategy = this.#dice.of(['rolling', 'blue-green', 'canary'])
    return { words: ['deploy', '.', '--watch', '0', '--strategy', strategy], toward: null }
  }

  /** Puts a release into the directory: the migrations that the data has, and what is new in it. */
  async #prepare(kind: (typeof deployments)[number], number: number): Promise<void> {
    const { bench, port } = this.#daemon
    rmSync(join(bench.appDir, 'migrations'), { recursive: true, force: true })
    const { body } = await ask(port, '/columns', { host: 'ledger.localhost' })
    const has = (JSON.parse(body) as string[]).flatMap((column) => this.#migrations.get(column) ?? [])
    const order = Math.max(1, ...has.map((migration) => migration.order)) + 1
    const name = `migrations/${String(order).padStart(4, '0')}_step`
    const column = `c${number}`
    const alter = `alter table ledger add column ${column} integer;\n`
    const files: Readonly<Record<string, string>> =
      {
        halves: { [`${name}.expand.sql`]: alter, [`${name}.contract.sql`]: `update ledger set ${column} = 1;\n` },
        stop: { [`${name}.sql`]: alter },
        'bad sql': { [`${name}.sql`]: 'alter table no_such_table add column x integer;\n' },
      }[kind as string] ?? {}
    const isNew = kind === 'halves' || kind === 'stop'
    if (isNew) this.#migrations.set(column, { column, order, files })
    useLedger(bench, `step ${number}`)
    const columns = ['number', ...has.map((migration) => migration.column), ...(isNew ? [column] : [])]
    bench.write({ ...Object.assign({}, ...has.map((migration) => migration.files)), ...files })
    bench.write({ 'web/server.js': kind === 'dies' ? 'process.exit(7)\n' : server(columns, number) })
  }

  /** Checks what serves and what is live; answers what came of it. */
  async #check(
    doing: Doing,
    before: ReleasesStatus,
    after: ReleasesStatus,
    { moment, toward, result }: { moment: Moment; toward: Moment | null; result: Result },
  ): Promise<string> {
    const live = await liveNumbers(this.#daemon)
    const fresh = after.releases.filter((release) => release.number > newestOf(before))
    if (fresh.length === 0) {
      assert.equal(after.live, before.live)
      assert.ok(doing === 'checkpoint' || result.code !== 0, `nothing happened, and it says so: ${result.stderr}`)
      return doing === 'checkpoint' && result.code === 0
        ? 'kept'
        : `refused: ${result.stderr.split('\n').at(0) ?? ''}`.slice(0, 60)
    }
    const newest = fresh.at(-1)
    assert.ok(newest !== undefined)
    const changed = after.live !== before.live
    if (changed) assert.equal(after.live, newest.number, `live ${after.live}, newest ${said(newest)}`)
    const returned = newest.rollout?.kind === 'return' && newest.rollout.branch !== null && changed
    if (returned) {
      const target = newest.backTo ?? 0
      // Taken back by itself: to what was there when the deployment began.
      const wanted = isDeployment(doing) ? moment : toward
      assert.ok(wanted !== null, `${said(newest)}: there is a moment to go back to, release ${target}`)
      const gone = [...wanted.surely].filter((one) => !live.has(one))
      assert.deepEqual(gone, [], `${said(newest)}: was there when release ${target} gave way`)
      const over = [...live].filter(
        (one) => one < moment.from && !wanted.perhaps.has(one) && !(one >= wanted.from && one <= wanted.to),
      )
      assert.deepEqual(over, [], `${said(newest)}: was written after release ${target} gave way`)
    }
    if (changed && newest.rollout !== null) this.#gaveWay.set(before.live, moment)
    return said(newest)
  }
}

function isDeployment(doing: Doing): boolean {
  return deployments.some((kind) => kind === doing)
}

/** The ledger's server: it does not start on a schema without its columns, and tells which there are. */
function server(columns: readonly string[], number: number): string {
  return `
    import { createServer } from 'node:http'
    import pg from 'pg'
    const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 4, connectionTimeoutMillis: 2000 })
    pool.on('error', () => {})
    await pool.query('SELECT ${columns.join(', ')} FROM ledger LIMIT 0').catch((error) => {
      console.error(error.message)
      if (error.code === '42703') process.exit(8)
    })
    createServer(async (question, answer) => {
      try {
        if (question.url === '/columns') {
          const { rows } = await pool.query("SELECT column_name FROM information_schema.columns WHERE table_name = 'ledger'")
          return answer.end(JSON.stringify(rows.map((row) => row.column_name)))
        }
        if (question.method === 'POST') {
          await pool.query('INSERT INTO ledger VALUES ($1)', [Number(question.url.slice(1))])
          return answer.writeHead(201).end()
        }
        const { rows } = await pool.query('SELECT number FROM ledger')
        answer.end(JSON.stringify(rows.map((row) => Number(row.number))))
      } catch (error) {
        answer.writeHead(503).end(error.message)
      }
    }).listen(process.env.PORT)
    process.on('SIGTERM', () => process.exit(0))
    // ${number}
  `
}

test(
  `${steps} random steps: what has to be readable is, and nothing acknowledged is lost`,
  { skip: needsRoot(), timeout: 7_200_000 },
  async (t) => {
    await using daemon = await DaemonBench.start()
    useLedger(daemon.bench)
    daemon.bench.write({ 'web/server.js': server(['number'], 0) })
    await daemon.deploy('ledger')
    const sequence = new Sequence(daemon, new Dice(seed))
    for (let number = 1; number <= steps; number += 1) {
      try {
        t.diagnostic(`${number}: ${await sequence.step(number)}`)
      } catch (error) {
        // What goes wrong in cleaning up would hide it.
        t.diagnostic(`${number}: ${String(error)}`)
        throw error
      }
    }
    t.diagnostic(JSON.stringify([...sequence.counts]))
    const outcomes = ['confirmed', 'refused', 'returned'].filter((word) =>
      [...sequence.counts.keys()].some((key) => key.includes(word)),
    )
    assert.ok(steps < 50 || outcomes.length === 3, 'the dice reach every outcome')
  },
)
