/**
 * The process that `bench-queue-memory.ts` measures: opens the queues of a driver, consumes what waits, and prints the most that was
 * resident. Arguments: the driver, where it is, how many messages, how many a handler gets at once, the line to print before.
 */
import {
  json,
  openAmqpQueues,
  openBeanstalkdQueues,
  openEmbeddedQueues,
  openKafkaQueues,
  openNatsQueues,
  openPostgresQueues,
  openValkeyQueues,
} from '../src/queue/index.ts'
import type { Queues } from '../src/queue/index.ts'

/** Opens the queues of a driver that is at `at`. */
const openings: Readonly<Record<string, (at: string) => Promise<Queues>>> = {
  embedded: (path) => openEmbeddedQueues({ path }),
  postgres: (url) => openPostgresQueues({ url }),
  valkey: (port) => openValkeyQueues({ url: `valkey://:secret@127.0.0.1:${port}` }),
  kafka: (port) => openKafkaQueues({ brokers: [`127.0.0.1:${port}`], partitions: 4 }),
  amqp: (port) => openAmqpQueues({ url: `amqp://guest:guest@127.0.0.1:${port}/` }),
  nats: (port) => openNatsQueues({ url: `nats://stead:secret@127.0.0.1:${port}` }),
  beanstalkd: (port) => openBeanstalkdQueues({ port: Number(port) }),
}

/** The queues of `name` at `at`: a path, a URL or a port. */
export function openAt(name: string, at: string): Promise<Queues> {
  const open = openings[name]
  return open === undefined ? Promise.reject(new Error(`no driver ${name}`)) : open(at)
}

async function consume([name = '', at = '', count = '', batch = '']: readonly string[]): Promise<void> {
  const queues = await openAt(name, at)
  const queue = await queues.declare('bench', json)
  const size = Number(batch)
  const startMs = performance.now()
  const consumer = size === 1 ? queue.consume(() => {}) : queue.consumeBatch(() => {}, { sizeMax: size })
  while (queue.metrics().acked < Number(count)) await new Promise((resolve) => void setTimeout(resolve, 20))
  const perSecond = Math.round((Number(count) * 1000) / (performance.now() - startMs))
  await consumer.drain()
  await queues.close()
  const mostMb = process.resourceUsage().maxRSS / 1024
  const way = size === 1 ? 'one by one, 10 at once' : `in batches of ${size}`
  process.stdout.write(
    `${name.padEnd(10)} ${way.padEnd(24)} ${mostMb.toFixed(0).padStart(4)} MB resident at most [goal: 150], ${perSecond.toLocaleString('en')}/s\n`,
  )
}

if (import.meta.main) await consume(process.argv.slice(2))
