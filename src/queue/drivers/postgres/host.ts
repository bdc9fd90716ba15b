/** Opens queues in PostgreSQL, in the thread where they run: the pool, the tables, and one connection that hears of messages. */
import { systemClock } from '../../../base/index.ts'
import { emulated, native, refused } from '../../capability.ts'
import type { Capabilities } from '../../capability.ts'
import type { QueueDriver } from '../../driver.ts'
import { failure, missingClient } from '../../errors.ts'
import { keepingLeases } from '../../keeper.ts'
import { ledgerCapabilities } from '../ledger/capabilities.ts'
import { PostgresDriver } from './driver.ts'
import { postgresFailure, prepareTables } from './tables.ts'
import type { ServerFacts } from './tables.ts'

export interface PostgresHostOptions {
  readonly url: string
  readonly schema: string
  readonly generation: number
  readonly messagesMax: number | null
}

const connectionsMax = 4
const connectTimeoutMs = 5000
/** A statement that takes longer is given up. */
const answerTimeoutMs = 30_000

/**
 * Each statement has an index that it is meant for. Without these the server plans by what it last counted, and that may be an empty
 * table: then it reads all of a long queue for each claim, until it counts again.
 */
const plans =
  'SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off'

export async function openPostgresHost(options: PostgresHostOptions): Promise<QueueDriver> {
  const { url, schema, generation, messagesMax } = options
  if (!URL.canParse(url)) {
    // The text is not repeated: it may hold a password.
    throw failure(
      'bad-input',
      'the URL of the queues in PostgreSQL cannot be read',
      'Write postgres://user@host/database.',
    )
  }
  const parsed = new URL(url)
  const place = `PostgreSQL at ${parsed.searchParams.get('host') ?? parsed.host}${parsed.pathname}`
  const pg = await import('pg').catch((error: unknown) => Promise.reject(missingClient('PostgreSQL', 'pg', error)))
  const settings = {
    connectionString: url,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    application_name: 'stead-queue',
  }
  const pool = new pg.default.Pool({ ...settings, max: connectionsMax, query_timeout: answerTimeoutMs })
  // A connection that breaks says so to whoever uses it, and leaves the pool; the events add nothing, but must be heard.
  pool.on('error', () => {})
  pool.on('connect', (client) => {
    client.on('error', () => {})
    // If it fails, what follows on this connection does, too.
    client.query(plans).catch(() => {})
  })
  try {
    const client = await pool.connect()
    let facts: ServerFacts
    try {
      facts = await prepareTables(client, schema, generation)
      client.release()
    } catch (error) {
      client.release(true)
      throw error
    }
    const hints = new Hints(() => new pg.default.Client(settings), schema)
    const driver = new PostgresDriver({
      pool,
      place,
      schema,
      generation,
      messagesMax,
      clock: systemClock,
      server: `PostgreSQL ${facts.version.split(' ')[0] ?? ''}`,
      durability: facts.durability,
      capabilities: capabilitiesOf(facts, messagesMax),
      hint: (queue) => hints.next(queue),
      close: async () => {
        await hints.close()
        await pool.end()
      },
    })
    return keepingLeases(driver, systemClock)
  } catch (error) {
    await pool.end()
    throw postgresFailure(error, place, false)
  }
}

function capabilitiesOf({ durability }: ServerFacts, messagesMax: number | null): Capabilities {
  const durable = durability !== 'buffered'
  return {
    'durable-send': durable ? native : refused('the server runs with fsync or synchronous_commit off', 'Turn both on.'),
    ...ledgerCapabilities,
    backpressure:
      messagesMax === null
        ? refused('a table has no limit', 'Open the queues with messagesMax.')
        : emulated(
            'messages are counted before each batch; senders at the same moment can pass the limit by one batch each',
          ),
    generations: native,
  }
}

/** What one connection hears. Losing it loses nothing: consumers also look by themselves. */
class Hints {
  readonly #waiting = new Map<string, { promise: Promise<void>; resolve: () => void }>()
  readonly #make: () => import('pg').Client
  readonly #schema: string
  #client: Promise<import('pg').Client> | undefined
  #closed = false

  constructor(make: () => import('pg').Client, schema: string) {
    this.#make = make
    this.#schema = schema
  }

  next(queue: string): Promise<void> {
    this.#client ??= this.#listen()
    const known = this.#waiting.get(queue)
    if (known !== undefined) return known.promise
    const made = Promise.withResolvers<void>()
    this.#waiting.set(queue, made)
    return made.promise
  }

  async close(): Promise<void> {
    this.#closed = true
    const client = await this.#client?.catch(() => undefined)
    await client?.end().catch(() => {})
  }

  async #listen(): Promise<import('pg').Client> {
    const client = this.#make()
    const again = (): void => {
      if (!this.#closed) this.#client = undefined
    }
    client.on('error', again)
    client.on('end', again)
    client.on('notification', ({ payload = '' }) => {
      this.#waiting.get(payload)?.resolve()
      this.#waiting.delete(payload)
    })
    try {
      await client.connect()
      await client.query(`LISTEN ${this.#schema}`)
    } catch {
      // Looked for again with the next wait that comes.
      again()
    }
    return client
  }
}
