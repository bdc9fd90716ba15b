/** Sends into one queue over one WebSocket, and hears of each message whether it is kept. Whatever breaks ends it; the next one is new. */
import type { Clock, SteadError } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import { noSuchQueue } from './link.ts'
import type { PulsarSend } from './message.ts'
import type { PulsarSocket } from './socket.ts'

/** The broker gives up after 15 s by itself. */
const answerMs = 20_000

export class PulsarSender {
  readonly #socket: PulsarSocket
  readonly #queue: string
  readonly #place: string
  readonly #clock: Clock
  readonly #waiting = new Map<string, (error: SteadError | null) => void>()
  #last = 0

  constructor(socket: PulsarSocket, queue: string, place: string, clock: Clock) {
    this.#socket = socket
    this.#queue = queue
    this.#place = place
    this.#clock = clock
    socket.listen(
      (message) => this.#answered(message),
      (error) => this.#lost(error.message),
    )
  }

  get ended(): boolean {
    return this.#socket.ended !== null
  }

  /** For each message null, or why it is not kept, or may not be. */
  async send(messages: readonly PulsarSend[]): Promise<readonly (SteadError | null)[]> {
    if (this.#socket.ended !== null) throw this.#socket.ended
    using _late = this.#clock.after(answerMs, () => this.#socket.end(`no answer within ${answerMs} ms`))
    // Awaited here: the timer is there until then.
    return await Promise.all(messages.map((message) => this.#one(message)))
  }

  #one(message: PulsarSend): Promise<SteadError | null> {
    const context = String((this.#last += 1))
    return new Promise((resolve) => {
      if (this.#socket.ended !== null) return resolve(this.#unknown(this.#socket.ended.message))
      this.#waiting.set(context, resolve)
      this.#socket.send({ ...message, context })
    })
  }

  #answered(message: unknown): void {
    if (typeof message !== 'object' || message === null || !('context' in message)) return
    const context = String(message.context)
    const said = 'errorMsg' in message ? String(message.errorMsg) : ''
    const isKept = 'result' in message && message.result === 'ok'
    this.#waiting.get(context)?.(isKept ? null : this.#refusal(said))
    this.#waiting.delete(context)
  }

  #refusal(said: string): SteadError {
    const text = `${this.#place} does not take a message to ${this.#queue}: ${said}`
    if (/NotFound|does not exist|TopicTerminated/i.test(said)) return noSuchQueue(this.#queue)
    if (/Quota|BlockedQuota|QueueIsFull/i.test(said)) return failure('full', text, 'Send again later.')
    if (/InvalidMessage|size/i.test(said)) return failure('rejected', text, 'Look at maxMessageSize of the broker.')
    if (/NotAllowed|Authoriz|Authentic/i.test(said)) return failure('not-authorized', text, 'Look at the rights.')
    return this.#unknown(said)
  }

  #unknown(said: string): SteadError {
    const text = `${this.#place} did not answer for a message to ${this.#queue}: ${said}`
    return failure('outcome-unknown', text, 'The message may be there.')
  }

  #lost(said: string): void {
    for (const resolve of this.#waiting.values()) resolve(this.#unknown(said))
    this.#waiting.clear()
  }

  close(): void {
    this.#socket.end('closed')
  }
}
