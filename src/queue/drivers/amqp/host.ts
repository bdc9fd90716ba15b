/** Opens queues on AMQP 0-9-1, in the thread where they run, and says what follows from the server's own name and version. */
import { systemClock } from '../../../base/index.ts'
import { emulated, native, refused } from '../../capability.ts'
import type { Capabilities } from '../../capability.ts'
import type { QueueDriver } from '../../driver.ts'
import { failure } from '../../errors.ts'
import { AmqpDriver } from './driver.ts'
import { prefixed } from '../prefixed.ts'

export interface AmqpHostOptions {
  readonly url: string
  readonly messagesMax: number | null
  readonly prefix: string
}

/** What every server of these versions takes. */
const bodyBytesMax = 15 * 1024 * 1024

export async function openAmqpHost({ url, messagesMax, prefix }: AmqpHostOptions): Promise<QueueDriver> {
  const capabilities = capabilitiesOf(messagesMax)
  const driver = new AmqpDriver({ url, messagesMax, capabilities, bodyBytesMax, clock: systemClock })
  await driver.connect()
  const [product = '', version = ''] = driver.server.split(' ')
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (product === 'RabbitMQ' && (major > 3 || (major === 3 && minor >= 10))) return prefixed(driver, prefix)
  await driver.close()
  const message = `${driver.server} is not a server that these queues were proved on`
  throw failure(
    'unsupported',
    message,
    'Use RabbitMQ 3.10 or later, whose quorum queues count deliveries and keep what is delayed.',
  )
}

const none = 'Use the embedded queues or PostgreSQL.'
/** Seen on 3.10.8: what fell due while the server started after kill -9 did not come, by queues with a time to live of either kind. */
const delays = 'the server loses what falls due while it starts after a crash'
const copied =
  'a copy is confirmed before the original is acknowledged: a crash between the two leaves both, under one id'

function capabilitiesOf(messagesMax: number | null): Capabilities {
  return {
    'durable-send': native,
    'batch-send': native,
    headers: native,
    'binary-body': native,
    'delayed-send': refused(delays, none),
    priority: refused(
      'quorum queues know no strict priorities before 4.3, and from then on what is given back loses its own',
      'Use a queue for each priority.',
    ),
    'dedup-key': refused('the server keeps no keys', none),
    'ordering-key': refused('the server keeps no keys', none),
    'order-after-retry': refused('the server keeps no keys', none),
    lease: emulated(
      "at once when the connection breaks, else by a clock in our thread; the server's consumer_timeout is the end",
    ),
    'lease-extension': emulated('by a clock in our thread'),
    'steady-lease': native,
    fencing: native,
    'attempt-count': native,
    retry: native,
    'delayed-retry': refused(delays, 'Retries come at once; or use the embedded queues or PostgreSQL.'),
    'uncounted-retry': emulated(copied),
    'dead-letter': emulated(copied),
    redrive: emulated(`${copied}; of the first 1000 dead ones`),
    counts: refused('the protocol tells only what is ready', 'Ask the management API of the server.'),
    peek: refused('the protocol shows nothing without taking it', 'Ask the management API of the server.'),
    purge: native,
    backpressure:
      messagesMax === null
        ? refused('without a limit a queue takes what the disk holds', 'Open the queues with messagesMax.')
        : emulated('the server refuses a little later than at the limit'),
    'no-silent-loss': native,
    'request-reply': emulated('a queue for the answers of each process'),
    generations: refused('the server knows nothing of the data', 'Use the embedded queues.'),
  }
}
