/** Opens queues on NATS, in the thread where they run: asks the server what it is and whether it syncs, and says what follows. */
import { systemClock } from '../../../base/index.ts'
import { emulated, native, refused } from '../../capability.ts'
import type { Capabilities, Support } from '../../capability.ts'
import type { Durability, QueueDriver } from '../../driver.ts'
import { failure } from '../../errors.ts'
import { delayMsMax } from '../../limits.ts'
import { NatsDriver } from './driver.ts'
import { NatsLink } from './link.ts'
import type { NatsAddress } from './link.ts'
import { companyBytesMax } from './message.ts'
import { prefixed } from '../prefixed.ts'

export interface NatsHostOptions extends NatsAddress {
  readonly messagesMax: number | null
  readonly prefix: string
}

export async function openNatsHost({ url, monitor, messagesMax, prefix }: NatsHostOptions): Promise<QueueDriver> {
  const link = new NatsLink({ url, monitor }, systemClock)
  try {
    const { version, payloadBytesMax, syncsEach } = await link.facts()
    const [major = 0, minor = 0] = version.split('.').map(Number)
    const since = (wanted: number): boolean => major > 2 || (major === 2 && minor >= wanted)
    if (!since(9)) {
      const message = `NATS ${version} is older than what these queues were proved on`
      throw failure('unsupported', message, 'Use NATS 2.9 or later.')
    }
    if (payloadBytesMax <= 2 * companyBytesMax) {
      const message = `${link.place} takes messages of up to ${payloadBytesMax} bytes, and more than ${2 * companyBytesMax} are needed`
      throw failure('cannot-open', message, 'Set max_payload to 1 MB or more.')
    }
    const schedules = since(12)
    const durability: Durability = syncsEach === true ? 'fsync' : 'buffered'
    const driver = new NatsDriver({
      link,
      server: `NATS ${version}`,
      capabilities: capabilitiesOf({ syncsEach, schedules, messagesMax }),
      bodyBytesMax: payloadBytesMax - companyBytesMax,
      delayMsMax,
      durability,
      schedules,
      messagesMax,
      clock: systemClock,
    })
    return prefixed(driver, prefix)
  } catch (error) {
    await link.close()
    throw error
  }
}

interface Facts {
  readonly syncsEach: boolean | null
  readonly schedules: boolean
  readonly messagesMax: number | null
}

const none = 'Use the embedded queues or PostgreSQL.'
const copied =
  'a copy is confirmed before the original is acknowledged: a crash between the two leaves both, under one id'

function capabilitiesOf({ syncsEach, schedules, messagesMax }: Facts): Capabilities {
  return {
    'durable-send':
      syncsEach === true
        ? native
        : refused(
            syncsEach === null
              ? 'the server confirms before it syncs, by default every two minutes, and its monitoring was not named to ask'
              : 'the server confirms before it syncs',
            'Set jetstream { sync_interval: always }, and open the queues with monitor.',
          ),
    'batch-send': native,
    headers: emulated('as headers; a value that is no plain line of ASCII as JSON behind a mark'),
    'binary-body': native,
    'delayed-send': schedules
      ? emulated('in whole seconds, never sooner as far as the clocks of sender and server agree')
      : refused('the server keeps nothing for later before 2.12', 'Use NATS 2.12 or later.'),
    priority: refused('the server delivers in the order of the stream', 'Use a queue for each priority.'),
    'dedup-key': refused("the server's window belongs to the stream, not to the message", none),
    'ordering-key': refused('the server knows no keys', none),
    'order-after-retry': refused('the server knows no keys', none),
    lease: emulated('by a clock in our thread; by the server 10 s after the process vanished'),
    'lease-extension': emulated('by a clock in our thread, which tells the server'),
    'steady-lease': native,
    fencing: refused(
      'the server takes the acknowledgement of a holder whose message it has given to another',
      'Use the embedded queues or PostgreSQL; or make the effect happen once with an inbox.',
    ),
    'attempt-count': emulated('counted by the server; its last moments before a crash of its own can be forgotten'),
    retry: native,
    'delayed-retry': native,
    'uncounted-retry': emulated(schedules ? copied : `${copied}; not together with a delay before 2.12`),
    'dead-letter': emulated(copied),
    redrive: emulated(`${copied}; of the first 1000 dead ones`),
    counts: emulated('what waits for its next attempt counts as held'),
    peek: emulated('those that were never taken'),
    purge: emulated('of those that were never taken, one by one while others are held'),
    backpressure: backpressure(schedules, messagesMax),
    'no-silent-loss': native,
    'request-reply': emulated('a queue for the answers of each process'),
    generations: refused('the server knows nothing of the data', 'Use the embedded queues.'),
  }
}

function backpressure(schedules: boolean, messagesMax: number | null): Support {
  if (messagesMax === null) {
    return refused('without a limit a stream takes what the disk holds', 'Open the queues with messagesMax.')
  }
  return schedules
    ? emulated(
        'messages are counted before each batch; senders at the same moment can pass the limit by one batch each',
      )
    : native
}
