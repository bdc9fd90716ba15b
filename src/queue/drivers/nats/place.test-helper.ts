/** Places for queues on NATS in tests: names with a prefix each on one real server, which can be killed and started again. */
import type { Broker } from '../../../../test/brokers.ts'
import type { QueuePlace } from '../../conformance.ts'
import { openNatsQueues } from '../nats.ts'

/** Makes places on a broker. */
export function natsPlaces(broker: () => Broker): (messagesMax: number) => Promise<QueuePlace> {
  let places = 0
  return async (messagesMax) => {
    const { port, second } = broker()
    const url = `nats://stead:secret@127.0.0.1:${port}`
    const options = { url, monitor: `http://127.0.0.1:${second}`, prefix: `p${(places += 1)}.`, messagesMax }
    return {
      open: (own = {}) => openNatsQueues({ ...own, ...options }),
      elsewhere: { module: import.meta.resolve('../nats.ts'), name: 'openNatsQueues', options },
      async restart() {
        await broker().kill()
        await broker().start()
      },
      async [Symbol.asyncDispose]() {},
    }
  }
}
