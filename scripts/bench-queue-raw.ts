/**
 * What the library costs over the server's own client: the same server, the same run, equal durability and as many in flight; sends
 * that are confirmed, and messages received and acknowledged. Bodies of 256 bytes, rounds of one and the other in turn, medians. Prints
 * a table; decides nothing. Two minutes; names of drivers as arguments choose.
 *
 * The client beside it does what nobody can do without who is to lose nothing: it writes a value as JSON and reads it again, gives each
 * message an id of the sender's (a send that is repeated is recognised by nothing else), waits for the confirmation of every
 * send, and settles when it has the value, in a way in which another gets what a dead consumer had. It keeps no headers, keys, delays,
 * count of attempts or dead letters, extends no lease, and runs in one thread. Where a client takes many messages in one call
 * (Kafka, SQS, PostgreSQL) it has them together beforehand; the library gets each by a call of its own.
 */
import { randomUUID } from 'node:crypto'
import { connect as connectAmqp } from 'amqplib'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect as connectNats, headers } from '@nats-io/transport-node'
import { Valkey } from 'iovalkey'
import pg from 'pg'
import {
  openAmqpQueues,
  openBeanstalkdQueues,
  openKafkaQueues,
  openNatsQueues,
  openPostgresQueues,
  openSqsQueues,
  openValkeyQueues,
} from '../src/queue/index.ts'
import type { Queues } from '../src/queue/index.ts'
import { BeanstalkdConnection, jobOf } from '../src/queue/drivers/beanstalkd/client.ts'
import {
  beanstalkd,
  Broker,
  fauxqs,
  kafka,
  nats,
  natsBuffered,
  needsBroker,
  rabbitmq,
  rabbitmq4,
  valkey,
} from '../test/brokers.ts'
import type { BrokerKind } from '../test/brokers.ts'
import { needsPostgres, PostgresServer } from '../test/postgres-server.ts'
import { fresh, inFlight, measure, median, processed, sends, shown, textOf, valueOf } from './bench-queue-measure.ts'
import type { Rate, Raw } from './bench-queue-measure.ts'
import { rawKafka, rawSqs } from './bench-queue-clients.ts'

const rounds = 3
const callers = 1000
const inHand = 256

interface Contest {
  readonly name: string
  readonly needs: string | false
  readonly count: number
  /** Starts a server, and opens both on it. */
  readonly open: (
    started: AsyncDisposableStack,
  ) => Promise<{ readonly server: string; readonly queues: Queues; readonly raw: Raw }>
}

async function rawAmqp(url: string): Promise<Raw> {
  const connection = await connectAmqp(url)
  const channel = await connection.createConfirmChannel()
  await channel.assertQueue('raw', { durable: true, arguments: { 'x-queue-type': 'quorum' } })
  await channel.prefetch(inHand)
  const publish = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const options = { persistent: true, mandatory: true, messageId: randomUUID() }
      channel.publish('', 'raw', Buffer.from(textOf()), options, (error) =>
        error === null || error === undefined ? resolve() : reject(new Error('refused', { cause: error })),
      )
    })
  return {
    send: (count) => measure(count, () => inFlight(count, callers, publish)),
    take: (count) =>
      measure(count, async () => {
        let left = count
        const { promise, resolve } = Promise.withResolvers<void>()
        const { consumerTag } = await channel.consume('raw', (delivery) => {
          if (delivery !== null) {
            valueOf(delivery.content.toString())
            channel.ack(delivery)
          }
          if ((left -= 1) === 0) resolve()
        })
        await promise
        await channel.cancel(consumerTag)
      }),
    [Symbol.asyncDispose]: () => connection.close(),
  }
}

async function rawBeanstalkd(port: number): Promise<Raw> {
  const connection = await BeanstalkdConnection.open('127.0.0.1', port, 5000)
  await Promise.all(['use raw', 'watch raw', 'ignore default'].map((line) => connection.command(line)))
  const put = (): Promise<unknown> => {
    const bytes = Buffer.from(`${randomUUID()}\n${textOf()}`)
    return connection.command(`put 9 0 120 ${bytes.length}`, bytes)
  }
  const take = async (): Promise<void> => {
    const reserved = await connection.command('reserve-with-timeout 5')
    const text = reserved.body?.toString() ?? ''
    valueOf(text.slice(text.indexOf('\n') + 1))
    await connection.command(`delete ${jobOf(reserved)}`)
  }
  return {
    send: (count) => measure(count, () => inFlight(count, callers, put)),
    take: (count) => measure(count, () => inFlight(count, inHand, take)),
    async [Symbol.asyncDispose]() {
      connection.close()
    },
  }
}

async function rawNats(port: number): Promise<Raw> {
  const connection = await connectNats({ servers: `127.0.0.1:${port}`, user: 'stead', pass: 'secret' })
  const manager = await jetstreamManager(connection)
  await manager.streams.add({ name: 'raw', subjects: ['raw'], retention: 'workqueue', storage: 'file' })
  await manager.consumers.add('raw', { durable_name: 'raw', ack_policy: 'explicit', max_ack_pending: -1 })
  const client = jetstream(connection)
  const consumer = await client.consumers.get('raw', 'raw')
  const publish = (): Promise<unknown> => {
    const own = headers()
    own.set('Id', randomUUID())
    return client.publish('raw', textOf(), { headers: own })
  }
  return {
    send: (count) => measure(count, () => inFlight(count, callers, publish)),
    take: (count) =>
      measure(count, async () => {
        let left = count
        const messages = await consumer.consume({ max_messages: inHand })
        const acks: Promise<boolean>[] = []
        // Confirmed, as the library's are: else it is over before the server has done anything.
        for await (const message of messages) {
          valueOf(message.string())
          acks.push(message.ackAck())
          if ((left -= 1) === 0) break
        }
        await Promise.all(acks)
      }),
    [Symbol.asyncDispose]: () => connection.close(),
  }
}

/** A stream with a group: the way that Valkey's own documentation shows. */
async function rawValkey(port: number): Promise<Raw> {
  const client = new Valkey({ port, host: '127.0.0.1', password: 'secret' })
  await client.xgroup('CREATE', 'raw', 'group', '0', 'MKSTREAM')
  return {
    send: (count) =>
      measure(count, () =>
        inFlight(count, callers, () => client.xadd('raw', '*', 'id', randomUUID(), 'body', textOf())),
      ),
    take: (count) =>
      measure(count, async () => {
        for (let left = count; left > 0;) {
          const got: unknown = await client.xreadgroup(
            'GROUP',
            'group',
            'me',
            'COUNT',
            inHand,
            'BLOCK',
            1000,
            'STREAMS',
            'raw',
            '>',
          )
          const entries = entriesOf(got)
          for (const [, fields] of entries) valueOf(String(fields[3]))
          const ids = entries.map(([id]) => id)
          await Promise.all([client.xack('raw', 'group', ...ids), client.xdel('raw', ...ids)])
          left -= ids.length
        }
      }),
    async [Symbol.asyncDispose]() {
      await client.quit()
    },
  }
}

function entriesOf(got: unknown): readonly (readonly [id: string, fields: readonly unknown[]])[] {
  const [stream] = Array.isArray(got) ? (got as readonly unknown[]) : []
  const entries: unknown = Array.isArray(stream) ? stream[1] : []
  return Array.isArray(entries) ? (entries as (readonly [string, readonly unknown[]])[]) : []
}

/** A table: rows in, by hundreds; claimed for half a minute, as many at once as the library has in hand; and out, if they are still ours. */
async function rawPostgres(url: string): Promise<Raw> {
  const pool = new pg.Pool({ connectionString: url, max: 4 })
  await pool.query(`CREATE TABLE raw (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid NOT NULL, body text NOT NULL,
    holder uuid, until timestamptz NOT NULL DEFAULT '-infinity')`)
  const insert = (size: number): Promise<unknown> => {
    const rows = Array.from({ length: size }, () => ({ id: randomUUID(), text: textOf() }))
    const text = 'INSERT INTO raw (id, body) SELECT * FROM unnest($1::uuid[], $2::text[])'
    return pool.query({ name: 'insert', text, values: [rows.map(({ id }) => id), rows.map((row) => row.text)] })
  }
  const claim = `UPDATE raw SET holder = $1, until = clock_timestamp() + interval '30 seconds' WHERE n = ANY(ARRAY(
    SELECT n FROM raw WHERE until <= clock_timestamp() ORDER BY n LIMIT ${inHand} FOR UPDATE SKIP LOCKED)) RETURNING n, id, body`
  const take = async (): Promise<number> => {
    const holder = randomUUID()
    const { rows } = await pool.query<{ n: string; body: string }>({ name: 'claim', text: claim, values: [holder] })
    for (const row of rows) valueOf(row.body)
    const text = 'DELETE FROM raw WHERE n = ANY($1::bigint[]) AND holder = $2 AND until > clock_timestamp()'
    await pool.query({ name: 'delete', text, values: [rows.map(({ n }) => n), holder] })
    return rows.length
  }
  return {
    send: (count) => measure(count, () => inFlight(Math.ceil(count / (callers / 2)), 2, () => insert(callers / 2))),
    take: (count) =>
      measure(count, async () => {
        for (let left = count; left > 0;) left -= await take()
      }),
    [Symbol.asyncDispose]: () => pool.end(),
  }
}

const amqpUrl = ({ port }: Broker): string => `amqp://guest:guest@127.0.0.1:${port}/`

function brokered(
  name: string,
  kind: BrokerKind,
  count: number,
  open: (broker: Broker) => Promise<readonly [Queues, Raw]>,
): Contest {
  return {
    name,
    needs: needsBroker(kind),
    count,
    async open(started) {
      const [queues, raw] = await open(started.use(await Broker.start(kind)))
      return { server: queues.server, queues: started.use(queues), raw: started.use(raw) }
    },
  }
}

const natsPair = async (broker: Broker): Promise<readonly [Queues, Raw]> => [
  await openNatsQueues({ url: `nats://stead:secret@127.0.0.1:${broker.port}` }),
  await rawNats(broker.port),
]
const amqpPair = async (broker: Broker): Promise<readonly [Queues, Raw]> => [
  await openAmqpQueues({ url: amqpUrl(broker) }),
  await rawAmqp(amqpUrl(broker)),
]

const contests: readonly Contest[] = [
  brokered('amqp', rabbitmq, 5000, amqpPair),
  brokered('amqp 4.3', rabbitmq4, 10_000, amqpPair),
  brokered('beanstalkd', beanstalkd, 10_000, async ({ port }) => [
    await openBeanstalkdQueues({ port, syncsEach: true }),
    await rawBeanstalkd(port),
  ]),
  brokered('nats', nats, 1000, natsPair),
  brokered('nats, as it comes', natsBuffered, 5000, natsPair),
  brokered('valkey', valkey, 50_000, async ({ port }) => [
    await openValkeyQueues({ url: `valkey://:secret@127.0.0.1:${port}` }),
    await rawValkey(port),
  ]),
  brokered('kafka', kafka, 50_000, async ({ port }) => [
    await openKafkaQueues({ brokers: [`127.0.0.1:${port}`], partitions: 4, flushEach: true }),
    await rawKafka(port, callers, inHand),
  ]),
  brokered('sqs', fauxqs, 5000, async ({ port }) => {
    const key = { region: 'eu-central-1', accessKeyId: 'any', secretAccessKey: 'any' }
    return [await openSqsQueues({ ...key, endpoint: `http://127.0.0.1:${port}` }), await rawSqs(port)]
  }),
  {
    name: 'postgres',
    needs: needsPostgres(),
    count: 30_000,
    async open(started) {
      const { url } = started.use(await PostgresServer.start())
      const queues = started.use(await openPostgresQueues({ url }))
      return { server: queues.server, queues, raw: started.use(await rawPostgres(url)) }
    },
  },
]

function line(what: string, ours: Rate, raw: Rate): string {
  const over = ours.cpuMicroseconds - raw.cpuMicroseconds
  const may = Math.max(5, 0.15 * raw.cpuMicroseconds)
  const ratio = ours.perSecond / raw.perSecond
  return (
    `  ${what.padEnd(12)} ${shown(ours.perSecond).padStart(10)}  its own client ${shown(raw.perSecond).padStart(10)}: ` +
    `${ratio.toFixed(2)} of it [goal: 0.85]; CPU ${ours.cpuMicroseconds.toFixed(1)} µs, its own ${raw.cpuMicroseconds.toFixed(1)}: ` +
    `${over >= 0 ? '+' : ''}${over.toFixed(1)} [goal: at most +${may.toFixed(1)}]\n`
  )
}

const wanted = process.argv.slice(2)
for (const { name, needs, count, open } of contests) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  if (needs !== false) {
    process.stdout.write(`${name}: ${needs}\n`)
    continue
  }
  await using started = new AsyncDisposableStack()
  const { server, queues, raw } = await open(started)
  const queue = await fresh(queues, 'bench')
  const rates = { send: [], rawSend: [], take: [], rawTake: [] } as Record<string, Rate[]>
  // The first round is for what happens once: code that is compiled, files that are made.
  for (let round = 0; round <= rounds; round += 1) {
    const one = {
      rawSend: await raw.send(count),
      send: await sends(queue, callers, count),
      rawTake: await raw.take(count),
      take: await processed(queue, 1, count, inHand),
    }
    if (round > 0) for (const [what, rate] of Object.entries(one)) rates[what]?.push(rate)
  }
  process.stdout.write(`${name} (${server}), ${callers} sends in flight, ${inHand} in hand\n`)
  process.stdout.write(line('send', median(rates['send'] ?? []), median(rates['rawSend'] ?? [])))
  process.stdout.write(line('take and ack', median(rates['take'] ?? []), median(rates['rawTake'] ?? [])))
}
