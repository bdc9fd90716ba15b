/**
 * The clients of one Kafka: for topics, for sending, and for reading outside of any group. They try nothing again by themselves: a
 * commit that the client tried again after a rebalance would go through under the new generation, and nothing would be
 * fenced. What they throw becomes an error of queues.
 */
import type { Admin, BaseOptions, Consumer, Producer } from '@platformatic/kafka'
import { isSteadError, messageOf } from '../../../base/index.ts'
import type { SteadError } from '../../../base/index.ts'
import { failure, missingClient } from '../../errors.ts'
import { messageOfRecord } from './message.ts'
import type { KafkaMessage, KafkaRecord } from './message.ts'

export interface KafkaSettings {
  /** `host:port`. */
  readonly brokers: readonly string[]
  readonly tls: boolean
  /** Null: the server asks for no name. */
  readonly sasl: {
    readonly mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512'
    readonly username: string
    readonly password: string
  } | null
  /** Who is silent so long has lost its partitions. */
  readonly sessionMs: number
}

const connectMs = 5000
const answerMs = 15_000
/** Of one answer: records take several times as much once they are read. */
const fetchBytesMax: number = 2 * 1024 * 1024
/** The least that a member has to join again; no less than its session. */
const rebalanceMs = 10_000
const heartbeatMs = 1000

type Client = typeof import('@platformatic/kafka')

/** A record that was read. */
export interface KafkaRead {
  readonly partition: number
  readonly offset: bigint
  /** The first offset behind the batch it came in, which can be further than the next record. */
  readonly batchEnd: bigint
  readonly message: KafkaMessage
}

export class KafkaLink {
  readonly place: string
  readonly admin: Admin
  /** Reads, and is in no group. */
  readonly reader: Consumer
  readonly #client: Client
  readonly #settings: KafkaSettings
  readonly #producer: Producer
  #members = 0

  /** Loads the client. Throws `queue.missing-client`. */
  static async open(settings: KafkaSettings): Promise<KafkaLink> {
    const client = await import('@platformatic/kafka').catch((error: unknown) =>
      Promise.reject(missingClient('Kafka', '@platformatic/kafka', error)),
    )
    return new KafkaLink(client, settings)
  }

  private constructor(client: Client, settings: KafkaSettings) {
    this.place = `Kafka at ${settings.brokers.join(', ')}`
    this.#client = client
    this.#settings = settings
    this.admin = new client.Admin(this.#base())
    this.#producer = new client.Producer({ ...this.#base(), acks: -1, autocreateTopics: false })
    this.reader = this.#consumer('stead-reader')
    for (const one of [this.admin, this.#producer]) one.on('error', () => {})
  }

  #base(): BaseOptions {
    const { brokers, tls, sasl } = this.#settings
    return {
      clientId: 'stead',
      bootstrapBrokers: [...brokers],
      retries: 0,
      connectTimeout: connectMs,
      requestTimeout: answerMs,
      timeout: answerMs,
      autocreateTopics: false,
      ...(tls ? { tls: {} } : {}),
      ...(sasl === null ? {} : { sasl }),
    }
  }

  #consumer(groupId: string): Consumer {
    const consumer = new this.#client.Consumer({
      ...this.#base(),
      clientId: `stead-${(this.#members += 1)}`,
      groupId,
      autocommit: false,
      sessionTimeout: this.#settings.sessionMs,
      rebalanceTimeout: Math.max(rebalanceMs, this.#settings.sessionMs),
      heartbeatInterval: heartbeatMs,
    })
    consumer.on('error', () => {})
    return consumer
  }

  /** A member of a group, which has not joined yet. */
  member(groupId: string): Consumer {
    return this.#consumer(groupId)
  }

  /**
   * Resolves when all replicas that have to have the records have them. Those without a key go to all partitions in turn: one partition
   * for each batch would be fewer syncs, and would give a burst to a single consumer.
   */
  async send(records: readonly KafkaRecord[]): Promise<void> {
    await this.#producer.send({ messages: [...records] })
  }

  /** One answer of the server to a fetch from these offsets: what is there now, or what comes within `waitMs`. */
  async read(
    reader: Consumer,
    topic: string,
    from: readonly (readonly [number, bigint])[],
    waitMs: number,
  ): Promise<readonly KafkaRead[]> {
    reader.topics.track(topic)
    const metadata = await reader.metadata({ topics: [topic] })
    const found = metadata.topics.get(topic)
    if (found === undefined) throw noSuchQueue(topic)
    const byLeader = Map.groupBy(from, ([partition]) => found.partitions[partition]?.leader ?? -1)
    const answers = await Promise.all(
      [...byLeader].map(([node, partitions]) =>
        reader.fetch({
          node,
          maxWaitTime: waitMs,
          minBytes: 1,
          maxBytes: fetchBytesMax,
          topics: [
            {
              topicId: found.id,
              partitions: partitions.map(([partition, fetchOffset]) => {
                const epochs = { currentLeaderEpoch: -1, lastFetchedEpoch: -1 }
                return { partition, fetchOffset, partitionMaxBytes: fetchBytesMax, ...epochs }
              }),
            },
          ],
        }),
      ),
    )
    const parts = answers.flatMap(({ responses }) => responses.flatMap(({ partitions }) => partitions))
    return parts.flatMap(({ partitionIndex: partition, records }) =>
      (records ?? []).flatMap((batch) => {
        const batchEnd = batch.firstOffset + BigInt(batch.lastOffsetDelta) + 1n
        return batch.records.map((record) => {
          const offset = batch.firstOffset + BigInt(record.offsetDelta)
          return {
            partition,
            offset,
            batchEnd,
            message: messageOfRecord(record, () => `${topic}-${partition}-${offset}`),
          }
        })
      }),
    )
  }

  /** The first offset of each partition that is still there, or the one behind the last. */
  async offsets(topic: string, which: 'first' | 'end'): Promise<readonly bigint[]> {
    const all = await this.reader.listOffsets({ topics: [topic], timestamp: which === 'first' ? -2n : -1n })
    const offsets = all.get(topic)
    if (offsets === undefined) throw noSuchQueue(topic)
    return offsets
  }

  /** Deletes the records before these offsets. */
  async deleteBefore(topic: string, offsets: readonly (readonly [number, bigint])[]): Promise<void> {
    const partitions = offsets.map(([partition, offset]) => ({ partition, offset }))
    await this.admin.deleteRecords({ topics: [{ name: topic, partitions }] })
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#producer.close(true), this.reader.close(true), this.admin.close()])
  }

  /** What the client threw, as an error of queues. `changing`: when the answer was lost, it may have been done. */
  failure(error: unknown, changing: boolean): SteadError {
    if (isSteadError(error)) return error
    const said = this.#saidBy(error)
    const text = `${this.place}: ${said}`
    if (/UNKNOWN_TOPIC|Unknown topic/.test(said)) {
      return failure('no-such-queue', text, 'Declare it before it is used.', error)
    }
    if (/AUTHENTICATION|AUTHORIZATION_FAILED|SASL/i.test(said)) {
      return failure('not-authorized', text, 'Look at the name, its password and rights.', error)
    }
    if (/TOO_LARGE/.test(said)) return failure('rejected', text, 'Look at max.message.bytes of the topic.', error)
    if (/NOT_ENOUGH_REPLICAS|KAFKA_STORAGE_ERROR/.test(said)) {
      return failure('full', text, 'Wait until the replicas are back and have room.', error)
    }
    if (changing && !/Cannot connect|Connection to .* failed/.test(said)) {
      return failure('outcome-unknown', text, 'It may have been done.', error)
    }
    return failure('unavailable', `${this.place} does not answer: ${said}`, 'See whether it runs.', error)
  }

  /** Whether the server has said this: its errors come inside of others. */
  says(error: unknown, apiId: string): boolean {
    return error instanceof Error && this.#client.findErrorBy(error, 'apiId', apiId) !== null
  }

  #saidBy(error: unknown): string {
    const all: string[] = []
    const look = (one: unknown, depth: number): void => {
      if (!(one instanceof Error) || depth > 5) return
      const apiId = 'apiId' in one && typeof one.apiId === 'string' ? `${one.apiId} ` : ''
      all.push(`${apiId}${'code' in one ? `${String(one.code)} ` : ''}${one.message}`)
      if (one instanceof AggregateError) for (const inner of one.errors) look(inner, depth + 1)
      look(one.cause, depth + 1)
    }
    look(error, 0)
    return [...new Set(all)].join('; ').slice(0, 500) || messageOf(error)
  }
}

export function noSuchQueue(topic: string): SteadError {
  return failure('no-such-queue', `there is no topic ${topic}`, 'Declare it before it is used.')
}
