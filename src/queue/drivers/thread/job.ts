/** Which driver a thread opens, as data that can be handed to it; and how it opens it. */
import type { QueueDriver } from '../../driver.ts'
import { openAmqpHost } from '../amqp/host.ts'
import type { AmqpHostOptions } from '../amqp/host.ts'
import { openBeanstalkdHost } from '../beanstalkd/host.ts'
import type { BeanstalkdHostOptions } from '../beanstalkd/host.ts'
import { openEmbeddedHost } from '../embedded/host.ts'
import type { EmbeddedFileOptions } from '../embedded/host.ts'
import { openKafkaHost } from '../kafka/host.ts'
import type { KafkaHostOptions } from '../kafka/host.ts'
import { openNatsHost } from '../nats/host.ts'
import type { NatsHostOptions } from '../nats/host.ts'
import { openHttpHost } from '../http/host.ts'
import type { HttpHostOptions } from '../http/host.ts'
import { openPulsarHost } from '../pulsar/host.ts'
import type { PulsarHostOptions } from '../pulsar/host.ts'
import { openPostgresHost } from '../postgres/host.ts'
import type { PostgresHostOptions } from '../postgres/host.ts'
import { openSqsHost } from '../sqs/host.ts'
import type { SqsHostOptions } from '../sqs/host.ts'
import { openValkeyHost } from '../valkey/host.ts'
import type { ValkeyHostOptions } from '../valkey/host.ts'

export type ThreadJob =
  | { readonly driver: 'amqp'; readonly options: AmqpHostOptions }
  | { readonly driver: 'embedded'; readonly options: EmbeddedFileOptions }
  | { readonly driver: 'beanstalkd'; readonly options: BeanstalkdHostOptions }
  | { readonly driver: 'nats'; readonly options: NatsHostOptions }
  | { readonly driver: 'http'; readonly options: HttpHostOptions }
  | { readonly driver: 'postgres'; readonly options: PostgresHostOptions }
  | { readonly driver: 'kafka'; readonly options: KafkaHostOptions }
  | { readonly driver: 'pulsar'; readonly options: PulsarHostOptions }
  | { readonly driver: 'sqs'; readonly options: SqsHostOptions }
  | { readonly driver: 'valkey'; readonly options: ValkeyHostOptions }

/** Opens the driver of a job. */
export function openJob(job: ThreadJob): Promise<QueueDriver> {
  switch (job.driver) {
    case 'embedded':
      return openEmbeddedHost(job.options)
    case 'amqp':
      return openAmqpHost(job.options)
    case 'beanstalkd':
      return openBeanstalkdHost(job.options)
    case 'nats':
      return openNatsHost(job.options)
    case 'http':
      return openHttpHost(job.options)
    case 'postgres':
      return openPostgresHost(job.options)
    case 'kafka':
      return openKafkaHost(job.options)
    case 'pulsar':
      return openPulsarHost(job.options)
    case 'sqs':
      return openSqsHost(job.options)
    case 'valkey':
      return openValkeyHost(job.options)
  }
}
