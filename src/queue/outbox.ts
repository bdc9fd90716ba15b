/**
 * The outbox: a message is written in the program's own transaction, and goes to its queue when that is committed, and only
 * then. A relay carries it; when the relay dies in the middle, the next one carries it again under the same id: it is sent at
 * least once, and never for a transaction that was rolled back. What a queue refuses for good is marked, and holds up nothing.
 */
import { assert, isSteadError, sleep } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { Outgoing, SendOutcome } from './driver.ts'
import { failure, mayPass } from './errors.ts'
import { batchMax } from './limits.ts'
import { pauseMs } from './patience.ts'

/** A message that was checked and encoded, for the queue of this name. */
export interface Prepared {
  readonly queue: string
  readonly message: Outgoing
}

/** A message that waits in a table. Positions grow in the order of writing. */
export interface Waiting {
  readonly position: number
  readonly prepared: Prepared
}

/** What became of messages that waited. */
export interface Carried {
  readonly done: readonly number[]
  readonly refused: readonly { readonly position: number; readonly why: string }[]
}

/** The table of an outbox, as a relay sees it. */
export interface OutboxTable {
  /** Hands the oldest messages to `work`, then deletes what is done and marks what was refused. Answers how many were there. */
  take(max: number, work: (waiting: readonly Waiting[]) => Promise<Carried>): Promise<number>
}

/** Sends messages to their queues; one outcome for each. */
export type Carry = (messages: readonly Prepared[]) => Promise<readonly SendOutcome[]>

/** Carries messages from an outbox to their queues until it is closed. */
export class Relay implements AsyncDisposable {
  /** Resolves when it was closed; rejects with what ended it. A queue or database that is away is waited for. */
  readonly ended: Promise<void>
  readonly #table: OutboxTable
  readonly #carry: Carry
  readonly #clock: Clock
  readonly #pollMs: number
  readonly #stop = new AbortController()
  #hint = Promise.withResolvers<void>()

  constructor(table: OutboxTable, carry: Carry, clock: Clock, pollMs: number) {
    this.#table = table
    this.#carry = carry
    this.#clock = clock
    this.#pollMs = pollMs
    this.ended = this.#run()
  }

  /** Something was committed: look now, not only when the time for it has come. */
  hint(): void {
    this.#hint.resolve()
  }

  /** Ends after what is under way. What was not carried stays in the table. */
  async close(): Promise<void> {
    this.#stop.abort()
    this.hint()
    await this.ended
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #run(): Promise<void> {
    // Waiting for what is committed is a reason to live, and timers of the clock are not.
    const alive = setInterval(() => {}, 2 ** 30)
    try {
      for (let failures = 0; !this.#stop.signal.aborted;) {
        let waitMs = this.#pollMs
        try {
          if ((await this.#table.take(batchMax, (waiting) => this.#work(waiting))) > 0) {
            failures = 0
            continue
          }
        } catch (error) {
          if (!mayPass(error)) throw error
          failures += 1
          waitMs = pauseMs(failures)
        }
        await Promise.race([this.#hint.promise, sleep(this.#clock, waitMs, this.#stop.signal).catch(() => {})])
        this.#hint = Promise.withResolvers<void>()
      }
    } finally {
      clearInterval(alive)
    }
  }

  async #work(waiting: readonly Waiting[]): Promise<Carried> {
    const outcomes = await this.#carry(waiting.map(({ prepared }) => prepared))
    const done: number[] = []
    const refused: { readonly position: number; readonly why: string }[] = []
    let passing: unknown = null
    for (const [index, { position }] of waiting.entries()) {
      const outcome = outcomes[index]
      assert(outcome !== undefined, 'no outcome for a message')
      if (outcome.ok) done.push(position)
      else if (mayPass(outcome.error)) passing = outcome.error
      else refused.push({ position, why: outcome.error.message })
    }
    if (done.length + refused.length === 0 && passing !== null) throw passing
    return { done, refused }
  }
}

/** A message as the text of a column. */
export function writePrepared({ message }: Prepared): string {
  const { body } = message
  return JSON.stringify(
    typeof body === 'string' ? message : { ...message, body: null, bytes: Buffer.from(body).toString('base64') },
  )
}

/** The message of a row. Throws when the text is not what `writePrepared` wrote. */
export function readPrepared(queue: string, text: string): Prepared {
  const { bytes, ...message }: Outgoing & { readonly bytes?: string } = JSON.parse(text)
  return { queue, message: bytes === undefined ? message : { ...message, body: Buffer.from(bytes, 'base64') } }
}

/** What a database threw, as something that may pass: the relay waits and looks again. */
export function databaseAway(error: unknown): unknown {
  if (isSteadError(error)) return error
  return failure('unavailable', 'the database of the outbox does not answer', 'See why; the relay looks again.', error)
}
