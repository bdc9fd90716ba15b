/**
 * Queues on brokers beside the brokers' own clients, in the same run on the same server: the same messages, the same durability, as
 * many under way. Prints rates and CPU for each message, of all threads; decides nothing. Servers that are not here are named.
 * A few seconds for each. The clients: @platformatic/kafka, and that of AWS, which comes with the emulator.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { json, openKafkaQueues, openSqsQueues } from '../src/queue/index.ts'
import type { Json } from '../src/base/index.ts'
import type { Queue, Queues } from '../src/queue/index.ts'
import { Broker, fauxqs, kafka, needsBroker } from '../test/brokers.ts'
import type { BrokerKind } from '../test/brokers.ts'
import { fauxqsPackage } from '../test/fetched.ts'

const body = 'x'.repeat(254)
/** Messages under way at once. */
const together = 1000

interface Rate {
  readonly perSecond: number
  readonly cpuMicroseconds: number
}

/** What a client can do by itself: send so many, take and settle so many. */
interface Raw extends AsyncDisposable {
  send(count: number): Promise<void>
  consume(count: number): Promise<void>
}

interface Rival {
  readonly kind: BrokerKind
  readonly messages: number
  readonly open: (broker: Broker) => Promise<Queues>
  readonly raw: (broker: Broker) => Promise<Raw>
}

async function measure(count: number, work: () => Promise<unknown>): Promise<Rate> {
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  await work()
  const seconds = (performance.now() - startMs) / 1000
  const { user, system } = process.cpuUsage(cpu)
  return { perSecond: count / seconds, cpuMicroseconds: (user + system) / count }
}

async function sends(queue: Queue<Json, Json>, count: number): Promise<void> {
  let left = count
  const caller = async (): Promise<void> => {
    while ((left -= 1) >= 0) await queue.send(body)
  }
  await Promise.all(Array.from({ length: together }, caller))
}

async function consumes(queue: Queue<Json, Json>, count: number): Promise<void> {
  const before = queue.metrics().acked
  const { promise, resolve } = Promise.withResolvers<void>()
  const look = (): void => void (queue.metrics().acked - before >= count && resolve())
  const consumer = queue.consumeBatch(look, { sizeMax: 100, concurrency: together })
  const looking = setInterval(look, 1)
  await promise
  clearInterval(looking)
  void consumer.drain()
}

const topic = 'raw'

async function rawKafka({ port }: Broker): Promise<Raw> {
  const { Admin, Consumer, Producer } = await import('@platformatic/kafka')
  const base = { clientId: 'bench', bootstrapBrokers: [`127.0.0.1:${port}`] }
  const admin = new Admin(base)
  const configs = [{ name: 'flush.messages', value: '1' }]
  await admin.createTopics({ topics: [topic], partitions: 4, replicas: 1, configs })
  const producer = new Producer({ ...base, acks: -1 })
  const consumer = new Consumer({ ...base, groupId: topic, autocommit: false })
  const value = Buffer.from(`"${body}"`)
  return {
    async send(count) {
      for (let sent = 0; sent < count; sent += together) {
        await producer.send({ messages: Array.from({ length: together }, () => ({ topic, value })) })
      }
    },
    async consume(count) {
      const stream = await consumer.consume({
        topics: [topic],
        mode: 'committed',
        fallbackMode: 'earliest',
        autocommit: false,
      })
      let got = 0
      const ends = new Map<number, bigint>()
      for await (const { partition, offset } of stream) {
        ends.set(partition, offset + 1n)
        got += 1
        if (got % together !== 0 && got < count) continue
        const offsets = [...ends].map(([at, end]) => ({ topic, partition: at, offset: end, leaderEpoch: -1 }))
        await consumer.commit({ offsets })
        if (got >= count) break
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.allSettled([consumer.close(true), producer.close(true), admin.close()])
    },
  }
}

/** As much of the client of AWS as is used here; it has no types in this repository. */
interface AwsModule {
  readonly SQSClient: new (options: object) => { send(command: object): Promise<AwsAnswer>; destroy(): void }
  readonly CreateQueueCommand: new (input: object) => object
  readonly SendMessageBatchCommand: new (input: object) => object
  readonly ReceiveMessageCommand: new (input: object) => object
  readonly DeleteMessageBatchCommand: new (input: object) => object
}

interface AwsAnswer {
  readonly QueueUrl?: string
  readonly Messages?: readonly { readonly ReceiptHandle: string }[]
}

const requestsMax = 16

async function rawSqs({ port }: Broker): Promise<Raw> {
  const aws: AwsModule = createRequire(join(fauxqsPackage.path, 'package.json'))('@aws-sdk/client-sqs')
  const client = new aws.SQSClient({
    endpoint: `http://127.0.0.1:${port}`,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'any', secretAccessKey: 'any' },
  })
  const { QueueUrl } = await client.send(new aws.CreateQueueCommand({ QueueName: topic }))
  const entries = Array.from({ length: 10 }, (_, at) => ({ Id: String(at), MessageBody: `"${body}"` }))
  const loops = (step: () => Promise<boolean>): Promise<unknown> =>
    Promise.all(
      Array.from({ length: requestsMax }, async () => {
        while (await step());
      }),
    )
  return {
    async send(count) {
      let left = count / 10
      await loops(async () => {
        if ((left -= 1) < 0) return false
        await client.send(new aws.SendMessageBatchCommand({ QueueUrl, Entries: entries }))
        return true
      })
    },
    async consume(count) {
      let got = 0
      await loops(async () => {
        if (got >= count) return false
        const { Messages: messages = [] } = await client.send(
          new aws.ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 0 }),
        )
        got += messages.length
        const handles = messages.map(({ ReceiptHandle }, at) => ({ Id: String(at), ReceiptHandle }))
        if (handles.length > 0) await client.send(new aws.DeleteMessageBatchCommand({ QueueUrl, Entries: handles }))
        return true
      })
    },
    async [Symbol.asyncDispose]() {
      client.destroy()
    },
  }
}

const rivals: readonly Rival[] = [
  {
    kind: kafka,
    messages: 40_000,
    open: ({ port }) => openKafkaQueues({ brokers: [`127.0.0.1:${port}`], partitions: 4, flushEach: true }),
    raw: rawKafka,
  },
  {
    kind: fauxqs,
    messages: 10_000,
    open: ({ port }) => {
      const key = { region: 'eu-central-1', accessKeyId: 'any', secretAccessKey: 'any' }
      return openSqsQueues({ ...key, endpoint: `http://127.0.0.1:${port}` })
    },
    raw: rawSqs,
  },
]

function compared(what: string, ours: Rate, theirs: Rate): void {
  const more = ours.cpuMicroseconds - theirs.cpuMicroseconds
  const figures = [
    `${Math.round(ours.perSecond).toLocaleString('en')}/s`.padStart(10),
    `${(ours.perSecond / theirs.perSecond).toFixed(2)} of the client's rate [goal: 0.85]`,
    `${ours.cpuMicroseconds.toFixed(1)} µs CPU, ${more >= 0 ? '+' : ''}${more.toFixed(1)} [goal: +5, or 15 %]`,
  ]
  process.stdout.write(`${what.padEnd(18)} ${figures.join('; ')}\n`)
}

for (const { kind, messages, open, raw } of rivals) {
  const without = needsBroker(kind)
  if (without !== false) {
    process.stdout.write(`${kind.name}: ${without}\n`)
    continue
  }
  await using broker = await Broker.start(kind)
  await using queues = await open(broker)
  await using rival = await raw(broker)
  const queue = await queues.declare('bench', json)
  // Both once before it counts: what is compiled, connected and joined at the first time is not the price of a message.
  for (const count of [together, messages]) {
    const theirs = [await measure(count, () => rival.send(count)), await measure(count, () => rival.consume(count))]
    const ours = [await measure(count, () => sends(queue, count)), await measure(count, () => consumes(queue, count))]
    if (count < messages) continue
    for (const [at, what] of ['send', 'processed'].entries()) {
      const [mine, other] = [ours[at], theirs[at]]
      if (mine !== undefined && other !== undefined) compared(`${kind.name}, ${what}`, mine, other)
    }
  }
}
