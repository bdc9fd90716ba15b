/** Which driver a thread opens, as data that can be handed to it; and how it opens it. */
import type { QueueDriver } from '../../driver.ts'
import type { AmqpHostOptions } from '../amqp/host.ts'
import type { BeanstalkdHostOptions } from '../beanstalkd/host.ts'
import type { EmbeddedFileOptions } from '../embedded/host.ts'
import type { KafkaHostOptions } from '../kafka/host.ts'
import type { NatsHostOptions } from '../nats/host.ts'
import type { HttpHostOptions } from '../http/host.ts'
import type { PulsarHostOptions } from '../pulsar/host.ts'
import type { PostgresHostOptions } from '../postgres/host.ts'
import type { SqsHostOptions } from '../sqs/host.ts'
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

/** Opens the driver of a job. Its code is loaded then: that of all of them would cost each thread a dozen megabytes. */
export async function openJob(job: ThreadJob): Promise<QueueDriver> {
  switch (job.driver) {
    case 'embedded':
      return (await import('../embedded/host.ts')).openEmbeddedHost(job.options)
    case 'amqp':
      return (await import('../amqp/host.ts')).openAmqpHost(job.options)
    case 'beanstalkd':
      return (await import('../beanstalkd/host.ts')).openBeanstalkdHost(job.options)
    case 'nats':
      return (await import('../nats/host.ts')).openNatsHost(job.options)
    case 'http':
      return (await import('../http/host.ts')).openHttpHost(job.options)
    case 'postgres':
      return (await import('../postgres/host.ts')).openPostgresHost(job.options)
    case 'kafka':
      return (await import('../kafka/host.ts')).openKafkaHost(job.options)
    case 'pulsar':
      return (await import('../pulsar/host.ts')).openPulsarHost(job.options)
    case 'sqs':
      return (await import('../sqs/host.ts')).openSqsHost(job.options)
    case 'valkey':
      return (await import('../valkey/host.ts')).openValkeyHost(job.options)
  }
}
