/**
 * Queues on Beanstalkd, by a small client of our own: bodies are bytes, and a broken connection is opened again. The driver runs in
 * a thread, so that leases are extended also while the program is busy.
 */
import { checkNumber } from '../limits.ts'
import { queuesOn } from '../queues.ts'
import type { Queues, QueuesOptions } from '../queues.ts'
import { openInThread } from './thread/client.ts'

export interface BeanstalkdQueuesOptions extends QueuesOptions {
  readonly host?: string
  readonly port?: number
  /** That the server runs with `-b` and `-f0`, which it cannot be asked: only then `durable-send` is promised. */
  readonly syncsEach?: boolean
  /** Messages of one queue before senders are refused with `queue.full`; without it, `backpressure` is refused. */
  readonly messagesMax?: number
}

/** For any client of Beanstalkd. A body has one line before it, which begins with `stead/1`. */
export interface BeanstalkdNative {
  readonly host: string
  readonly port: number
  readonly namesOf: (queue: string) => { readonly tube: string; readonly dead: string }
}

/** Opens queues on a server that takes jobs of 128 KiB at least (`-z`). Throws `queue.unavailable` or `queue.cannot-open`. */
export async function openBeanstalkdQueues(options: BeanstalkdQueuesOptions = {}): Promise<Queues<BeanstalkdNative>> {
  const { host = '127.0.0.1', port = 11_300, syncsEach = false, messagesMax = null, ...rest } = options
  checkNumber('port', port, 1, 65_535)
  if (messagesMax !== null) checkNumber('messagesMax', messagesMax, 1, 2 ** 40)
  const driver = await openInThread({ driver: 'beanstalkd', options: { host, port, syncsEach, messagesMax } })
  const namesOf: BeanstalkdNative['namesOf'] = (queue) => ({ tube: queue, dead: `${queue}.dead` })
  return queuesOn(driver, rest, { host, port, namesOf })
}
