/**
 * Queues on Valkey, or on Redis. The client, `iovalkey`, is loaded when they are opened. The driver runs in a thread, so that
 * leases are extended also while the program is busy.
 */
import { checkNumber } from '../limits.ts'
import { queuesOn } from '../queues.ts'
import type { Queues, QueuesOptions } from '../queues.ts'
import { checkPrefix } from './prefixed.ts'
import { openInThread } from './thread/client.ts'
import { baseOf, valkeyTarget } from './valkey/names.ts'
import type { ValkeyTarget } from './valkey/names.ts'

export interface ValkeyQueuesOptions extends QueuesOptions {
  /** `valkey://user:password@host:port/0`, or `valkeys://…`; `redis://` and `rediss://` are the same. */
  readonly url: string
  /** Before the names of all queues on the server, as in `shop.`; none by default. */
  readonly prefix?: string
  /** Messages of one queue before senders are refused with `queue.full`; without it, `backpressure` is refused. */
  readonly messagesMax?: number
}

/** For `new Valkey` of `iovalkey`, or another client that takes such options. */
export interface ValkeyNative {
  readonly options: ValkeyTarget
  /** What all keys of a queue begin with; what is behind it is the driver's own. */
  readonly baseOf: (queue: string) => string
}

/**
 * Opens queues on Valkey, or Redis 7 or later, that is no cluster. What it confirms is as safe as the server says it is set to be. Throws
 * `queue.bad-input`, `queue.missing-client`, `queue.unavailable`, `queue.not-authorized`, `queue.cannot-open`,
 * `queue.unsupported` or, where the server deletes when it is full, `queue.not-durable`.
 */
export async function openValkeyQueues(options: ValkeyQueuesOptions): Promise<Queues<ValkeyNative>> {
  const { url, messagesMax = null, prefix = '', ...rest } = options
  checkPrefix(prefix)
  if (messagesMax !== null) checkNumber('messagesMax', messagesMax, 1, 2 ** 40)
  const driver = await openInThread({ driver: 'valkey', options: { url, messagesMax, prefix } })
  return queuesOn(driver, rest, { options: valkeyTarget(url), baseOf: (queue) => baseOf(prefix + queue) })
}
