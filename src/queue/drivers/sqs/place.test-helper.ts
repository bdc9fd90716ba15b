/** Places for queues on SQS in tests: names with a prefix each on one emulator. What it keeps is said for it: it plays AWS, which keeps. */
import type { Broker } from '../../../../test/brokers.ts'
import type { QueuePlace } from '../../conformance.ts'
import { openSqsQueues } from '../sqs.ts'
import type { SqsQueuesOptions } from '../sqs.ts'

/** How an emulator is reached. */
export function sqsOptions(broker: Broker): SqsQueuesOptions & { readonly endpoint: string } {
  return {
    endpoint: `http://127.0.0.1:${broker.port}`,
    region: 'eu-central-1',
    accessKeyId: 'AKIDTEST',
    secretAccessKey: 'secret',
    durability: 'replicated',
    pollSeconds: 1,
  }
}

/** Makes places on an emulator. `keeps`: it has its messages when it was killed and started again. */
export function sqsPlaces(
  broker: () => Broker,
  kind: { readonly fifo: boolean; readonly messageBytesMax: number; readonly keeps: boolean },
): () => Promise<QueuePlace> {
  let places = 0
  return async () => {
    const { fifo, messageBytesMax } = kind
    const { endpoint, region, accessKeyId, secretAccessKey, durability = 'memory' } = sqsOptions(broker())
    const reached = { endpoint, region, accessKeyId, secretAccessKey, durability, pollSeconds: 1 }
    const options = { ...reached, fifo, messageBytesMax, prefix: `p${(places += 1)}-${process.pid}.` }
    return {
      open: (own = {}) => openSqsQueues({ ...own, ...options }),
      elsewhere: { module: import.meta.resolve('../sqs.ts'), name: 'openSqsQueues', options },
      restart: kind.keeps
        ? async (): Promise<void> => {
            await broker().kill()
            await broker().start()
          }
        : null,
      async [Symbol.asyncDispose]() {},
    }
  }
}
