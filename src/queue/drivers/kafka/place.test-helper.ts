/** Places for queues on Kafka in tests: topics with a prefix each on one real server, which can be killed and started again. */
import type { Broker } from '../../../../test/brokers.ts'
import type { QueuePlace } from '../../conformance.ts'
import { openKafkaQueues } from '../kafka.ts'

/** Makes places on a broker. */
export function kafkaPlaces(broker: () => Broker): () => Promise<QueuePlace> {
  let places = 0
  return async () => {
    const brokers = [`127.0.0.1:${broker().port}`]
    const options = { brokers, prefix: `p${(places += 1)}.`, partitions: 4, flushEach: true }
    return {
      open: (own = {}) => openKafkaQueues({ ...own, ...options }),
      elsewhere: { module: import.meta.resolve('../kafka.ts'), name: 'openKafkaQueues', options },
      async restart() {
        await broker().kill()
        await broker().start()
      },
      async [Symbol.asyncDispose]() {},
    }
  }
}
