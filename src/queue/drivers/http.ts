/**
 * Queues of a Stead app, as its parts use them: over HTTP, by the URL of their binding, with the whole face of the library.
 * The driver runs in a thread, so that leases are extended also while the program is busy.
 */
import { queuesOn } from '../queues.ts'
import type { Queues, QueuesOptions } from '../queues.ts'
import { openInThread } from './thread-client.ts'

export interface HttpQueuesOptions extends QueuesOptions {
  /** The URL of the binding: `process.env.QUEUE_URL`, or `MAIL_QUEUE_URL` for a use called mail. */
  readonly url: string
}

/** Opens the queues behind a binding. Throws `queue.bad-input`, `queue.unavailable` or `queue.not-authorized`. */
export async function openHttpQueues({ url, ...rest }: HttpQueuesOptions): Promise<Queues> {
  return queuesOn(await openInThread({ driver: 'http', options: { url } }), rest)
}
