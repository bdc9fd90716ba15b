/** What a queue tells about itself, as metrics: what its server counts, and what is in it. Pure. */
import type { Metric } from '../provider/index.ts'
import type { Wire } from './drivers/http/wire.ts'

/** One metric: its name, meaning, and the key that the server has it under. */
type Definition = readonly [name: string, help: string, key: string]

const counters: readonly Definition[] = [
  ['queue_sent_total', 'Messages accepted.', 'sent'],
  ['queue_duplicates_total', 'Messages that were there already, by their key.', 'duplicates'],
  ['queue_delivered_total', 'Deliveries to consumers.', 'delivered'],
  ['queue_acked_total', 'Messages that were done.', 'acked'],
  ['queue_retried_total', 'Messages given back.', 'retried'],
  ['queue_rejected_total', 'Messages that became dead letters.', 'rejected'],
  ['queue_lost_leases_total', 'Settlements that came after the lease.', 'lost'],
]

const gauges: readonly Definition[] = [
  ['queue_connections', 'Open connections of consumers.', 'connections'],
  ['queue_receivers', 'Receivers that wait for messages.', 'receivers'],
  ['queue_file_bytes', 'Size of the file in use.', 'fileBytes'],
]

const depths: readonly Definition[] = [
  ['queue_ready', 'Messages that wait.', 'ready'],
  ['queue_delayed', 'Messages whose delay is not over.', 'delayed'],
  ['queue_held', 'Messages that consumers hold.', 'held'],
  ['queue_dead', 'Dead letters.', 'dead'],
  ['queue_paused', 'Queues that hand out nothing until they are resumed.', 'paused'],
]

/** All metrics of one resource: `totals` of its server, and what stands in each of its queues. */
export function standingMetrics(totals: Wire, queues: readonly Wire[]): readonly Metric[] {
  const sum = (key: string): number => queues.reduce((all, queue) => all + Number(queue[key] ?? 0), 0)
  const oldestMs = Math.max(0, ...queues.map((queue) => Number(queue['oldestAgeMs'] ?? 0)))
  const made =
    (kind: Metric['kind'], value: (key: string) => number) =>
    ([name, help, key]: Definition): Metric => ({ name, kind, help, value: value(key) })
  return [
    ...depths.map(made('gauge', sum)),
    {
      name: 'queue_oldest_seconds',
      kind: 'gauge',
      help: 'Age of the oldest message that waits.',
      value: oldestMs / 1000,
    },
    ...counters.map(made('counter', (key) => Number(totals[key] ?? 0))),
    ...gauges.map(made('gauge', (key) => Number(totals[key] ?? 0))),
  ]
}
