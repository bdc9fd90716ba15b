/**
 * A message that is held. It is settled once: by `ack`, `retry` or `reject`, or by the consumer when the handler returns or
 * throws. A settlement that comes after the lease throws `queue.lease-lost`, never succeeds.
 */
import type { SteadError } from '../base/index.ts'
import type { Decision, Held, SettleOutcome, Settlement } from './driver.ts'
import { failure, leaseLost } from './errors.ts'
import type { Told } from './gather.ts'
import { causeMax, checkNumber, leaseMsMax } from './limits.ts'
import type { Tally } from './metrics.ts'
import { answered, stepOf, told } from './settle.ts'
import type { Standing } from './settle.ts'
import { traceOf } from './trace.ts'
import type { Trace } from './trace.ts'

/** What a message needs from its queue. */
export interface MessageContext {
  readonly queue: string
  readonly delayMsMax: number
  readonly tally: Tally
  settle(settlement: Settlement, told: Told<SettleOutcome>): void
}

/** A cause as a dead message keeps it. */
export function causeOf(text: string): string {
  return text.toWellFormed().slice(0, causeMax)
}

/** Hears how a settlement has ended: null when it is done. */
type Over = (error: unknown) => void

export class Message<T> {
  /** The sender's id of the message; the same in every delivery, and in the dead letters. */
  readonly id: string
  readonly value: T
  readonly key: string | null
  readonly priority: number
  readonly headers: Readonly<Record<string, string>>
  /** This delivery's number, 1 for the first. */
  readonly attempt: number
  readonly sentAtMs: number
  /** Names this holding towards the driver; void after the lease. */
  readonly receipt: string
  readonly #context: MessageContext
  #standing: Standing = { kind: 'held' }
  /** Those who decided the same while it was under way. */
  #joined: Over[] | undefined
  #ending: AbortController | undefined
  #endedWith: SteadError | undefined

  constructor(held: Held, value: T, context: MessageContext) {
    this.id = held.id
    this.value = value
    this.key = held.key
    this.priority = held.priority
    this.headers = held.headers
    this.attempt = held.attempt
    this.sentAtMs = held.sentAtMs
    this.receipt = held.receipt
    this.#context = context
  }

  /** The trace context that the sender gave, or null. */
  get trace(): Trace | null {
    return traceOf(this.headers)
  }

  /** Aborts when the message is no longer ours: its lease was lost, the handler's time is over, or the consumer lets go. */
  get signal(): AbortSignal {
    this.#ending ??= new AbortController()
    if (this.#endedWith !== undefined) this.#ending.abort(this.#endedWith)
    return this.#ending.signal
  }

  /** Whether somebody has settled it, or is about to. */
  get settled(): boolean {
    return this.#standing.kind !== 'held'
  }

  /** Done: the message is gone. Doing it twice is no error. */
  ack(): Promise<void> {
    return this.#settle({ kind: 'ack' })
  }

  /** Give it back, to be delivered again after `delayMs` (at once). `countAsFailure` (true) counts it as an attempt. */
  async retry(options: { readonly delayMs?: number; readonly countAsFailure?: boolean } = {}): Promise<void> {
    const { delayMs = 0, countAsFailure = true } = options
    checkNumber('delayMs', delayMs, 0, this.#context.delayMsMax)
    return this.#settle({ kind: 'retry', delayMs, countAsFailure })
  }

  /** Never again: it goes to the dead letters, with the cause. */
  reject(cause: string): Promise<void> {
    return this.#settle({ kind: 'reject', cause: causeOf(cause) })
  }

  /** Makes the lease last `leaseMs` from now. */
  async extend(leaseMs: number): Promise<void> {
    checkNumber('leaseMs', leaseMs, 1, leaseMsMax)
    return this.#settle({ kind: 'extend', leaseMs })
  }

  /** The consumer lets go: `signal` aborts. */
  end(error: SteadError): void {
    this.#endedWith ??= error
    this.#ending?.abort(this.#endedWith)
  }

  /** Settles a message that is held, as its consumer does for many at once: `over` hears how it ended, and no promise is made. */
  finish(decision: Decision, over: Over): void {
    this.#standing = told(this.#standing, decision.kind)
    this.#context.settle(
      { receipt: this.receipt, decision },
      {
        resolve: (outcome) => this.#answered(decision, outcome, over),
        reject: (error) => {
          this.#standing = answered(this.#standing, decision.kind, 'error')
          this.#over(decision, error, over)
        },
      },
    )
  }

  #settle(decision: Decision): Promise<void> {
    const step = stepOf(this.#standing, decision.kind)
    if (step === 'nothing') return Promise.resolve()
    if (step === 'lease-lost') return Promise.reject(leaseLost(this.#context.queue))
    if (step === 'already-settled') {
      const message = `a message of the queue ${this.#context.queue} is settled already and cannot be settled by ${decision.kind}`
      return Promise.reject(failure('already-settled', message, 'Settle each message once.'))
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const over: Over = (error) => (error === null ? resolve() : reject(error))
    if (step === 'join') (this.#joined ??= []).push(over)
    else this.finish(decision, over)
    return promise
  }

  #answered(decision: Decision, outcome: SettleOutcome, over: Over): void {
    const answer = typeof outcome === 'string' ? outcome : 'error'
    this.#standing = answered(this.#standing, decision.kind, answer)
    if (outcome === 'done') {
      this.#count(decision.kind)
      return this.#over(decision, null, over)
    }
    if (outcome !== 'lost') return this.#over(decision, outcome.error, over)
    this.#context.tally.leaseLost += 1
    const error = leaseLost(this.#context.queue)
    this.end(error)
    this.#over(decision, error, over)
  }

  #over(decision: Decision, error: unknown, over: Over): void {
    over(error)
    if (decision.kind === 'extend' || this.#joined === undefined) return
    for (const joined of this.#joined.splice(0)) joined(error)
  }

  #count(kind: Decision['kind']): void {
    const { tally } = this.#context
    if (kind === 'ack') tally.acked += 1
    if (kind === 'retry') tally.retried += 1
    if (kind === 'reject') tally.rejected += 1
  }
}
