/**
 * What a consumer holds of memory while it works through a large backlog: a million messages of 256 bytes in the embedded queues, a
 * hundred thousand on servers; by itself in a process, one after another and in batches. Prints the most that was resident; decides
 * nothing. Names of drivers as arguments choose, embedded by default. Run from source as it is here, Node's stripping of types is
 * resident, too: 60 to 130 MB more than the compiled package takes.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
import { beanstalkd, Broker, kafka, nats, needsBroker, rabbitmq4, valkeyEverysec } from '../test/brokers.ts'
import type { BrokerKind } from '../test/brokers.ts'
import { needsPostgres, PostgresServer } from '../test/postgres-server.ts'
import { body, shown } from './bench-queue-measure.ts'

const [role, ...words] = process.argv.slice(2)

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
const brokers: Readonly<Record<string, BrokerKind>> = {
  valkey: valkeyEverysec,
  kafka,
  amqp: rabbitmq4,
  nats,
  beanstalkd,
}

async function consume([name = '', at = '', count = '', batch = '']: readonly string[]): Promise<void> {
  const queues = await openings[name]?.(at)
  if (queues === undefined) throw new Error(`no driver ${name}`)
  const queue = await queues.declare('bench', json)
  const size = Number(batch)
  const startMs = performance.now()
  const consumer = size === 1 ? queue.consume(() => {}) : queue.consumeBatch(() => {}, { sizeMax: size })
  while (queue.metrics().acked < Number(count)) await new Promise((resolve) => void setTimeout(resolve, 20))
  const perSecond = (Number(count) * 1000) / (performance.now() - startMs)
  await consumer.drain()
  await queues.close()
  const mostMb = process.resourceUsage().maxRSS / 1024
  const way = size === 1 ? 'one by one, 10 at once' : `in batches of ${size}`
  process.stdout.write(
    `${name.padEnd(10)} ${way.padEnd(24)} ${mostMb.toFixed(0).padStart(4)} MB resident at most [goal: 150], ${shown(perSecond)}\n`,
  )
}

async function measured(name: string, at: string, count: number): Promise<void> {
  for (const batch of [1, 1000]) {
    {
      const queues = await openings[name]?.(at)
      if (queues === undefined) throw new Error(`no driver ${name}`)
      await using _open = queues
      const queue = await queues.declare('bench', json)
      const items = Array.from({ length: 1000 }, () => ({ value: body }))
      for (let sent = 0; sent < count; sent += items.length) await queue.sendMany(items)
    }
    const args = ['--disable-warning=ExperimentalWarning', import.meta.filename, 'consume', name, at]
    const child = spawn(process.execPath, [...args, String(count), String(batch)], { stdio: 'inherit' })
    await once(child, 'exit')
  }
}

if (role === 'consume') await consume(words)
else {
  const wanted = role === undefined ? ['embedded'] : [role, ...words]
  for (const name of wanted) {
    const kind = brokers[name]
    if (name === 'embedded') {
      const folder = mkdtempSync(join(tmpdir(), 'stead-bench-queue-'))
      try {
        await measured(name, join(folder, 'queues.db'), 1_000_000)
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    } else if (name === 'postgres') {
      if (needsPostgres() !== false) continue
      await using server = await PostgresServer.start()
      await measured(name, server.url, 100_000)
    } else if (kind !== undefined && needsBroker(kind) === false) {
      await using broker = await Broker.start(kind)
      await measured(name, String(broker.port), 100_000)
    }
  }
}
