/**
 * Queues of a Stead app, as its parts use them: over HTTP, by the URL of their binding, with the whole face of the library.
 * The driver runs in a thread, so that leases are extended also while the program is busy.
 */
import { failure } from '../errors.ts'
import { queuesOn } from '../queues.ts'
import type { Queues, QueuesOptions } from '../queues.ts'
import { openInThread } from './thread/client.ts'

export interface HttpQueuesOptions extends QueuesOptions {
  /** The URL of the binding. `QUEUE_URL` of the environment unless given; `MAIL_QUEUE_URL` is that of a use called mail. */
  readonly url?: string | undefined
}

/** For any client of HTTP: the address with its credentials, as the guide describes it. */
export interface HttpNative {
  readonly url: string
}

/** Opens the queues behind a binding. Throws `queue.bad-input`, `queue.unavailable` or `queue.not-authorized`. */
export async function openHttpQueues(options: HttpQueuesOptions = {}): Promise<Queues<HttpNative>> {
  const { url = process.env['QUEUE_URL'], ...rest } = options
  if (url === undefined) {
    const hint = 'Run it as a part that uses a queue, or give the url that `stead forward` prints.'
    throw failure('bad-input', 'there is no URL of queues: QUEUE_URL is not set', hint)
  }
  return queuesOn(await openInThread({ driver: 'http', options: { url } }), rest, { url })
}
