/**
 * Queues on Pulsar, by its WebSockets and its administration over HTTP: nothing is to be installed. The driver runs in a thread, so that
 * leases are kept also while the program is busy.
 */
import { failure } from '../errors.ts'
import { checkNumber } from '../limits.ts'
import { queuesOn } from '../queues.ts'
import type { Queues, QueuesOptions } from '../queues.ts'
import { checkPrefix } from './prefixed.ts'
import { openInThread } from './thread/client.ts'

export interface PulsarQueuesOptions extends QueuesOptions {
  /** The broker's web service, `http://host:8080` or `https://…`, with `webSocketServiceEnabled=true`. */
  readonly url: string
  /** For a broker that asks who is there. It may manage the topics of the namespace. */
  readonly token?: string
  /** `tenant/namespace`; `public/default` by default. */
  readonly namespace?: string
  /** Before the names of all topics, as in `shop.`; none by default. */
  readonly prefix?: string
  /** That the bookies sync their journals before they confirm, as they do by default; it cannot be asked. Only then `durable-send` is promised. */
  readonly syncsEach?: boolean
  /** Messages of one queue before senders are refused with `queue.full`; without it, `backpressure` is refused. */
  readonly messagesMax?: number
}

/** For a client of Pulsar: a subscription of another name reads a topic without taking anything from the queue. */
export interface PulsarNative {
  readonly url: string
  readonly namesOf: (queue: string) => { readonly topic: string; readonly subscription: string; readonly dead: string }
}

/**
 * Opens queues on Pulsar 3.0 or later. Throws `queue.bad-input`, `queue.unavailable`, `queue.not-authorized`, `queue.cannot-open` or, for
 * what is no Pulsar, `queue.unsupported`.
 */
export async function openPulsarQueues(options: PulsarQueuesOptions): Promise<Queues<PulsarNative>> {
  const { url: given, token = null, namespace = 'public/default', prefix = '', ...more } = options
  const { syncsEach = false, messagesMax = null, ...rest } = more
  const url = URL.parse(given)
  if (url === null || !/^https?:$/.test(url.protocol) || url.pathname !== '/' || url.username !== '') {
    throw failure('bad-input', 'the address of Pulsar cannot be read', 'Write its web service, as http://host:8080.')
  }
  if (!/^[\w.-]+\/[\w.-]+$/.test(namespace)) {
    throw failure('bad-input', 'the namespace of Pulsar cannot be read', 'Write tenant/namespace.')
  }
  checkPrefix(prefix)
  if (messagesMax !== null) checkNumber('messagesMax', messagesMax, 1, 2 ** 40)
  const own = { url: url.origin, token, namespace, prefix, syncsEach, messagesMax }
  const driver = await openInThread({ driver: 'pulsar', options: own })
  const namesOf: PulsarNative['namesOf'] = (queue) => {
    const topic = `persistent://${namespace}/${prefix}${queue}`
    return { topic, subscription: 'queue', dead: `${topic}.dead` }
  }
  return queuesOn(driver, rest, { url: url.origin, namesOf })
}
