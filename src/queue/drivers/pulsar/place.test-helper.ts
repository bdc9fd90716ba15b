/** Places for queues on Pulsar in tests: topics with a prefix each on one real broker, which can be killed and started again. */
import type { Broker } from '../../../../test/brokers.ts'
import type { QueuePlace } from '../../conformance.ts'
import { openPulsarQueues } from '../pulsar.ts'

/** Makes places on a broker. */
export function pulsarPlaces(broker: () => Broker): (messagesMax: number) => Promise<QueuePlace> {
  let places = 0
  return async (messagesMax) => {
    const url = `http://127.0.0.1:${broker().port}`
    const options = { url, prefix: `p${(places += 1)}.`, syncsEach: true, messagesMax }
    return {
      open: (own = {}) => openPulsarQueues({ ...own, ...options }),
      elsewhere: { module: import.meta.resolve('../pulsar.ts'), name: 'openPulsarQueues', options },
      async restart() {
        await broker().kill()
        await broker().start()
      },
      async [Symbol.asyncDispose]() {},
    }
  }
}
