/**
 * Queues in one file, with nothing to install: SQLite in a thread of its own, synchronous=FULL, one fsync for all that is
 * asked while the last one runs. What was answered as sent is there after kill -9 and loss of power. The file belongs to
 * one process at a time; when it is opened again, what the last process held is delivered again.
 */
import { failure } from '../errors.ts'
import { checkNumber } from '../limits.ts'
import { queuesOn } from '../queues.ts'
import type { Queues, QueuesOptions } from '../queues.ts'
import { openInThread } from './thread/client.ts'

export interface EmbeddedQueuesOptions extends QueuesOptions {
  /** The file; made when it is not there. Its folder must exist. */
  readonly path: string
  /**
   * The generation of the data that the file is a part of; 1 by default. It grows when data goes back to an older copy:
   * receipts from before are refused then, and a file is never opened for a generation older than it has seen.
   */
  readonly generation?: number
  /** Messages of one queue before senders are refused with `queue.full`; 10,000,000 by default. */
  readonly messagesMax?: number
  /** Bytes of the file that may be in use before senders are refused; 8 GiB by default. */
  readonly bytesMax?: number
}

/** For `new DatabaseSync(path, { readOnly: true })`: the tables are the driver's own, to be looked at. */
export interface EmbeddedNative {
  readonly path: string
}

/**
 * Opens the queues of a file. Throws `queue.bad-input`, `queue.in-use`, `queue.corrupt`, `queue.newer-version`, `queue.foreign`,
 * `queue.stale-generation`, `queue.not-durable` or `queue.cannot-open`; a file that is refused is left as it is.
 */
export async function openEmbeddedQueues(options: EmbeddedQueuesOptions): Promise<Queues<EmbeddedNative>> {
  const { path, generation = 1, messagesMax = 10_000_000, bytesMax = 8 * 2 ** 30, ...rest } = options
  if (typeof path !== 'string' || path === '') {
    throw failure(
      'bad-input',
      'the embedded queues have no path',
      "Name their file: openEmbeddedQueues({ path: 'queues.db' }).",
    )
  }
  checkNumber('generation', generation, 1, 2 ** 31)
  checkNumber('messagesMax', messagesMax, 1, 2 ** 40)
  checkNumber('bytesMax', bytesMax, 2 ** 20, 2 ** 50)
  const driver = await openInThread({ driver: 'embedded', options: { path, generation, messagesMax, bytesMax } })
  return queuesOn(driver, rest, { path })
}
