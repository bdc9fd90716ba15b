/** Places for queues on Beanstalkd in tests. Tubes belong to a server, so each place is a server of its own: it starts at once. */
import { beanstalkd, Broker } from '../../../../test/brokers.ts'
import type { QueuePlace } from '../../conformance.ts'
import { openBeanstalkdQueues } from '../beanstalkd.ts'

/** A new server with nothing in it; it ends when the place is disposed of. */
export async function makeBeanstalkdPlace(messagesMax: number): Promise<QueuePlace> {
  const broker = await Broker.start(beanstalkd)
  const options = { port: broker.port, syncsEach: true, messagesMax }
  return {
    open: (own = {}) => openBeanstalkdQueues({ ...own, ...options }),
    elsewhere: { module: import.meta.resolve('../beanstalkd.ts'), name: 'openBeanstalkdQueues', options },
    async restart() {
      await broker.kill()
      await broker.start()
    },
    [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
  }
}
