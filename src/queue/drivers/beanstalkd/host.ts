/** Opens queues on Beanstalkd, in the thread where they run: asks the server what it is, and says what follows. */
import { messageOf, systemClock } from '../../../base/index.ts'
import { emulated, native, refused } from '../../capability.ts'
import type { Capabilities } from '../../capability.ts'
import type { Durability, QueueDriver } from '../../driver.ts'
import { failure } from '../../errors.ts'
import { BeanstalkdConnection } from './client.ts'
import { BeanstalkdDriver, numberOf } from './driver.ts'
import { envelopeBytesMax } from '../envelope.ts'

export interface BeanstalkdHostOptions {
  readonly host: string
  readonly port: number
  readonly syncsEach: boolean
  readonly messagesMax: number | null
}

const connectMs = 5000
/** The least that leaves room for a body beside its company. */
const jobBytesMin: number = envelopeBytesMax + 1024

export async function openBeanstalkdHost(options: BeanstalkdHostOptions): Promise<QueueDriver> {
  const { host, port, syncsEach, messagesMax } = options
  const place = `Beanstalkd at ${host}:${port}`
  const stats = await (async () => {
    try {
      const connection = await BeanstalkdConnection.open(host, port, connectMs)
      const reply = await connection.command('stats')
      connection.close()
      return reply
    } catch (error) {
      throw failure('unavailable', `${place} does not answer: ${messageOf(error)}`, 'See whether it runs.', error)
    }
  })()
  const jobBytesMax = numberOf(stats, 'max-job-size') ?? 0
  if (jobBytesMax < jobBytesMin) {
    const message = `${place} takes jobs of up to ${jobBytesMax} bytes, and ${jobBytesMin} are needed for headers and a body`
    throw failure('cannot-open', message, 'Start it with -z 1048576.')
  }
  const logs = (numberOf(stats, 'binlog-current-index') ?? 0) > 0
  const durability: Durability = !logs ? 'memory' : syncsEach ? 'fsync' : 'buffered'
  const version = /^version: "?([^"\n]+)/m.exec(stats.body?.toString() ?? '')?.[1] ?? ''
  return new BeanstalkdDriver({
    host,
    port,
    server: `Beanstalkd ${version}`,
    jobBytesMax,
    durability,
    messagesMax,
    capabilities: capabilitiesOf(durability, messagesMax),
    clock: systemClock,
  })
}

const none = 'Use the embedded queues or PostgreSQL.'
const copied = 'a copy is put before the original is deleted: a crash between the two leaves both, under one id'

function capabilitiesOf(durability: Durability, messagesMax: number | null): Capabilities {
  return {
    'durable-send':
      durability === 'fsync'
        ? emulated('as the operator says: the server runs with -b and -f0; it cannot be asked')
        : refused(
            durability === 'memory' ? 'the server keeps no log' : 'the server syncs its log now and then',
            'Start it with -b FOLDER -f0, and open the queues with syncsEach.',
          ),
    'batch-send': native,
    headers: emulated('in the body, which other programs see with a line before it'),
    'binary-body': native,
    'delayed-send': native,
    priority: native,
    'dedup-key': refused('the server keeps no keys', none),
    'ordering-key': refused('the server keeps no keys', none),
    'order-after-retry': refused('the server keeps no keys', none),
    lease: emulated('at once when the connection breaks, else by a clock in our thread; by the server after 120 s'),
    'lease-extension': emulated('by a clock in our thread, which tells the server'),
    'steady-lease': native,
    fencing: native,
    'attempt-count': native,
    retry: native,
    'delayed-retry': native,
    'uncounted-retry': emulated(copied),
    'dead-letter': emulated(copied),
    redrive: emulated(`${copied}; of the first 1000 dead ones`),
    counts: native,
    peek: refused('the server shows the first message only', 'Use counts.'),
    purge: emulated('one by one'),
    backpressure:
      messagesMax === null
        ? refused('a tube has no limit', 'Open the queues with messagesMax.')
        : emulated(
            'messages are counted before each batch; senders at the same moment can pass the limit by one batch each',
          ),
    'no-silent-loss': refused('a tube is made by whoever names it', 'Declare queues in one place.'),
    'request-reply': emulated('a queue for the answers of each process'),
    generations: refused('the server knows nothing of the data', 'Use the embedded queues.'),
  }
}
