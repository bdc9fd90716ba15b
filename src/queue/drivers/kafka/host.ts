/** Opens queues on Kafka, in the thread where they run, and says what follows from the versions of its protocol and the topics that are asked for. */
import { systemClock } from '../../../base/index.ts'
import { emulated, native, refused } from '../../capability.ts'
import type { Capabilities, Support } from '../../capability.ts'
import type { Durability, QueueDriver } from '../../driver.ts'
import { failure } from '../../errors.ts'
import { KafkaDriver } from './driver.ts'
import { KafkaLink } from './link.ts'
import type { KafkaSettings } from './link.ts'
import { KafkaTopics } from './topics.ts'
import { prefixed } from '../prefixed.ts'

export interface KafkaHostOptions extends KafkaSettings {
  readonly prefix: string
  readonly partitions: number
  readonly replicas: number | null
  readonly flushEach: boolean
  readonly messageBytesMax: number
}

export async function openKafkaHost(options: KafkaHostOptions): Promise<QueueDriver> {
  const { prefix, partitions, replicas, flushEach, messageBytesMax, sessionMs } = options
  const link = await KafkaLink.open(options)
  try {
    const apis = await link.admin.listApis().catch((error: unknown) => Promise.reject(link.failure(error, false)))
    const version = versionOf((name) => apis.find((api) => api.name === name)?.maxVersion ?? -1)
    if (version === null) {
      const message = `${link.place} is older than what these queues were made for`
      throw failure('unsupported', message, 'Use Kafka 3.5 or later.')
    }
    const durability: Durability = flushEach ? 'fsync' : replicas !== null && replicas > 1 ? 'replicated' : 'buffered'
    const topics = new KafkaTopics(link, { partitions, replicas, flushEach, messageBytesMax, durability }, systemClock)
    const driver = new KafkaDriver({
      link,
      topics,
      server: `Kafka ${version}`,
      durability,
      messageBytesMax,
      capabilities: capabilitiesOf(durability, sessionMs),
      clock: systemClock,
    })
    return prefixed(driver, prefix)
  } catch (error) {
    await link.close()
    throw error
  }
}

/** A broker does not tell its version, but what it understands. */
function versionOf(max: (name: string) => number): string | null {
  if (max('Fetch') < 13 || max('DeleteRecords') < 0) return null
  if (max('ShareFetch') >= 2) return '4.2 or later'
  if (max('ShareFetch') >= 1) return '4.1'
  if (max('ConsumerGroupHeartbeat') >= 1) return '4.0'
  return '3.5 or later'
}

const none = 'Use the embedded queues or PostgreSQL.'
const copied = 'a copy is confirmed before the original is settled: a crash between the two leaves both, under one id'
const here =
  'by the member of the group that has it, in its process; when that ends or there is a rebalance, it comes at once, as new'
const parted =
  'by partition, until a rebalance or a crash: then what was settled behind the first that is not comes again, and old handlers may still run'

function durableOf(durability: Durability): Support {
  if (durability === 'buffered') {
    const instead = 'Open the queues with replicas (2 or more), or with flushEach.'
    return refused('one replica confirms what it has in memory only', instead)
  }
  return durability === 'fsync' ? native : emulated('confirmed by two replicas at least, which sync it a little later')
}

function capabilitiesOf(durability: Durability, sessionMs: number): Capabilities {
  return {
    'durable-send': durableOf(durability),
    'batch-send': native,
    headers: native,
    'binary-body': native,
    'delayed-send': refused('the server has no delays', none),
    priority: refused('a log has one order', 'Use a queue for each priority.'),
    'dedup-key': refused('the server keeps no keys', none),
    'ordering-key': emulated(parted),
    'order-after-retry': refused('a rebalance repeats what was settled behind the first that is not', none),
    lease: emulated(
      `by a clock in our thread; after a crash when the server misses the member, in about ${Math.round(sessionMs / 1000)} s, and with what was settled behind the first that is not`,
    ),
    'lease-extension': emulated('by a clock in our thread; a rebalance ends all leases'),
    'steady-lease': native,
    fencing: native,
    'attempt-count': refused('the server counts no deliveries, and what a process counts ends with it', none),
    retry: emulated(here),
    'delayed-retry': refused(
      'the server has no delays',
      'Retries come at once; or use the embedded queues or PostgreSQL.',
    ),
    'uncounted-retry': emulated(here),
    'dead-letter': emulated(copied),
    redrive: emulated(`${copied}; of the first 1000 dead ones; those that stay move to the end`),
    counts: refused('the server tells how far a group is, not what it holds', 'Look at the lag of the group.'),
    peek: refused('what waits is not told from what is held', 'Read the topic with another group.'),
    purge: emulated('deletes the log; what is held is counted, too, and stays with its holders'),
    backpressure: refused('a topic has no limit for messages', 'Watch the lag of the group.'),
    'no-silent-loss': native,
    'request-reply': emulated('a queue for the answers of each process'),
    generations: refused('the server knows nothing of the data', 'Use the embedded queues.'),
  }
}
