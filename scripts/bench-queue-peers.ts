/**
 * The embedded queues, each send on the disk, beside what people use in their place: BullMQ on a local Valkey (syncing each write,
 * and once a second), and Graphile Worker on a local PostgreSQL. The same bodies of 256 bytes, as many sends in flight, as many
 * handlers at once. The others are fetched from npm into the cache, once, and are no dependencies. Prints a table; decides nothing.
 */
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json, openEmbeddedQueues } from '../src/queue/index.ts'
import { Broker, needsBroker, valkey, valkeyEverysec } from '../test/brokers.ts'
import type { BrokerKind } from '../test/brokers.ts'
import { cached, fetching, run } from '../test/fetch.ts'
import { needsPostgres, PostgresServer } from '../test/postgres-server.ts'
import { body, inFlight, measure, processed, sends, shown } from './bench-queue-measure.ts'
import type { Rate } from './bench-queue-measure.ts'

const callers = 500
const atOnce = 100
const count = 5000

/** The parts of the others that are used. */
interface BullMq {
  readonly Queue: new (
    name: string,
    options: object,
  ) => { add(name: string, data: unknown, options: object): Promise<unknown>; close(): Promise<void> }
  readonly Worker: new (
    name: string,
    handle: () => Promise<void>,
    options: object,
  ) => { on(event: 'completed', hear: () => void): void; close(): Promise<void> }
}
interface Graphile {
  readonly makeWorkerUtils: (options: object) => Promise<{
    migrate(): Promise<void>
    addJob(task: string, payload: object): Promise<unknown>
    release(): Promise<void>
  }>
  readonly run: (options: object) => Promise<{ stop(): Promise<void> }>
  readonly Logger: new (factory: () => () => void) => object
}

const packages = ['bullmq@6.7.0', 'graphile-worker@0.18.0', 'ioredis@5.8.2']
const folder = cached('queue-peers-1')

/** The modules of the others, fetched when they are not there. */
function fetched(): NodeJS.Require {
  if (!existsSync(folder)) {
    fetching((dir) => {
      writeFileSync(join(dir, 'package.json'), '{"private":true}')
      const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', '--save-exact']
      run(dir, 'npm', ...args, ...packages)
      renameSync(dir, folder)
    })
  }
  return createRequire(join(folder, 'package.json'))
}

interface Result {
  readonly send: Rate
  readonly process: Rate
}

async function embedded(): Promise<Result> {
  const dir = mkdtempSync(join(tmpdir(), 'stead-bench-queue-'))
  try {
    await using queues = await openEmbeddedQueues({ path: join(dir, 'queues.db') })
    const queue = await queues.declare('bench', json)
    return {
      send: await sends(queue, callers, 4 * count),
      process: await processed(queue, 1, 4 * count, atOnce),
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

async function bullMq(kind: BrokerKind, require: NodeJS.Require): Promise<Result> {
  const { Queue, Worker } = require('bullmq') as BullMq
  await using broker = await Broker.start(kind)
  const connection = { host: '127.0.0.1', port: broker.port, password: 'secret', maxRetriesPerRequest: null }
  const queue = new Queue('bench', { connection })
  const options = { removeOnComplete: true }
  const send = await measure(count, () => inFlight(count, callers, () => queue.add('job', { body }, options)))
  let left = count
  const { promise, resolve } = Promise.withResolvers<void>()
  const process = await measure(count, async () => {
    const worker = new Worker('bench', async () => {}, { connection, concurrency: atOnce })
    worker.on('completed', () => void ((left -= 1) === 0 && resolve()))
    await promise
    await worker.close()
  })
  await queue.close()
  return { send, process }
}

async function graphile(require: NodeJS.Require): Promise<Result> {
  const { makeWorkerUtils, run, Logger } = require('graphile-worker') as Graphile
  await using server = await PostgresServer.start()
  const logger = new Logger(() => () => {})
  const utils = await makeWorkerUtils({ connectionString: server.url, maxPoolSize: 20, logger })
  await utils.migrate()
  const send = await measure(count, () => inFlight(count, callers, () => utils.addJob('job', { body })))
  let left = count
  const { promise, resolve } = Promise.withResolvers<void>()
  const job = async (): Promise<void> => void ((left -= 1) === 0 && resolve())
  const process = await measure(count, async () => {
    const options = {
      connectionString: server.url,
      concurrency: atOnce,
      maxPoolSize: 20,
      noHandleSignals: true,
      logger,
    }
    const runner = await run({ ...options, taskList: { job } })
    await promise
    await runner.stop()
  })
  await utils.release()
  return { send, process }
}

function line(name: string, { send, process: taken }: Result): string {
  const of = ({ perSecond, cpuMicroseconds }: Rate): string =>
    `${shown(perSecond).padStart(10)} ${cpuMicroseconds.toFixed(1).padStart(6)} µs CPU`
  return `${name.padEnd(40)} sent ${of(send)}   processed ${of(taken)}\n`
}

process.stdout.write(`${callers} sends in flight, ${atOnce} handlers at once\n`)
process.stdout.write(line('embedded, synchronous=FULL', await embedded()))
try {
  const require = fetched()
  for (const [name, kind] of [
    ['BullMQ 6.7, Valkey syncing each write', valkey],
    ['BullMQ 6.7, Valkey syncing every second', valkeyEverysec],
  ] as const) {
    const without = needsBroker(kind)
    process.stdout.write(without === false ? line(name, await bullMq(kind, require)) : `${name}: ${without}\n`)
  }
  const withoutPostgres = needsPostgres()
  process.stdout.write(
    withoutPostgres === false
      ? line('Graphile Worker 0.18, PostgreSQL', await graphile(require))
      : `Graphile Worker: ${withoutPostgres}\n`,
  )
} catch (error) {
  process.stdout.write(`the others: ${error instanceof Error ? error.message : String(error)}\n`)
}
