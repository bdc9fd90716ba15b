/**
 * Queues on Amazon SQS, or on a server that speaks its JSON protocol, by signed requests of our own. The driver runs in a thread, so that
 * leases are extended also while the program is busy.
 */
import type { Durability } from '../driver.ts'
import { failure } from '../errors.ts'
import { checkNumber } from '../limits.ts'
import { queuesOn } from '../queues.ts'
import type { Queues, QueuesOptions } from '../queues.ts'
import { checkPrefix } from './prefixed.ts'
import { sqsName } from './sqs/message.ts'
import { openInThread } from './thread/client.ts'

export interface SqsQueuesOptions extends QueuesOptions {
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Of credentials that are lent for a time. When it is over, consumers end with `queue.not-authorized`: open the queues again. */
  readonly sessionToken?: string
  /** The URL of another server than that of AWS. */
  readonly endpoint?: string
  /** What another server keeps of an accepted message; `memory` by default, and then `durable-send` is refused. */
  readonly durability?: Durability
  /** FIFO queues: order by key, and no delays of single messages. Standard queues by default. */
  readonly fifo?: boolean
  /** Before the names of all queues on the server, as in `shop.`; none by default. Dots become `_` there. */
  readonly prefix?: string
  /** Bytes of a message with headers: 262,144 by default, up to 1,048,576 where the server allows it. Queues that are there keep theirs. */
  readonly messageBytesMax?: number
  /** How long one request waits for messages: 1 to 20, 5 by default. More is fewer requests; closing waits as long. */
  readonly pollSeconds?: number
}

/** For `SQSClient` of `@aws-sdk/client-sqs`, or another client. Bodies that are plain text are as they were sent. */
export interface SqsNative {
  readonly region: string
  /** Null: that of AWS. */
  readonly endpoint: string | null
  readonly namesOf: (queue: string) => { readonly queue: string; readonly dead: string }
}

/** Opens queues on SQS. Throws `queue.bad-input`, `queue.unavailable` or `queue.not-authorized`. */
export async function openSqsQueues(options: SqsQueuesOptions): Promise<Queues<SqsNative>> {
  const { region, accessKeyId, secretAccessKey, sessionToken = null, endpoint = null, ...more } = options
  const { durability = 'memory', fifo = false, prefix = '', messageBytesMax = 262_144, pollSeconds = 5, ...rest } = more
  checkNumber('messageBytesMax', messageBytesMax, 65_536, 1_048_576)
  checkNumber('pollSeconds', pollSeconds, 1, 20)
  if (!/^[a-z0-9-]{1,40}$/.test(region)) {
    throw failure('bad-input', `${JSON.stringify(region)} cannot be a region`, 'Write it as eu-central-1.')
  }
  // A program without types reads them from its environment, where they may be missing.
  if (typeof accessKeyId !== 'string' || typeof secretAccessKey !== 'string' || accessKeyId === '') {
    throw failure(
      'bad-input',
      'the queues on SQS have no key',
      'Give accessKeyId and secretAccessKey: the environment and files of AWS are not read.',
    )
  }
  checkPrefix(prefix)
  if (endpoint !== null && !/^https?:$/.test(URL.parse(endpoint)?.protocol ?? '')) {
    throw failure('bad-input', 'the endpoint of the SQS server cannot be read', 'Write https://host:port.')
  }
  const credentials = { accessKeyId, secretAccessKey, sessionToken }
  const own = { endpoint, region, credentials, fifo, prefix, messageBytesMax, durability, pollSeconds }
  const driver = await openInThread({ driver: 'sqs', options: own })
  const namesOf: SqsNative['namesOf'] = (queue) => {
    return { queue: sqsName(prefix, queue, fifo), dead: sqsName(prefix, `${queue}.dead`, fifo) }
  }
  return queuesOn(driver, rest, { region, endpoint, namesOf })
}
