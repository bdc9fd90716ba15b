/** The face of `queue`: queues behind one interface, what each driver can and cannot do, and the drivers. */
export { Queues, queuesOn } from './queues.ts'
export type { DeclareOptions, QueuesOptions, RequestOptions } from './queues.ts'
export { Queue } from './queue.ts'
export type { DeadLetters, Item, ItemResult, ReceiveOptions, Sent } from './queue.ts'
export type { SendOptions } from './queue-core.ts'
export { Message } from './message.ts'
export { Consumer } from './consumer.ts'
export type { ConsumeOptions, Drained, Handler } from './consumer.ts'
export type { QueueEvent, QueueMetrics } from './metrics.ts'
export type { Trace } from './trace.ts'
export { bytesCodec as bytes, jsonCodec as json, schemaCodec as typed } from './codec.ts'
export type { Codec, StandardSchema } from './codec.ts'
export { Relay } from './outbox.ts'
export type { Carried, OutboxTable, Prepared, Waiting } from './outbox.ts'
export { PostgresInbox, PostgresOutbox } from './outbox-postgres.ts'
export { SqliteInbox, SqliteOutbox } from './outbox-sqlite.ts'
export { defaultRetry } from './retry.ts'
export type { RetryPolicy } from './retry.ts'
export { capabilityNames, emulated, native, promises, refused } from './capability.ts'
export type { Capabilities, Capability, Support } from './capability.ts'
export {
  batchBytesMax,
  batchMax,
  bodyBytesMax,
  causeMax,
  concurrencyMax,
  dedupMsMax,
  delayMsMax,
  headerBytesMax,
  headersMax,
  keyBytesMax,
  leaseMsMax,
  nameBytesMax,
  priorityMax,
  waitMsMax,
} from './limits.ts'
export type { DriverLimits } from './limits.ts'
export type {
  Body,
  Counts,
  Decision,
  Durability,
  Held,
  Outgoing,
  QueueDriver,
  Seen,
  SendOutcome,
  SettleOutcome,
  Settlement,
  Shelf,
  Want,
} from './driver.ts'
export { openMemoryQueues } from './drivers/memory.ts'
export type { MemoryQueuesOptions } from './drivers/memory.ts'
export { openEmbeddedQueues } from './drivers/embedded.ts'
export type { EmbeddedNative, EmbeddedQueuesOptions } from './drivers/embedded.ts'
export { openHttpQueues } from './drivers/http.ts'
export type { HttpNative, HttpQueuesOptions } from './drivers/http.ts'
export { openPostgresQueues } from './drivers/postgres.ts'
export type { PostgresNative, PostgresQueuesOptions } from './drivers/postgres.ts'
export { openBeanstalkdQueues } from './drivers/beanstalkd.ts'
export type { BeanstalkdNative, BeanstalkdQueuesOptions } from './drivers/beanstalkd.ts'
export { openAmqpQueues } from './drivers/amqp.ts'
export type { AmqpNative, AmqpQueuesOptions } from './drivers/amqp.ts'
export { queueAnswers } from './resource-orders.ts'
export type { Letter, QueueOrder, Standing } from './resource-orders.ts'
export { openSqsQueues } from './drivers/sqs.ts'
export type { SqsNative, SqsQueuesOptions } from './drivers/sqs.ts'
export { openKafkaQueues } from './drivers/kafka.ts'
export type { KafkaNative, KafkaQueuesOptions } from './drivers/kafka.ts'
export { openPulsarQueues } from './drivers/pulsar.ts'
export type { PulsarNative, PulsarQueuesOptions } from './drivers/pulsar.ts'
export { openNatsQueues } from './drivers/nats.ts'
export type { NatsNative, NatsQueuesOptions } from './drivers/nats.ts'
export type { NatsNames } from './drivers/nats/names.ts'
export { openValkeyQueues } from './drivers/valkey.ts'
export type { ValkeyNative, ValkeyQueuesOptions } from './drivers/valkey.ts'
export type { ValkeyTarget } from './drivers/valkey/names.ts'
export { queuePort, queueProvider } from './resource.ts'
export type { QueueProviderOptions } from './resource.ts'
