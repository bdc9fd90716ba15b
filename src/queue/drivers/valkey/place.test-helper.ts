/** Places for queues on Valkey in tests: names with a prefix each on one real server, which can be killed and started again. */
import type { Broker } from '../../../../test/brokers.ts'
import type { QueuePlace } from '../../conformance.ts'
import { openValkeyQueues } from '../valkey.ts'

/** Makes places on a broker. */
export function valkeyPlaces(broker: () => Broker): (messagesMax: number) => Promise<QueuePlace> {
  let places = 0
  return async (messagesMax) => {
    const url = `valkey://:secret@127.0.0.1:${broker().port}`
    const options = { url, prefix: `p${(places += 1)}.`, messagesMax }
    return {
      open: (own = {}) => openValkeyQueues({ ...own, ...options }),
      elsewhere: { module: import.meta.resolve('../valkey.ts'), name: 'openValkeyQueues', options },
      async restart() {
        await broker().kill()
        await broker().start()
      },
      async [Symbol.asyncDispose]() {},
    }
  }
}
