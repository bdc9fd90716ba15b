/** Opens queues on Pulsar, in the thread where they run: asks the broker what it is and how it is set, and says what follows. */
import { systemClock } from '../../../base/index.ts'
import { emulated, native, refused } from '../../capability.ts'
import type { Capabilities } from '../../capability.ts'
import type { QueueDriver } from '../../driver.ts'
import { failure } from '../../errors.ts'
import { prefixed } from '../prefixed.ts'
import { PulsarDriver } from './driver.ts'
import { PulsarLink } from './link.ts'
import type { PulsarSettings } from './link.ts'

export interface PulsarHostOptions extends PulsarSettings {
  readonly prefix: string
  readonly syncsEach: boolean
  readonly messagesMax: number | null
}

/** What the broker takes in one frame by default is 1 MiB: base64 makes a body longer by a third, and headers as JSON come to it. */
const bodyBytesMax: number = 640 * 1024

export async function openPulsarHost(options: PulsarHostOptions): Promise<QueueDriver> {
  const { prefix, syncsEach, messagesMax } = options
  const link = new PulsarLink(options, systemClock)
  const version = await link.version()
  if (!/^"?\d+\.\d+/.test(version)) {
    throw failure(
      'unsupported',
      `${link.place} is no Pulsar`,
      'Give the address of its web service, as http://host:8080.',
    )
  }
  const driver = new PulsarDriver({
    link,
    server: `Pulsar ${version.replaceAll('"', '').trim()}`,
    durability: syncsEach ? 'fsync' : 'buffered',
    bodyBytesMax,
    messagesMax,
    capabilities: capabilitiesOf({ syncsEach, messagesMax, makesTopics: await link.makesTopics() }),
    clock: systemClock,
  })
  return prefixed(driver, prefix)
}

interface Facts {
  readonly syncsEach: boolean
  readonly messagesMax: number | null
  readonly makesTopics: boolean | null
}

const none = 'Use the embedded queues or PostgreSQL.'
const copied =
  'a copy is confirmed before the original is acknowledged: a crash between the two leaves both, under one id'

function capabilitiesOf({ syncsEach, messagesMax, makesTopics }: Facts): Capabilities {
  return {
    'durable-send': syncsEach
      ? native
      : refused(
          'the broker does not tell whether its bookies sync their journals',
          'Open the queues with syncsEach where they do, as they do by default.',
        ),
    'batch-send': native,
    headers: native,
    'binary-body': native,
    'delayed-send': emulated('a second later than asked: the broker may deliver a tick of its clock too soon'),
    priority: refused('a topic has one order', 'Use a queue for each priority.'),
    'dedup-key': refused('the broker knows numbers of producers, not keys', none),
    'ordering-key': refused('of a key several messages are under way at once', none),
    'order-after-retry': refused('what is given back goes to the end', none),
    lease: emulated('by a clock in our thread; by the broker as soon as the connection of the process ends'),
    'lease-extension': emulated('by a clock in our thread'),
    'steady-lease': native,
    fencing: emulated(
      'a message belongs to the connection that has it, and the broker has to say that it still hears that',
    ),
    'attempt-count': refused('the broker forgets its counts when the last consumer of a queue has gone', none),
    retry: emulated(copied),
    'delayed-retry': emulated(`${copied}; a second later than asked`),
    'uncounted-retry': emulated(copied),
    'dead-letter': emulated(copied),
    redrive: emulated(`${copied}; of the first 1000 dead ones`),
    counts: emulated(
      'what the broker has counted a moment ago; before anybody consumes, what is delayed counts as ready',
    ),
    peek: refused('what waits is not told from what is held', 'Read the topic with a reader of its own.'),
    purge: emulated('of everything that is not settled: what is held stays with its holders, and does not come again'),
    backpressure:
      messagesMax === null
        ? refused('a topic takes what its disks hold', 'Open the queues with messagesMax.')
        : emulated(
            'messages are counted before each batch; senders at the same moment can pass the limit by one batch each',
          ),
    'no-silent-loss':
      makesTopics === false
        ? native
        : refused(
            'a topic that was removed comes into being again when it is sent to, and keeps nothing',
            'Set allowAutoTopicCreation=false for the namespace.',
          ),
    'request-reply': emulated('a queue for the answers of each process'),
    generations: refused('the broker knows nothing of the data', 'Use the embedded queues.'),
  }
}
