/** Places for queues on RabbitMQ in tests: names with a prefix each on one real server, which can be killed and started again. */
import type { Broker } from '../../../../test/brokers.ts'
import type { QueuePlace } from '../../conformance.ts'
import { openAmqpQueues } from '../amqp.ts'

/** Makes places on a broker. */
export function amqpPlaces(broker: () => Broker): (messagesMax: number) => Promise<QueuePlace> {
  let places = 0
  return async (messagesMax) => {
    const url = `amqp://guest:guest@127.0.0.1:${broker().port}/`
    const options = { url, prefix: `p${(places += 1)}.`, messagesMax }
    return {
      open: (own = {}) => openAmqpQueues({ ...own, ...options }),
      elsewhere: { module: import.meta.resolve('../amqp.ts'), name: 'openAmqpQueues', options },
      async restart() {
        await broker().kill()
        await broker().start()
      },
      async [Symbol.asyncDispose]() {},
    }
  }
}
