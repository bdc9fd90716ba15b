/**
 * A message that is held. It is settled once: by `ack`, `retry` or `reject`, or by the consumer when the handler returns or
 * throws. A settlement that comes after the lease throws `queue.lease-lost`, never succeeds.
 */
import { assert, isSteadError } from '../base/index.ts'
import type { SteadError } from '../base/index.ts'
import type { Decision, Held, SettleOutcome, Settlement } from './driver.ts'
import { failure, leaseLost } from './errors.ts'
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
  settle(settlement: Settlement): Promise<SettleOutcome>
}

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
  #underWay: Promise<void> = Promise.resolve()
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
    return this.#settle({ kind: 'reject', cause: cause.toWellFormed().slice(0, causeMax) })
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

  #settle(decision: Decision): Promise<void> {
    const step = stepOf(this.#standing, decision.kind)
    if (step === 'nothing') return Promise.resolve()
    if (step === 'join') return this.#underWay
    if (step === 'lease-lost') return Promise.reject(leaseLost(this.#context.queue))
    if (step === 'already-settled') {
      const message = `a message of the queue ${this.#context.queue} is settled already and cannot be settled by ${decision.kind}`
      return Promise.reject(failure('already-settled', message, 'Settle each message once.'))
    }
    const telling = this.#tell(decision)
    if (decision.kind !== 'extend') this.#underWay = telling
    return telling
  }

  async #tell(decision: Decision): Promise<void> {
    this.#standing = told(this.#standing, decision.kind)
    let outcome: SettleOutcome
    try {
      outcome = await this.#context.settle({ receipt: this.receipt, decision })
    } catch (error) {
      assert(isSteadError(error), `a driver threw ${String(error)}`)
      outcome = { error }
    }
    const answer = typeof outcome === 'string' ? outcome : 'error'
    this.#standing = answered(this.#standing, decision.kind, answer)
    if (outcome === 'done') return this.#count(decision.kind)
    if (outcome !== 'lost') throw outcome.error
    this.#context.tally.leaseLost += 1
    const error = leaseLost(this.#context.queue)
    this.end(error)
    throw error
  }

  #count(kind: Decision['kind']): void {
    const { tally } = this.#context
    if (kind === 'ack') tally.acked += 1
    if (kind === 'retry') tally.retried += 1
    if (kind === 'reject') tally.rejected += 1
  }
}
