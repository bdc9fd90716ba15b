/** Samples of queues from what their servers tell, pure. Invariant: a rate is never negative; a counter that starts anew gives none. */
import type { PartStatus } from '../operator/index.ts'
import type { QueueSample } from './wire.ts'

interface Totals {
  readonly sent: number
  readonly done: number
}

/** Keeps the totals of the last sample. */
export class QueueSamples {
  #totals = new Map<string, Totals>()

  /** The queues among the parts, `seconds` after the last time. */
  take(parts: readonly PartStatus[], seconds: number): Readonly<Record<string, QueueSample>> {
    const before = this.#totals
    this.#totals = new Map()
    const samples: Record<string, QueueSample> = {}
    for (const { part, metrics } of parts) {
      if (metrics?.['queue_ready'] === undefined) continue
      const of = (name: string): number => metrics[name] ?? 0
      const totals = { sent: of('queue_sent_total'), done: of('queue_acked_total') + of('queue_rejected_total') }
      const last = before.get(part)
      const rate = (now: number, then: number | undefined): number | null =>
        then === undefined || now < then ? null : (now - then) / seconds
      this.#totals.set(part, totals)
      samples[part] = {
        waiting: of('queue_ready') + of('queue_delayed'),
        dead: of('queue_dead'),
        sentPerSecond: rate(totals.sent, last?.sent),
        donePerSecond: rate(totals.done, last?.done),
      }
    }
    return samples
  }
}
