/**
 * Starts the servers that queues and buckets can be on, on loopback, with their data in temporary folders: prints where each
 * answers and with which version, and stops what it started when it is interrupted. What is not on this machine is fetched
 * where that is possible, and named otherwise, with what brings it. Names as arguments, as in `npm run servers -- nats valkey`, start
 * those alone.
 */
import { once } from 'node:events'
import {
  openAmqpQueues,
  openBeanstalkdQueues,
  openKafkaQueues,
  openNatsQueues,
  openPostgresQueues,
  openPulsarQueues,
  openSqsQueues,
  openValkeyQueues,
} from '../src/queue/index.ts'
import type { Queues } from '../src/queue/index.ts'
import {
  beanstalkd,
  Broker,
  fauxqs,
  kafka,
  moto,
  nats,
  natsOld,
  needsBroker,
  pulsar,
  rabbitmq,
  rabbitmq4,
  redis,
  valkey,
} from '../test/brokers.ts'
import type { BrokerKind } from '../test/brokers.ts'
import { needsPostgres, PostgresServer } from '../test/postgres-server.ts'
import { missingObjectServers, objectServers, startObjectServer, testKey } from './object-servers.ts'

// Listened to from the start: who interrupts while servers start has them ended as well, and so has who stops reading what is said.
const unread = new Promise<void>((resolve) => void process.stdout.on('error', () => resolve()))
let isOver = false
const interrupted = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM'), unread]).then(
  () => (isOver = true),
)
// Waiting for a signal does not keep a process alive by itself.
const alive = setInterval(() => {}, 60_000)
await using started = new AsyncDisposableStack()

function say(name: string, text: string): void {
  process.stdout.write(`${name.padEnd(17)} ${text}\n`)
}

const wanted: ReadonlySet<string> = new Set(process.argv.slice(2))
/** Whether a server is to be started: all are where none is named. */
function isWanted(name: string): boolean {
  return !isOver && (wanted.size === 0 || wanted.has(name))
}

interface Shown {
  readonly name: string
  readonly kind: BrokerKind
  /** Where a program finds it, and the queues on it. */
  readonly url: (broker: Broker) => string
  readonly open: (broker: Broker) => Promise<Queues>
}

const urls = {
  amqp: ({ port }: Broker): string => `amqp://guest:guest@127.0.0.1:${port}/`,
  nats: ({ port }: Broker): string => `nats://stead:secret@127.0.0.1:${port}`,
}
const valkeyUrl = ({ port }: Broker): string => `valkey://:secret@127.0.0.1:${port}`
const sqsUrl = ({ port }: Broker): string => `http://127.0.0.1:${port}`
const anyKey = { region: 'us-east-1', accessKeyId: 'any', secretAccessKey: 'any' }
const monitorOf = ({ second }: Broker): string => `http://127.0.0.1:${second}`

const brokers: readonly Shown[] = [
  {
    name: 'beanstalkd',
    kind: beanstalkd,
    url: ({ port }) => `127.0.0.1:${port}`,
    open: ({ port }) => openBeanstalkdQueues({ port, syncsEach: true }),
  },
  { name: 'amqp', kind: rabbitmq, url: urls.amqp, open: (broker) => openAmqpQueues({ url: urls.amqp(broker) }) },
  { name: 'amqp-4', kind: rabbitmq4, url: urls.amqp, open: (broker) => openAmqpQueues({ url: urls.amqp(broker) }) },
  {
    name: 'nats',
    kind: nats,
    url: (broker) => `${urls.nats(broker)}, monitoring ${monitorOf(broker)}`,
    open: (broker) => openNatsQueues({ url: urls.nats(broker), monitor: monitorOf(broker) }),
  },
  { name: 'sqs', kind: fauxqs, url: sqsUrl, open: (broker) => openSqsQueues({ endpoint: sqsUrl(broker), ...anyKey }) },
  {
    name: 'sqs-moto',
    kind: moto,
    url: sqsUrl,
    open: (broker) => openSqsQueues({ endpoint: sqsUrl(broker), ...anyKey }),
  },
  {
    name: 'kafka',
    kind: kafka,
    url: ({ port }) => `127.0.0.1:${port}`,
    open: ({ port }) => openKafkaQueues({ brokers: [`127.0.0.1:${port}`] }),
  },
  {
    name: 'pulsar',
    kind: pulsar,
    url: ({ port }) => `http://127.0.0.1:${port}`,
    open: ({ port }) => openPulsarQueues({ url: `http://127.0.0.1:${port}`, syncsEach: true }),
  },
  { name: 'nats-old', kind: natsOld, url: urls.nats, open: (broker) => openNatsQueues({ url: urls.nats(broker) }) },
  { name: 'valkey', kind: valkey, url: valkeyUrl, open: (broker) => openValkeyQueues({ url: valkeyUrl(broker) }) },
  { name: 'redis', kind: redis, url: valkeyUrl, open: (broker) => openValkeyQueues({ url: valkeyUrl(broker) }) },
]

const names = ['postgres', ...brokers.map(({ name }) => name), ...objectServers.map(({ name }) => name)]
const strange = [...wanted].filter((name) => !names.includes(name))
if (strange.length > 0) {
  process.stderr.write(
    `There is no server ${strange.join(', ')}. There are: ${names.join(', ')}.\nExample: npm run servers -- nats valkey\n`,
  )
  process.exit(2)
}

const withoutPostgres = needsPostgres()
if (isWanted('postgres') && withoutPostgres === false) {
  const server = started.use(await PostgresServer.start())
  await using queues = await openPostgresQueues({ url: server.url })
  say('postgres', `${queues.server} at ${server.url}`)
} else if (isWanted('postgres') && withoutPostgres !== false) say('postgres', withoutPostgres)

for (const { name, kind, url, open } of brokers) {
  if (!isWanted(name)) continue
  const without = needsBroker(kind, true)
  if (without === false) {
    const broker = started.use(await Broker.start(kind))
    await using queues = await open(broker)
    say(name, `${queues.server} at ${url(broker)}`)
  } else say(name, without)
}

for (const server of objectServers) {
  if (!isWanted(server.name)) continue
  if (server.isHere()) {
    const { name, version, endpoint } = started.use(await startObjectServer(server))
    say(name, `${version} at ${endpoint}`)
  } else
    say(server.name, `needs the program (${server.source}): scripts/node scripts/object-servers.ts '${server.name}'`)
}
if (wanted.size === 0) for (const [name, why] of Object.entries(missingObjectServers)) say(name, why)
say('key', `of all object stores: ${testKey.accessKeyId}, secret ${testKey.secretAccessKey}`)

if (!isOver) process.stdout.write('\nCtrl-C stops them.\n')
await interrupted
clearInterval(alive)
