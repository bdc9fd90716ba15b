/**
 * Queues on NATS JetStream. The client, `@nats-io/transport-node` with `@nats-io/jetstream`, is loaded when they are opened. The
 * driver runs in a thread, so that leases are kept also while the program is busy.
 */
import { failure } from '../errors.ts'
import { checkNumber } from '../limits.ts'
import { queuesOn } from '../queues.ts'
import type { Queues, QueuesOptions } from '../queues.ts'
import { natsNames, natsTarget } from './nats/names.ts'
import type { NatsNames } from './nats/names.ts'
import { checkPrefix } from './prefixed.ts'
import { openInThread } from './thread/client.ts'

export interface NatsQueuesOptions extends QueuesOptions {
  /** `nats://user:password@host:port`, or `tls://…`; those of a cluster with commas between. */
  readonly url: string
  /** The server's monitoring, `http://host:port`: there it says whether it syncs each write. Only then `durable-send` is promised. */
  readonly monitor?: string
  /** Before the names of all queues on the server, as in `shop.`; none by default. */
  readonly prefix?: string
  /** Messages of one queue before senders are refused with `queue.full`; without it, `backpressure` is refused. */
  readonly messagesMax?: number
}

/** For `connect` of `@nats-io/transport-node`, and then `jetstream` or `jetstreamManager`. Bodies are as they were sent. */
export interface NatsNative {
  readonly options: {
    readonly servers: string[]
    readonly user?: string
    readonly pass?: string
    readonly token?: string
    readonly tls?: Readonly<Record<string, never>>
  }
  /** A queue's stream with its consumer and the subject of what waits; and the stream of its dead letters. */
  readonly namesOf: (queue: string) => NatsNames
}

/**
 * Opens queues on a server of NATS 2.9 or later with JetStream. Throws `queue.bad-input`, `queue.missing-client`,
 * `queue.unavailable`, `queue.not-authorized`, `queue.cannot-open` or, for another server, `queue.unsupported`.
 */
export async function openNatsQueues(options: NatsQueuesOptions): Promise<Queues<NatsNative>> {
  const { url, monitor = null, messagesMax = null, prefix = '', ...rest } = options
  checkPrefix(prefix)
  if (monitor !== null && !/^https?:$/.test(URL.parse(monitor)?.protocol ?? '')) {
    throw failure('bad-input', 'monitor is no HTTP address', 'Write http://host:port.')
  }
  if (messagesMax !== null) checkNumber('messagesMax', messagesMax, 1, 2 ** 40)
  const driver = await openInThread({ driver: 'nats', options: { url, monitor, messagesMax, prefix } })
  const { servers, credentials, tls } = natsTarget(url)
  const reach = { servers: [...servers], ...credentials, ...(tls ? { tls: {} } : {}) }
  return queuesOn(driver, rest, { options: reach, namesOf: (queue) => natsNames(prefix + queue) })
}
