/**
 * Queues in PostgreSQL: rows that consumers lock past one another (SKIP LOCKED), leases by the clock of the server, a number for
 * each holding that fences its settlement. Every call is one transaction. Messages with an ordering key are sent and settled
 * under a lock of that key, so that exactly the first of a key is ready.
 */
import type { Pool, PoolClient } from 'pg'
import { sleep } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import type { Capabilities } from '../../capability.ts'
import type {
  Counts,
  Durability,
  Held,
  Outgoing,
  QueueDriver,
  Seen,
  SendOutcome,
  SettleOutcome,
  Settlement,
  Shelf,
  Want,
} from '../../driver.ts'
import { failure } from '../../errors.ts'
import { batchMax, bodyBytesMax, delayMsMax } from '../../limits.ts'
import type { DriverLimits } from '../../limits.ts'
import { Together } from '../together.ts'
import { heldOf, holdingOf, messageColumns, seenOf } from './rows.ts'
import type { Holding } from './rows.ts'
import {
  ackSql,
  arrayOf,
  claimSql,
  dueSql,
  enterSql,
  enterValues,
  forgetDuplicates,
  sendSql,
  settleSql,
  valuesOf,
} from './statements.ts'
import { postgresFailure } from './tables.ts'

/** How often a waiting consumer looks, besides when it is told: what is delayed falls due without a sound. */
const lookMs = 500
/** How often those who keep taking look what has fallen due. */
const dueLookMs = 100

export interface PostgresDriverOptions {
  readonly pool: Pool
  readonly place: string
  readonly schema: string
  readonly server: string
  readonly durability: Durability
  readonly generation: number
  /** Null: as many as there is room for. */
  readonly messagesMax: number | null
  readonly capabilities: Capabilities
  readonly clock: Clock
  /** Resolves when somebody says that there may be something in a queue. */
  readonly hint: (queue: string) => Promise<void>
  readonly close: () => Promise<void>
}

type Run = (sql: string, values?: readonly unknown[]) => Promise<readonly Record<string, unknown>[]>

export class PostgresDriver implements QueueDriver {
  readonly name = 'postgres'
  readonly server: string
  readonly capabilities: Capabilities
  readonly limits: DriverLimits = { bodyBytesMax, delayMsMax }
  readonly #options: PostgresDriverOptions
  /** One batch after the other: what was sent first is in the queue first. */
  readonly #sending: Together<Outgoing, SendOutcome>
  /** When each queue was last looked at for what has fallen due. */
  readonly #lookedMs = new Map<string, number>()

  constructor(options: PostgresDriverOptions) {
    this.server = options.server
    this.capabilities = options.capabilities
    this.#options = options
    this.#sending = new Together(options.clock, batchMax, (queue, all) => this.#sendAll(queue, all))
  }

  async declare(queue: string): Promise<void> {
    await this.#transaction((run) => run('INSERT INTO $s.queues VALUES ($1) ON CONFLICT DO NOTHING', [queue]))
  }

  send(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    return this.#sending.submit(queue, messages)
  }

  #sendAll(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    // What neither waits for a key nor can be refused is one statement.
    const isPlain = messages.every(({ key, dedup }) => key === null && dedup === null)
    if (isPlain && this.#options.messagesMax === null) return this.#sendPlain(queue, messages)
    return this.#transaction((run) => this.#send(run, queue, messages))
  }

  async #sendPlain(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    const states = messages.map(({ delayMs }) => (delayMs > 0 ? 1 : 0))
    const values = enterValues(queue, this.#options.generation, messages, states)
    if ((await this.#alone({ name: 'stead-send', sql: sendSql, values })).length === 0) throw noSuchQueue(queue)
    const { durability } = this.#options
    return messages.map(({ id }) => ({ ok: true, id, duplicate: false, durability }))
  }

  async #send(run: Run, queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    await this.#lockQueue(run, queue)
    await this.#lockKeys(
      run,
      queue,
      messages.flatMap(({ key }) => (key === null ? [] : [key])),
    )
    const room = await this.#room(run, queue)
    const outcomes: SendOutcome[] = []
    const entering: Outgoing[] = []
    for (const message of messages) {
      const { durability } = this.#options
      const known = await this.#duplicateOf(run, queue, message)
      if (known !== null) outcomes.push({ ok: true, id: known, duplicate: true, durability })
      else if (entering.length >= room) {
        const error = failure('full', `the queue ${queue} has as many messages as it may`, 'Send again later.')
        outcomes.push({ ok: false, error })
      } else {
        entering.push(message)
        outcomes.push({ ok: true, id: message.id, duplicate: false, durability })
      }
    }
    await this.#enter(run, queue, entering)
    if (entering.length > 0) await run("SELECT pg_notify('$s', $1)", [queue])
    return outcomes
  }

  /** Inserts in the order of `messages`: a message of a key is behind when the key has another that is not settled. */
  async #enter(run: Run, queue: string, messages: readonly Outgoing[]): Promise<void> {
    const first = new Set<string>()
    const keys = [...new Set(messages.flatMap(({ key }) => (key === null ? [] : [key])))]
    if (keys.length > 0) {
      const busy = await run('SELECT DISTINCT key FROM $s.messages WHERE queue = $1 AND key = ANY($2) AND state <> 3', [
        queue,
        keys,
      ])
      for (const { key } of busy) first.add(String(key))
    }
    const states = messages.map(({ key, delayMs }) => {
      const behind = key !== null && first.has(key)
      if (key !== null) first.add(key)
      return behind ? 4 : delayMs > 0 ? 1 : 0
    })
    await run(`${enterSql} ORDER BY n`, enterValues(queue, this.#options.generation, messages, states))
  }

  async #duplicateOf(run: Run, queue: string, { dedup, id }: Outgoing): Promise<string | null> {
    if (dedup === null) return null
    const entered = await run(
      `INSERT INTO $s.dedup AS d VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 millisecond')
       ON CONFLICT (queue, key) DO UPDATE SET id = excluded.id, until = excluded.until WHERE d.until <= clock_timestamp()
       RETURNING id`,
      [queue, dedup.key, id, dedup.ms],
    )
    if (entered.length > 0) {
      await run(forgetDuplicates)
      return null
    }
    const [known] = await run('SELECT id FROM $s.dedup WHERE queue = $1 AND key = $2', [queue, dedup.key])
    return String(known?.['id'])
  }

  async #room(run: Run, queue: string): Promise<number> {
    const { messagesMax } = this.#options
    if (messagesMax === null) return Number.POSITIVE_INFINITY
    const sql = 'SELECT count(*)::int AS n FROM (SELECT 1 FROM $s.messages WHERE queue = $1 LIMIT $2) AS counted'
    const [row] = await run(sql, [queue, messagesMax])
    return messagesMax - Number(row?.['n'])
  }

  async receive(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    const { clock, hint } = this.#options
    const untilMs = clock.monotonicMs() + want.waitMs
    for (;;) {
      if (signal.aborted) return []
      const hinted = hint(queue)
      const held = await this.#claim(queue, want)
      const leftMs = untilMs - clock.monotonicMs()
      if (held.length > 0 || leftMs <= 0) return held
      const waiting = new AbortController()
      const either = AbortSignal.any([signal, waiting.signal])
      await Promise.race([hinted, sleep(clock, Math.min(lookMs, leftMs), either).catch(() => {})])
      waiting.abort()
    }
  }

  async #claim(queue: string, want: Want): Promise<readonly Held[]> {
    const due = { name: 'stead-due', sql: dueSql, values: [queue] }
    const ready = { name: 'stead-claim', sql: claimSql, values: [queue, want.max, want.leaseMs] }
    const nowMs = this.#options.clock.monotonicMs()
    const looks = nowMs >= (this.#lookedMs.get(queue) ?? 0) + dueLookMs
    if (looks) {
      this.#lookedMs.set(queue, nowMs)
      await this.#alone(due)
    }
    let rows = await this.#alone(ready)
    if (rows.length === 0 && !looks) {
      await this.#alone(due)
      rows = await this.#alone(ready)
    }
    if (rows.length === 0) await this.#knownQueue((sql, values = []) => this.#alone({ sql, values }), queue)
    return rows.map((row) => heldOf(row, this.#options.generation))
  }

  async settle(queue: string, settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    const holdings = settlements.map(({ receipt }) => holdingOf(receipt))
    // What frees nothing needs no lock, and is one statement.
    const simple = settlements.every(
      ({ decision }, index) => decision.kind === 'ack' && holdings[index]?.isKeyed === false,
    )
    return simple ? this.#acknowledge(queue, holdings) : this.#settle(queue, settlements, holdings)
  }

  async #acknowledge(queue: string, holdings: readonly Holding[]): Promise<readonly SettleOutcome[]> {
    const mine = holdings.filter(({ generation }) => generation === this.#options.generation)
    const values = [arrayOf(mine.map(({ seq }) => seq)), arrayOf(mine.map(({ token }) => token)), queue]
    const [row] = await this.#alone({ name: 'stead-ack', sql: ackSql, values })
    const done = new Set(String(row?.['done']).split(' '))
    // Of two settlements of one holding the second has come too late.
    return holdings.map(({ generation, seq }) =>
      generation === this.#options.generation && done.delete(seq) ? 'done' : 'lost',
    )
  }

  #settle(
    queue: string,
    settlements: readonly Settlement[],
    holdings: readonly Holding[],
  ): Promise<readonly SettleOutcome[]> {
    return this.#transaction(async (run) => {
      const outcomes: SettleOutcome[] = settlements.map(() => 'lost')
      const mine = (index: number): boolean => holdings[index]?.generation === this.#options.generation
      const seqs = holdings.filter((_, index) => mine(index)).map(({ seq }) => seq)
      const keyed = await run(
        'SELECT DISTINCT key FROM $s.messages WHERE seq = ANY($1::bigint[]) AND key IS NOT NULL',
        [seqs],
      )
      await this.#lockKeys(
        run,
        queue,
        keyed.map(({ key }) => String(key)),
      )
      const freed: string[] = []
      for (const kind of ['extend', 'ack', 'retry', 'reject'] as const) {
        const chosen = settlements.flatMap(({ decision }, index) =>
          decision.kind === kind && mine(index) ? [{ decision, index }] : [],
        )
        if (chosen.length === 0) continue
        const rows = await run(settleSql[kind], [
          chosen.map(({ index }) => holdings[index]?.seq),
          chosen.map(({ index }) => holdings[index]?.token),
          queue,
          ...valuesOf(
            chosen.map(({ decision }) => decision),
            kind,
          ),
        ])
        const done = new Map(rows.map((row) => [String(row['seq']), row]))
        for (const { index } of chosen) {
          const row = done.get(holdings[index]?.seq ?? '')
          if (row === undefined) continue
          outcomes[index] = 'done'
          if (typeof row['key'] === 'string' && (kind === 'ack' || kind === 'reject')) freed.push(row['key'])
        }
      }
      await this.#bringForward(run, queue, freed)
      const again = settlements.some(({ decision }) => decision.kind === 'retry' && decision.delayMs === 0)
      if (again || freed.length > 0) await run("SELECT pg_notify('$s', $1)", [queue])
      return outcomes
    })
  }

  /** The first of each key that has none ready, delayed or held comes forward. */
  async #bringForward(run: Run, queue: string, keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return
    await run(
      `UPDATE $s.messages m SET state = CASE WHEN m.at > clock_timestamp() THEN 1 ELSE 0 END
       FROM (SELECT key, min(seq) AS seq FROM $s.messages WHERE queue = $1 AND key = ANY($2) AND state <> 3 GROUP BY key) AS head
       WHERE m.seq = head.seq AND m.state = 4`,
      [queue, [...new Set(keys)]],
    )
  }

  async counts(queue: string): Promise<Counts> {
    const rows = await this.#transaction(async (run) => {
      await this.#knownQueue(run, queue)
      return run(
        `SELECT CASE WHEN state = 4 OR (state IN (1, 2) AND at <= clock_timestamp()) THEN 0 ELSE state END AS state,
           count(*)::int AS n FROM $s.messages WHERE queue = $1 GROUP BY 1`,
        [queue],
      )
    })
    const of = (state: number): number => Number(rows.find((row) => row['state'] === state)?.['n'] ?? 0)
    return { ready: of(0), delayed: of(1), held: of(2), dead: of(3) }
  }

  async peek(queue: string, shelf: Shelf, max: number): Promise<readonly Seen[]> {
    const where = shelf === 'ready' ? 'state = 0 ORDER BY priority DESC, seq' : 'state = 3 ORDER BY seq'
    const sql = `SELECT ${messageColumns}, cause FROM $s.messages WHERE queue = $1 AND ${where} LIMIT $2`
    return (await this.#transaction((run) => run(sql, [queue, max]))).map(seenOf)
  }

  /** Dead messages go to the end of the queue: others of their key may be under way. */
  async redrive(queue: string, max: number, ids: readonly string[] | null): Promise<number> {
    return this.#transaction(async (run) => {
      await this.#lockQueue(run, queue)
      const rows = await run(
        `DELETE FROM $s.messages WHERE seq IN (
           SELECT seq FROM $s.messages WHERE queue = $1 AND state = 3 AND ($3::text[] IS NULL OR id = ANY($3))
           ORDER BY seq LIMIT $2 FOR UPDATE) RETURNING ${messageColumns}, cause`,
        [queue, max, ids],
      )
      const messages = rows.toSorted((a, b) => Number(a['seq']) - Number(b['seq'])).map(seenOf)
      await this.#lockKeys(
        run,
        queue,
        messages.flatMap(({ key }) => (key === null ? [] : [key])),
      )
      await this.#enter(
        run,
        queue,
        messages.map((message) => ({ ...message, delayMs: 0, dedup: null })),
      )
      await run("SELECT pg_notify('$s', $1)", [queue])
      return messages.length
    })
  }

  async purge(queue: string, shelf: Shelf): Promise<number> {
    const states = shelf === 'dead' ? [3] : [0, 1, 4]
    const sql = `WITH gone AS (DELETE FROM $s.messages WHERE queue = $1 AND state = ANY($2) RETURNING 1)
      SELECT count(*)::int AS n FROM gone`
    return this.#transaction(async (run) => {
      await this.#lockQueue(run, queue)
      const [row] = await run(sql, [queue, states])
      return Number(row?.['n'])
    })
  }

  async remove(queue: string): Promise<void> {
    await this.#transaction(async (run) => {
      for (const table of ['messages', 'dedup']) await run(`DELETE FROM $s.${table} WHERE queue = $1`, [queue])
      await run('DELETE FROM $s.queues WHERE name = $1', [queue])
    })
  }

  close(): Promise<void> {
    return this.#options.close()
  }

  async #knownQueue(run: Run, queue: string): Promise<void> {
    const rows = await run('SELECT 1 AS x FROM $s.queues WHERE name = $1', [queue])
    if (rows.length === 0) throw noSuchQueue(queue)
  }

  /** The queue is there, and stays until the end of the transaction. */
  async #lockQueue(run: Run, queue: string): Promise<void> {
    const rows = await run('SELECT 1 AS x FROM $s.queues WHERE name = $1 FOR KEY SHARE', [queue])
    if (rows.length === 0) throw noSuchQueue(queue)
  }

  /** In one order, so that nobody waits in a circle. */
  async #lockKeys(run: Run, queue: string, keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return
    const sql = `SELECT pg_advisory_xact_lock(h) FROM (
      SELECT DISTINCT hashtextextended($1 || ' ' || key, 11) AS h FROM unnest($2::text[]) AS key ORDER BY 1) AS locks`
    await run(sql, [`${this.#options.schema} ${queue}`, keys])
  }

  /** One statement, which is a transaction by itself. `name`: it is planned once on each connection. */
  async #alone(statement: {
    readonly name?: string
    readonly sql: string
    readonly values: readonly unknown[]
  }): Promise<readonly Record<string, unknown>[]> {
    const { pool, place, schema } = this.#options
    let client: PoolClient | undefined
    try {
      client = await pool.connect()
      const { name, sql, values } = statement
      const text = sql.replaceAll('$s', schema)
      const query = { text, values: [...values], ...(name === undefined ? {} : { name }) }
      const { rows } = await client.query<Record<string, unknown>>(query)
      client.release()
      return rows
    } catch (error) {
      client?.release(true)
      throw postgresFailure(error, place, client !== undefined)
    }
  }

  async #transaction<T>(work: (run: Run) => Promise<T>): Promise<T> {
    const { pool, place, schema } = this.#options
    let client: PoolClient | undefined
    let committing = false
    try {
      client = await pool.connect()
      const connection = client
      await connection.query('BEGIN')
      const result = await work(async (sql, values = []) => {
        const text = sql.replaceAll('$s', schema)
        return (await connection.query<Record<string, unknown>>(text, [...values])).rows
      })
      committing = true
      await connection.query('COMMIT')
      connection.release()
      return result
    } catch (error) {
      // The connection is not used again: with it goes its transaction.
      client?.release(true)
      throw postgresFailure(error, place, committing)
    }
  }
}

function noSuchQueue(queue: string): Error {
  return failure('no-such-queue', `there is no queue ${queue}`, 'Declare it before it is used.')
}
