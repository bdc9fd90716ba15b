/**
 * Conformance: senders and consumers that are killed at random moments, for a while; then the history is judged: nothing that
 * was accepted is lost, nothing comes again more often than the kills explain, and keys keep their order where that is promised.
 */
import assert from 'node:assert/strict'
import { seededRandom, sleep, systemClock } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import { jsonCodec } from './codec.ts'
import type { QueueCase, QueuePlace } from './conformance.ts'
import { judge } from './history.ts'
import type { HistoryEvent } from './history.ts'
import { until } from './helpers.conformance.ts'
import { startWorker } from './process.conformance.ts'
import type { WorkerJob } from './worker.conformance.ts'

const concurrency = 8
const senders = 4

function eventOf([kind = '', key = '', n = '']: readonly string[]): HistoryEvent[] {
  if (kind !== 'sent' && kind !== 'started' && kind !== 'done') return []
  return [{ kind, key, n: Number(n) }]
}

async function trouble(
  place: QueuePlace,
  shared: boolean,
  ordered: boolean,
  forMs: number,
): Promise<readonly HistoryEvent[]> {
  const history: HistoryEvent[] = []
  const random = seededRandom(7)
  const job: Partial<WorkerJob> = { ordered, leaseMs: 1000 }
  const endMs = systemClock.monotonicMs() + forMs
  for (let round = 0; round < 2 || systemClock.monotonicMs() < endMs; round += 1) {
    const from = 1 + round * 1_000_000
    // Lines of several processes are read in any order; what happened first is said by the clock that they share.
    const told: { readonly event: HistoryEvent; readonly at: bigint }[] = []
    const tell = (words: readonly string[]): void => {
      for (const event of eventOf(words)) told.push({ event, at: BigInt(words.at(-1) ?? 0) })
    }
    // Where one process has the place to itself, one does both.
    const jobs = shared ? [{ senders, from }, { concurrency }, { concurrency }] : [{ senders, from, concurrency }]
    const workers = jobs.map((part) => startWorker(place, { ...job, ...part }, tell))
    try {
      await workers[0]?.said(20)
      await sleep(systemClock, ((random.bytes(1)[0] ?? 0) / 256) * 400)
    } finally {
      await Promise.all(workers.map((worker) => worker.kill()))
    }
    history.push(...told.toSorted((a, b) => (a.at < b.at ? -1 : 1)).map(({ event }) => event))
    history.push({ kind: 'trouble', inHandMax: concurrency * (shared ? 2 : 1) })
  }
  return history
}

async function rest(place: QueuePlace, history: readonly HistoryEvent[]): Promise<readonly HistoryEvent[]> {
  const all = [...history]
  const missing = new Set(all.flatMap((event) => (event.kind === 'sent' ? [`${event.key}/${event.n}`] : [])))
  for (const event of all) if (event.kind === 'started') missing.delete(`${event.key}/${event.n}`)
  await using queues = await place.open()
  const queue = await queues.declare('mail', jsonCodec, { retry: { attemptsMax: 1_000_000 } })
  const handle = (value: Json): void => {
    if (!Array.isArray(value)) return
    const [key, n] = [String(value[0]), Number(value[1])]
    all.push({ kind: 'started', key, n })
    missing.delete(`${key}/${n}`)
  }
  const consumer = queue.consume(({ value }) => handle(value), { concurrency: 200 })
  // What waits may be much: as long as something comes, it is not lost. Members that were killed can keep all from others for a while.
  for (let silent = 0; missing.size > 0 && silent < 3;) {
    const before = all.length
    await until('more came', () => missing.size === 0 || all.length > before).catch(() => {})
    silent = all.length > before ? 0 : silent + 1
  }
  await sleep(systemClock, 1500)
  await consumer.drain()
  return all
}

export const chaosCases: readonly QueueCase[] = [
  {
    name: 'processes killed at random lose nothing, and repeat no more than they held',
    needs: ['durable-send', 'lease'],
    wants: 'process',
    alone: true,
    async run(place, subject) {
      const history = await rest(place, await trouble(place, subject.shared, false, subject.chaosMs))
      assert.deepEqual(judge(history, { ordered: false }).slice(0, 5), [])
      assert.ok(history.length > 50)
    },
  },
  {
    name: 'processes killed at random do not break the order of a key',
    needs: ['durable-send', 'lease', 'ordering-key', 'order-after-retry'],
    wants: 'process',
    alone: true,
    async run(place, subject) {
      const history = await rest(place, await trouble(place, subject.shared, true, subject.chaosMs))
      assert.deepEqual(judge(history, { ordered: true }).slice(0, 5), [])
      assert.ok(history.length > 50)
    },
  },
]
