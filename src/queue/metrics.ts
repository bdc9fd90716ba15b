/** What one handle of a queue has done, counted where it happens; and what is worth telling while it happens. */
import type { SteadError } from '../base/index.ts'

/** Counts since the queue was declared by this handle. Each equals what really happened, as far as this side can know. */
export interface QueueMetrics {
  /** Accepted by the driver, duplicates not counted. */
  readonly sent: number
  readonly duplicates: number
  readonly sendFailed: number
  readonly received: number
  readonly acked: number
  readonly retried: number
  /** Put to the dead letters. */
  readonly rejected: number
  /** Settlements that came too late. */
  readonly leaseLost: number
  readonly handlerFailed: number
  readonly handlerTimedOut: number
  /** Arrived, and not what the schema or JSON allows. */
  readonly invalid: number
  /** Held by this handle now. */
  readonly inFlight: number
}

/** What happened that no caller waits for. */
export type QueueEvent =
  /** The handler threw, or the message could not be read; what follows is `next`. */
  | {
      readonly kind: 'failed'
      readonly queue: string
      readonly id: string
      readonly attempt: number
      readonly next: 'retry' | 'dead'
      readonly error: unknown
    }
  /** The message was not settled: the lease was over, or the server could not be reached. It comes again. */
  | { readonly kind: 'not-settled'; readonly queue: string; readonly id: string; readonly error: SteadError }
  /** The server could not be asked for messages; it is asked again after `againMs`. */
  | { readonly kind: 'not-received'; readonly queue: string; readonly error: SteadError; readonly againMs: number }

export type Tally = { -readonly [name in keyof QueueMetrics]: number }

export function emptyTally(): Tally {
  return {
    sent: 0,
    duplicates: 0,
    sendFailed: 0,
    received: 0,
    acked: 0,
    retried: 0,
    rejected: 0,
    leaseLost: 0,
    handlerFailed: 0,
    handlerTimedOut: 0,
    invalid: 0,
    inFlight: 0,
  }
}
