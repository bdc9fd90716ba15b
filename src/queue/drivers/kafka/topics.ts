/**
 * The topics of queues: made with what the queues promise, and looked at when they are there already. A topic that keeps less than
 * is promised is refused.
 */
import { sleep } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import type { Durability } from '../../driver.ts'
import { failure } from '../../errors.ts'
import type { KafkaLink } from './link.ts'

export interface TopicSettings {
  readonly partitions: number
  /** Null: what the server takes for the usual. */
  readonly replicas: number | null
  readonly flushEach: boolean
  readonly messageBytesMax: number
  readonly durability: Durability
}

const readyMs = 10_000
const lookMs = 50
/** The number of the kind of resource that a topic is. */
const topicResource = 2

export class KafkaTopics {
  readonly #link: KafkaLink
  readonly #settings: TopicSettings
  readonly #clock: Clock

  constructor(link: KafkaLink, settings: TopicSettings, clock: Clock) {
    this.#link = link
    this.#settings = settings
    this.#clock = clock
  }

  async declare(queue: string): Promise<void> {
    const { partitions } = this.#settings
    try {
      for (const [topic, count] of [
        [queue, partitions],
        [`${queue}.dead`, 1],
      ] as const) {
        const made = await this.#make(topic, count)
        await this.#ready(topic)
        if (!made) await this.#check(topic)
      }
    } catch (error) {
      throw this.#link.failure(error, false)
    }
  }

  /** Answers whether it was not there. */
  async #make(topic: string, partitions: number): Promise<boolean> {
    const { replicas, flushEach, messageBytesMax } = this.#settings
    const configs = [
      // What nobody has settled stays; what is settled is deleted by the members of the group.
      { name: 'retention.ms', value: '-1' },
      { name: 'max.message.bytes', value: String(messageBytesMax + 4096) },
      ...(flushEach ? [{ name: 'flush.messages', value: '1' }] : []),
      ...(replicas !== null && replicas > 1 ? [{ name: 'min.insync.replicas', value: '2' }] : []),
    ]
    try {
      await this.#link.admin.createTopics({ topics: [topic], partitions, replicas: replicas ?? -1, configs })
      return true
    } catch (error) {
      if (this.#link.says(error, 'TOPIC_ALREADY_EXISTS')) return false
      throw error
    }
  }

  /** A topic that was made a moment ago has no leaders yet. */
  async #ready(topic: string): Promise<void> {
    const untilMs = this.#clock.monotonicMs() + readyMs
    for (;;) {
      try {
        const { topics } = await this.#link.admin.metadata({ topics: [topic], forceUpdate: true })
        if (topics.get(topic)?.partitions.every(({ leader }) => leader >= 0) === true) return
      } catch (error) {
        if (this.#clock.monotonicMs() >= untilMs) throw error
      }
      if (this.#clock.monotonicMs() >= untilMs) {
        throw failure('unavailable', `${this.#link.place}: the topic ${topic} has no leaders`, 'Look at its brokers.')
      }
      await sleep(this.#clock, lookMs)
    }
  }

  async #check(topic: string): Promise<void> {
    const { durability } = this.#settings
    if (durability === 'buffered') return
    const [found] = await this.#link.admin.describeConfigs({
      resources: [
        {
          resourceType: topicResource,
          resourceName: topic,
          configurationKeys: ['flush.messages', 'min.insync.replicas'],
        },
      ],
    })
    const valueOf = (name: string): number => Number(found?.configs.find((config) => config.name === name)?.value ?? 0)
    const kept = durability === 'fsync' ? valueOf('flush.messages') === 1 : valueOf('min.insync.replicas') >= 2
    if (kept) return
    const wanted = durability === 'fsync' ? 'flush.messages=1' : 'min.insync.replicas=2'
    const message = `the topic ${topic} was made without ${wanted}, and keeps less than these queues promise`
    throw failure('not-durable', message, `Set ${wanted} on it, or open the queues without asking for that.`)
  }

  /** How far the group of a topic is, by partition; -1 where it has never been. */
  async committed(topic: string): Promise<readonly bigint[]> {
    const { topics } = await this.#link.admin.metadata({ topics: [topic] })
    const partitions = Array.from({ length: topics.get(topic)?.partitionsCount ?? 0 }, (_, index) => index)
    const member = this.#link.member(topic)
    try {
      return (await member.listCommittedOffsets({ topics: [{ topic, partitions }] })).get(topic) ?? []
    } finally {
      await member.close(true)
    }
  }

  async remove(queue: string): Promise<void> {
    for (const topic of [queue, `${queue}.dead`]) {
      try {
        await this.#link.admin.deleteTopics({ topics: [topic] })
      } catch (error) {
        if (!this.#link.says(error, 'UNKNOWN_TOPIC_OR_PARTITION')) throw this.#link.failure(error, false)
      }
    }
  }
}
