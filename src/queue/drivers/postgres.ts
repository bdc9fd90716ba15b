/**
 * Queues in a PostgreSQL that is there already, in a schema of their own, for any number of processes. The driver runs in a thread,
 * so that leases are extended also while the program is busy.
 */
import { failure } from '../errors.ts'
import { checkNumber } from '../limits.ts'
import { queuesOn } from '../queues.ts'
import type { Queues, QueuesOptions } from '../queues.ts'
import { openInThread } from './thread/client.ts'

export interface PostgresQueuesOptions extends QueuesOptions {
  /** `postgres://user:password@host:port/database`. */
  readonly url: string
  /** `stead_queue` by default; made when it is not there. */
  readonly schema?: string
  /** The generation of the data that the database is a part of; 1 by default. See `EmbeddedQueuesOptions`. */
  readonly generation?: number
  /** Messages of one queue before senders are refused with `queue.full`; without it, `backpressure` is refused. */
  readonly messagesMax?: number
}

/** For `new Pool` of `pg`, or another client. The tables are the driver's own: to be looked at, not written. */
export interface PostgresNative {
  readonly connectionString: string
  readonly schema: string
}

/**
 * Opens the queues of a schema. Throws `queue.bad-input`, `queue.missing-client`, `queue.unavailable`, `queue.not-authorized`,
 * `queue.foreign`, `queue.newer-version` or `queue.stale-generation`.
 */
export async function openPostgresQueues(options: PostgresQueuesOptions): Promise<Queues<PostgresNative>> {
  const { url, schema = 'stead_queue', generation = 1, messagesMax = null, ...rest } = options
  checkNumber('generation', generation, 1, 2 ** 31 - 1)
  if (messagesMax !== null) checkNumber('messagesMax', messagesMax, 1, 2 ** 40)
  if (!/^[a-z_][a-z0-9_]{0,40}$/.test(schema)) {
    throw failure(
      'bad-input',
      `${JSON.stringify(schema)} cannot be the schema of queues`,
      'Use lower-case letters, digits and "_".',
    )
  }
  const driver = await openInThread({ driver: 'postgres', options: { url, schema, generation, messagesMax } })
  return queuesOn(driver, rest, { connectionString: url, schema })
}
