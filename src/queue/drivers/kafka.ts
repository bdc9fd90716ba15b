/**
 * Queues on Kafka. The client, `@platformatic/kafka`, is loaded when they are opened. The driver runs in a thread, so that the group hears of
 * its member also while the program is busy.
 */
import { failure } from '../errors.ts'
import { checkNumber } from '../limits.ts'
import { queuesOn } from '../queues.ts'
import type { Queues, QueuesOptions } from '../queues.ts'
import { checkPrefix } from './prefixed.ts'
import { openInThread } from './thread/client.ts'

export interface KafkaQueuesOptions extends QueuesOptions {
  /** `host:port` of one or more brokers. */
  readonly brokers: readonly string[]
  readonly tls?: boolean
  readonly sasl?: {
    readonly mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512'
    readonly username: string
    readonly password: string
  }
  /** Before the names of all topics, as in `shop.`; none by default. */
  readonly prefix?: string
  /** Partitions of a topic that is made: as many processes can work on a queue at once. 8 by default. */
  readonly partitions?: number
  /** Replicas of a topic that is made; what the server takes for the usual by default. With 2 or more, two confirm each message. */
  readonly replicas?: number
  /** That each batch is synced to the disk before it is confirmed: slow, and safe with one replica. */
  readonly flushEach?: boolean
  /** Bytes of a message with headers: 1,048,576 by default. */
  readonly messageBytesMax?: number
  /**
   * How long the server waits for a sign of life before it gives what this process holds to others: 15 s by default, 6 s at least.
   * Shorter ones let a machine that is busy for a moment lose all its leases.
   */
  readonly sessionMs?: number
}

/** For `@platformatic/kafka`, or another client: a group of another name reads a topic without taking anything from the queue. */
export interface KafkaNative {
  readonly brokers: readonly string[]
  readonly namesOf: (queue: string) => { readonly topic: string; readonly group: string; readonly dead: string }
}

/**
 * Opens queues on Kafka 3.5 or later. Throws `queue.bad-input`, `queue.missing-client`, `queue.unavailable`, `queue.not-authorized` or,
 * for an older server, `queue.unsupported`. Declaring a queue whose topic keeps less than is asked for throws `queue.not-durable`.
 */
export async function openKafkaQueues(options: KafkaQueuesOptions): Promise<Queues<KafkaNative>> {
  const { brokers, tls = false, sasl = null, prefix = '', partitions = 8, replicas = null, ...more } = options
  const { flushEach = false, messageBytesMax = 1_048_576, sessionMs = 15_000, ...rest } = more
  checkNumber('partitions', partitions, 1, 1000)
  if (replicas !== null) checkNumber('replicas', replicas, 1, 100)
  checkNumber('messageBytesMax', messageBytesMax, 131_072, 64 * 1_048_576)
  checkNumber('sessionMs', sessionMs, 6000, 1_800_000)
  checkPrefix(prefix)
  if (brokers.length === 0 || !brokers.every((broker) => /^[^\s:/]+:\d{1,5}$/.test(broker))) {
    throw failure('bad-input', 'the brokers of Kafka cannot be read', 'Write them as host:port.')
  }
  const own = { brokers, tls, sasl, prefix, partitions, replicas, flushEach, messageBytesMax, sessionMs }
  const driver = await openInThread({ driver: 'kafka', options: own })
  const namesOf: KafkaNative['namesOf'] = (queue) => {
    return { topic: prefix + queue, group: prefix + queue, dead: `${prefix}${queue}.dead` }
  }
  return queuesOn(driver, rest, { brokers, namesOf })
}
