/**
 * The process that the crash and chaos cases kill: it opens queues as its argument says and does its part for ever. Each line
 * it prints tells of something that has happened already. It is written to the descriptor and waits there when the reader is
 * slow: the stream of Node would keep lines in memory, and a kill would take them along.
 */
import { writeSync } from 'node:fs'
import { argv } from 'node:process'
import { sleep, systemClock } from '../base/index.ts'
import { jsonCodec } from './codec.ts'
import type { Queue } from './queue.ts'
import type { Queues } from './queues.ts'
import type { Json } from '../base/index.ts'

/** What one process does, and how its place is opened. */
export interface WorkerJob {
  readonly module: string
  readonly name: string
  readonly options: Json
  readonly queue: string
  /** Send as many keys as `senders`, each numbered from `from`; handle with `concurrency`; hold `hold` messages for ever. */
  readonly senders: number
  readonly from: number
  readonly concurrency: number
  readonly hold: number
  readonly leaseMs: number
  /** Whether messages have ordering keys. */
  readonly ordered: boolean
}

/** The last word is when: on the clock that all processes of a machine share, in nanoseconds. */
function say(...words: readonly (string | number)[]): void {
  writeSync(1, `${words.join(' ')} ${process.hrtime.bigint()} .\n`)
}

async function send(queue: Queue<Json, Json>, job: WorkerJob, key: string): Promise<never> {
  for (let n = job.from; ;) {
    try {
      await queue.send([key, n], job.ordered ? { key } : {})
      say('sent', key, n)
      n += 1
    } catch {
      // Whether it was sent is not known; the number is not used again.
      n += 1
      await sleep(systemClock, 20)
    }
  }
}

async function main(job: WorkerJob): Promise<void> {
  // Something must keep the process alive: the clock's timers do not.
  setInterval(() => {}, 60_000)
  const module = (await import(job.module)) as Record<string, (options: unknown) => Promise<Queues>>
  const queues = await module[job.name]?.(job.options)
  if (queues === undefined) throw new Error(`${job.module} has no export ${job.name}`)
  const queue = await queues.declare(job.queue, jsonCodec, { retry: { attemptsMax: 1_000_000, firstDelayMs: 0 } })
  if (job.hold > 0) {
    for (let held = 0; held < job.hold;) {
      const messages = await queue.receive({ max: job.hold - held, waitMs: 1000, leaseMs: job.leaseMs })
      held += messages.length
      for (const { id, attempt } of messages) say('held', id, attempt)
    }
  }
  if (job.concurrency > 0) {
    queue.consume(
      async (message) => {
        const [key = '', n = 0] = Array.isArray(message.value) ? message.value : []
        say('started', String(key), Number(n))
        await message.ack()
        say('done', String(key), Number(n))
      },
      { concurrency: job.concurrency, leaseMs: job.leaseMs },
    )
  }
  await Promise.all(Array.from({ length: job.senders }, (_, index) => send(queue, job, `k${index}`)))
}

await main(JSON.parse(argv[2] ?? '{}') as WorkerJob)
