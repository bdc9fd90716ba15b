/** The clients of Kafka and of SQS by themselves, for the bench of queues beside them. That of AWS comes with the emulator. */
import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fauxqsPackage } from '../test/fetched.ts'
import { measure, textOf, valueOf } from './bench-queue-measure.ts'
import type { Raw } from './bench-queue-measure.ts'

const topic = 'raw'

/** What is measured of a client. */
interface Client {
  send(count: number): Promise<void>
  consume(count: number): Promise<void>
  close(): Promise<void>
}

function timed(client: Client): Raw {
  return {
    send: (count) => measure(count, () => client.send(count)),
    take: (count) => measure(count, () => client.consume(count)),
    [Symbol.asyncDispose]: () => client.close(),
  }
}

/** Kafka's, with batches of `together`, each of which waits for the disk; and a commit for each `inHand` that were taken. */
export async function rawKafka(port: number, together: number, inHand: number): Promise<Raw> {
  const { Admin, Consumer, Producer } = await import('@platformatic/kafka')
  const base = { clientId: 'bench', bootstrapBrokers: [`127.0.0.1:${port}`] }
  const admin = new Admin(base)
  const configs = [{ name: 'flush.messages', value: '1' }]
  await admin.createTopics({ topics: [topic], partitions: 4, replicas: 1, configs })
  const producer = new Producer({ ...base, acks: -1 })
  const consumer = new Consumer({ ...base, groupId: topic, autocommit: false })
  const record = (): { topic: string; value: Buffer; headers: Map<Buffer, Buffer> } => ({
    topic,
    value: Buffer.from(textOf()),
    headers: new Map([[Buffer.from('id'), Buffer.from(randomUUID())]]),
  })
  return timed({
    async send(count) {
      for (let sent = 0; sent < count; sent += together) {
        await producer.send({ messages: Array.from({ length: together }, record) })
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
      for await (const { partition, offset, value } of stream) {
        valueOf(value.toString())
        ends.set(partition, offset + 1n)
        got += 1
        if (got % inHand !== 0 && got < count) continue
        const offsets = [...ends].map(([at, end]) => ({ topic, partition: at, offset: end, leaderEpoch: -1 }))
        await consumer.commit({ offsets })
        if (got >= count) break
      }
    },
    async close() {
      await Promise.allSettled([consumer.close(true), producer.close(true), admin.close()])
    },
  })
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
  readonly Messages?: readonly { readonly ReceiptHandle: string; readonly Body: string }[]
}

const requestsMax = 16

/** That of AWS, ten messages for each request, sixteen requests under way. */
export async function rawSqs(port: number): Promise<Raw> {
  const aws: AwsModule = createRequire(join(fauxqsPackage.path, 'package.json'))('@aws-sdk/client-sqs')
  const client = new aws.SQSClient({
    endpoint: `http://127.0.0.1:${port}`,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'any', secretAccessKey: 'any' },
  })
  const { QueueUrl } = await client.send(new aws.CreateQueueCommand({ QueueName: topic }))
  const entry = (_: unknown, at: number): object => ({
    Id: String(at),
    MessageBody: textOf(),
    MessageAttributes: { id: { DataType: 'String', StringValue: randomUUID() } },
  })
  const loops = (step: () => Promise<boolean>): Promise<unknown> =>
    Promise.all(
      Array.from({ length: requestsMax }, async () => {
        while (await step());
      }),
    )
  return timed({
    async send(count) {
      let left = count / 10
      await loops(async () => {
        if ((left -= 1) < 0) return false
        await client.send(new aws.SendMessageBatchCommand({ QueueUrl, Entries: Array.from({ length: 10 }, entry) }))
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
        for (const message of messages) valueOf(message.Body)
        const handles = messages.map(({ ReceiptHandle }, at) => ({ Id: String(at), ReceiptHandle }))
        if (handles.length > 0) await client.send(new aws.DeleteMessageBatchCommand({ QueueUrl, Entries: handles }))
        return true
      })
    },
    async close() {
      client.destroy()
    },
  })
}
