/** Opens queues on SQS, in the thread where they run, and says what standard and FIFO queues can do. SQS has no versions. */
import { isSteadError, systemClock, systemRandom } from '../../../base/index.ts'
import { emulated, native, refused } from '../../capability.ts'
import type { Capabilities, Support } from '../../capability.ts'
import type { Durability, QueueDriver } from '../../driver.ts'
import { keepingLeases } from '../../keeper.ts'
import { SqsClient } from './client.ts'
import { SqsDriver } from './driver.ts'
import type { SqsCredentials } from './signature.ts'

export interface SqsHostOptions {
  /** Null: AWS itself. */
  readonly endpoint: string | null
  readonly region: string
  readonly credentials: SqsCredentials
  readonly fifo: boolean
  readonly prefix: string
  readonly messageBytesMax: number
  /** What a server that is not AWS keeps, as the operator says. */
  readonly durability: Durability
  readonly pollSeconds: number
}

export async function openSqsHost(options: SqsHostOptions): Promise<QueueDriver> {
  const { region, credentials, fifo, prefix, messageBytesMax, pollSeconds } = options
  const amazon = options.endpoint === null
  const endpoint = options.endpoint ?? `https://sqs.${region}.amazonaws.com`
  const client = new SqsClient({ endpoint, region, credentials, clock: systemClock })
  try {
    await look(client, fifo)
    const durability = amazon ? 'replicated' : options.durability
    const other = client.product === '' ? 'an SQS server of another maker' : `SQS by ${client.product}`
    const driver = new SqsDriver({
      server: amazon ? `Amazon SQS in ${region}` : other,
      client,
      fifo,
      prefix,
      messageBytesMax,
      durability,
      pollSeconds,
      capabilities: capabilitiesOf(fifo, durability, amazon),
      clock: systemClock,
      random: systemRandom,
    })
    return keepingLeases(driver, systemClock)
  } catch (error) {
    await client.close()
    throw error
  }
}

/** Whether the server is there and knows the key. That a queue is not there, or that the key may not look for it, is an answer. */
async function look(client: SqsClient, fifo: boolean): Promise<void> {
  try {
    await client.call('GetQueueUrl', { QueueName: fifo ? 'stead-look.fifo' : 'stead-look' })
  } catch (error) {
    if (!isSteadError(error)) throw error
    const answered = error.code === 'queue.no-such-queue' || error.message.includes('AccessDenied')
    if (!answered) throw error
  }
}

const none = 'Use the embedded queues or PostgreSQL.'
const fifoInstead = 'Open the queues with fifo, or use the embedded queues or PostgreSQL.'
const copied = 'a copy is sent before the original is deleted: a crash between the two leaves both, under one id'
const window = 'the window of the server is five minutes whatever the sender wants, and it does not say what it dropped'

function durableOf(durability: Durability, amazon: boolean): Support {
  const fortnight = 'what nobody has taken after 14 days is deleted'
  if (amazon) return emulated(`replicated by the server; ${fortnight}`)
  if (durability === 'fsync' || durability === 'replicated') {
    return emulated(`as the operator says: a server that is not AWS cannot be asked; ${fortnight}`)
  }
  return refused('a server that is not AWS cannot be asked what it keeps', 'Say what it does: durability.')
}

function capabilitiesOf(fifo: boolean, durability: Durability, amazon: boolean): Capabilities {
  const shared: Capabilities = {
    'durable-send': durableOf(durability, amazon),
    'batch-send': native,
    headers: emulated('as JSON in one attribute; the server has room for ten'),
    'binary-body': emulated('what is no text of XML travels as base64'),
    'delayed-send': native,
    priority: refused('the server knows no priorities', 'Use a queue for each priority.'),
    'dedup-key': refused('standard queues keep no keys', none),
    'ordering-key': refused('standard queues keep no order', fifoInstead),
    'order-after-retry': refused('standard queues keep no order', fifoInstead),
    lease: native,
    'lease-extension': native,
    'steady-lease': native,
    fencing: refused(
      'the server answers success to receipts that have run out, and may deliver a message twice at once',
      fifoInstead,
    ),
    'attempt-count': emulated(
      'as the server counts, by its own word approximately; what arrives while a consumer stops has one more',
    ),
    retry: native,
    'delayed-retry': native,
    'uncounted-retry': emulated(copied),
    'dead-letter': emulated(`${copied}; after 14 days it is deleted`),
    redrive: emulated(`${copied}; of the first 1000 dead ones`),
    counts: emulated('approximate, and up to a minute late'),
    peek: refused('the server shows nothing without taking it', 'Use counts.'),
    purge: emulated('taken and deleted ten by ten; what is delayed stays'),
    backpressure: refused('a queue has no limit, and its figures are approximate', 'Watch counts.'),
    'no-silent-loss': emulated('a queue that was removed may take messages for up to a minute'),
    'request-reply': emulated('a queue for the answers of each process'),
    generations: refused('the server knows nothing of the data', 'Use the embedded queues.'),
  }
  if (!fifo) return shared
  return {
    ...shared,
    'delayed-send': refused('FIFO queues delay all messages or none', 'Open the queues without fifo.'),
    'dedup-key': refused(window, none),
    'ordering-key': native,
    'order-after-retry': native,
    fencing: emulated(
      'leases end five seconds earlier by a clock in our thread than at the server; that of AWS also refuses receipts that have run out',
    ),
    'uncounted-retry': refused('only a copy could have another count, and would be the last of its key', 'Count it.'),
  }
}
