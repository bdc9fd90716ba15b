/**
 * Queues on RabbitMQ by AMQP 0-9-1. The client, `amqplib`, is loaded when they are opened. The driver runs in a thread, so that leases are
 * kept and heartbeats answered also while the program is busy.
 */
import { checkNumber } from '../limits.ts'
import { queuesOn } from '../queues.ts'
import type { Queues, QueuesOptions } from '../queues.ts'
import { checkPrefix } from './prefixed.ts'
import { openInThread } from './thread/client.ts'

export interface AmqpQueuesOptions extends QueuesOptions {
  /** `amqp://user:password@host:port/vhost`. */
  readonly url: string
  /** Before the names of all queues on the server, as in `shop.`; none by default. */
  readonly prefix?: string
  /** Messages of one queue before senders are refused with `queue.full`. A queue that is there keeps the limit it was made with. */
  readonly messagesMax?: number
}

/** For `connect` of `amqplib`, or another client. Bodies are as they were sent. */
export interface AmqpNative {
  readonly url: string
  readonly namesOf: (queue: string) => { readonly queue: string; readonly dead: string }
}

/**
 * Opens queues on a server of RabbitMQ 3.10 or later. Throws `queue.bad-input`, `queue.missing-client`, `queue.unavailable`,
 * `queue.not-authorized` or, for another server, `queue.unsupported`.
 */
export async function openAmqpQueues(options: AmqpQueuesOptions): Promise<Queues<AmqpNative>> {
  const { url, messagesMax = null, prefix = '', ...rest } = options
  checkPrefix(prefix)
  if (messagesMax !== null) checkNumber('messagesMax', messagesMax, 1, 2 ** 40)
  const driver = await openInThread({ driver: 'amqp', options: { url, messagesMax, prefix } })
  const namesOf: AmqpNative['namesOf'] = (queue) => ({ queue: prefix + queue, dead: `${prefix}${queue}.dead` })
  return queuesOn(driver, rest, { url, namesOf })
}
