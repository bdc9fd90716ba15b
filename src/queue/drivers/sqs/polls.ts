/**
 * Takes messages from SQS. A request that waits is never cut off: what its answer brings would be hidden for a whole lease; it is given
 * back when nobody waits for it any more. On a FIFO queue each request takes one message: of several, the server would give the
 * second of a group before the first is settled.
 */
import type { Clock } from '../../../base/index.ts'
import type { Want } from '../../driver.ts'
import { leaseMsMax } from '../../limits.ts'
import type { SqsBatches } from './batches.ts'
import type { SqsClient } from './client.ts'
import { attributeName } from './message.ts'
import type { SqsReceived } from './message.ts'

/**
 * How much later a lease ends at the server than here. On a FIFO queue order hangs on it: as long as the group is locked there, a
 * process that was held up for so long starts nothing that somebody else has already gone beyond.
 */
const standardMarginMs = 1000
const fifoMarginMs = 5000
/** Messages of one request, and requests at once for one receive. */
const receiveMax = 10
const requestsMax = 10

export interface SqsPollOptions {
  readonly client: SqsClient
  readonly batches: SqsBatches
  readonly fifo: boolean
  /** How long one request waits at most. */
  readonly pollSeconds: number
  readonly clock: Clock
}

export class SqsPolls {
  readonly marginMs: number
  readonly #options: SqsPollOptions
  /** Requests that wait for messages, and what is given back of them. */
  readonly #waiting = new Set<Promise<unknown>>()

  constructor(options: SqsPollOptions) {
    this.#options = options
    this.marginMs = options.fifo ? fifoMarginMs : standardMarginMs
  }

  /** Messages as soon as there are some; none when the wait or the signal ends it. */
  async receive(url: string, want: Want, signal: AbortSignal): Promise<readonly SqsReceived[]> {
    const { clock, pollSeconds } = this.#options
    const untilMs = clock.monotonicMs() + want.waitMs
    for (;;) {
      if (signal.aborted) return []
      const waitMs = Math.max(0, untilMs - clock.monotonicMs())
      const seconds = Math.min(pollSeconds, Math.ceil(waitMs / 1000))
      const received = await this.#unlessAborted(url, this.take(url, want, seconds), signal)
      if (received.length > 0 || clock.monotonicMs() >= untilMs) return received
    }
  }

  /** What a poll brings; when nobody waits for it any more, it is given back. */
  async #unlessAborted(
    url: string,
    poll: Promise<readonly SqsReceived[]>,
    signal: AbortSignal,
  ): Promise<readonly SqsReceived[]> {
    const stopped = Promise.withResolvers<null>()
    const stop = (): void => stopped.resolve(null)
    signal.addEventListener('abort', stop, { once: true })
    this.#waiting.add(poll)
    try {
      const first = await Promise.race([poll, stopped.promise])
      if (first !== null) return first
      const givenBack = poll.then((received) => this.hide(url, received, 0)).catch(() => {})
      this.#waiting.add(givenBack)
      void givenBack.finally(() => this.#waiting.delete(givenBack))
      return []
    } finally {
      signal.removeEventListener('abort', stop)
      poll.catch(() => {}).finally(() => this.#waiting.delete(poll))
    }
  }

  /** Waits with one request; when that brings as much as one can, asks for the rest with several at once. */
  async take(url: string, want: Pick<Want, 'max' | 'leaseMs'>, seconds: number): Promise<readonly SqsReceived[]> {
    const leaseMs = Math.min(want.leaseMs + this.marginMs, leaseMsMax)
    const each = this.#options.fifo ? 1 : receiveMax
    const all = [...(await this.#ask(url, Math.min(want.max, each), leaseMs, seconds))]
    for (let full = all.length === each; full && all.length < want.max;) {
      const requests = Math.min(requestsMax, Math.ceil((want.max - all.length) / each))
      const sizes = Array.from({ length: requests }, (_, index) => Math.min(each, want.max - all.length - index * each))
      const more = await Promise.allSettled(sizes.map((size) => this.#ask(url, size, leaseMs, 0)))
      // One that failed has brought nothing; what the others brought is held.
      const brought = more.flatMap((result) => (result.status === 'fulfilled' ? result.value : []))
      full = brought.length === sizes.reduce((sum, size) => sum + size, 0)
      all.push(...brought)
    }
    return all
  }

  async #ask(url: string, max: number, leaseMs: number, seconds: number): Promise<readonly SqsReceived[]> {
    const input = {
      QueueUrl: url,
      MaxNumberOfMessages: max,
      VisibilityTimeout: Math.ceil(leaseMs / 1000),
      WaitTimeSeconds: seconds,
      AttributeNames: ['All'],
      MessageSystemAttributeNames: ['All'],
      MessageAttributeNames: [attributeName],
    }
    const answer = await this.#options.client.call<{ readonly Messages?: readonly SqsReceived[] }>(
      'ReceiveMessage',
      input,
      seconds * 1000,
    )
    return answer.Messages ?? []
  }

  /** Ends their leases after so many seconds. */
  async hide(url: string, received: readonly SqsReceived[], seconds: number): Promise<void> {
    const entries = received.map(({ ReceiptHandle }) => ({ url, entry: { ReceiptHandle, VisibilityTimeout: seconds } }))
    await this.#options.batches.each('ChangeMessageVisibilityBatch', entries)
  }

  /** Resolves when no request waits any more. */
  async idle(): Promise<void> {
    while (this.#waiting.size > 0) await Promise.allSettled(this.#waiting)
  }
}
