/**
 * Takes messages of one queue over one WebSocket. The broker gives one for each permit, and what it has given belongs to this
 * connection until it is acknowledged or the connection ends. Permits cannot be taken back: when nobody asks any more, what
 * still comes is given back, and the connection ends as soon as nothing of it is held.
 */
import { sleep } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import type { PulsarDelivery } from './message.ts'
import type { PulsarSocket } from './socket.ts'

/** What comes together is taken together. */
const gatherMs = 5
/** The least that a receive waits: messages are under way. */
const lookMs = 300
/** How often a silent broker is asked whether it is there, and how long it may take to say so. */
const askMs = 5000
const answerMs = 10_000
const permitsMax = 1000

export class PulsarTaker {
  readonly #socket: PulsarSocket
  readonly #clock: Clock
  readonly #onAgain: (messageId: string) => void
  readonly #arrived: PulsarDelivery[] = []
  /** Handed out, and not settled. */
  readonly #held = new Set<string>()
  readonly #asked: PromiseWithResolvers<void>[] = []
  #changed = Promise.withResolvers<void>()
  #permits = 0
  #takers = 0
  #idleSinceMs: number
  #retired = false
  #leaving: Promise<void> | undefined

  /** `onAgain`: a message that is held here was given again: its first holding is void. `onEnd`: so is all that is held here. */
  constructor(socket: PulsarSocket, clock: Clock, onAgain: (messageId: string) => void, onEnd: () => void) {
    this.#socket = socket
    this.#clock = clock
    this.#onAgain = onAgain
    this.#idleSinceMs = clock.monotonicMs()
    socket.listen(
      (message) => this.#heard(message),
      (error) => {
        onEnd()
        for (const { reject } of this.#asked.splice(0)) reject(error)
        this.#wake()
      },
    )
  }

  /** It takes nothing more: a new one does. */
  get over(): boolean {
    return this.#retired || this.#socket.ended !== null
  }

  /** Up to `max` messages as soon as there are any. Throws `queue.unavailable` when the broker has gone. */
  async take(max: number, waitMs: number, signal: AbortSignal): Promise<readonly PulsarDelivery[]> {
    const untilMs = this.#clock.monotonicMs() + Math.max(waitMs, lookMs)
    this.#takers += 1
    const stop = (): void => this.#wake()
    signal.addEventListener('abort', stop, { once: true })
    try {
      for (;;) {
        if (this.#socket.ended !== null) throw this.#socket.ended
        const leftMs = untilMs - this.#clock.monotonicMs()
        if (signal.aborted || (this.#arrived.length === 0 && leftMs <= 0)) return []
        if (this.#arrived.length > 0) {
          if (this.#arrived.length < max && this.#permits > 0) await sleep(this.#clock, gatherMs)
          const taken = this.#arrived.splice(0, max)
          for (const { messageId } of taken) this.#held.add(messageId)
          if (taken.length > 0) return taken
          continue
        }
        this.#permit(Math.min(max, permitsMax) - this.#permits)
        await this.#change(Math.min(leftMs, askMs))
      }
    } finally {
      signal.removeEventListener('abort', stop)
      this.#takers -= 1
      this.#idleSinceMs = this.#clock.monotonicMs()
    }
  }

  #permit(count: number): void {
    if (count <= 0) return
    this.#permits += count
    this.#socket.send({ type: 'permit', permitMessages: count })
  }

  /** Waits for a change; after so long the broker has to say that it is there. */
  async #change(waitMs: number): Promise<void> {
    const waited = new AbortController()
    const { promise } = this.#changed
    const silent = await Promise.race([
      promise.then(() => false),
      sleep(this.#clock, waitMs, waited.signal).then(
        () => waitMs === askMs,
        () => false,
      ),
    ])
    waited.abort()
    if (silent) await this.#confirm()
  }

  acknowledge(messageId: string): void {
    this.#socket.send({ messageId })
    this.#forget(messageId)
  }

  /** Gives it to somebody else, or to us again, in about a tenth of a second. */
  giveBack(messageId: string): void {
    this.#socket.send({ type: 'negativeAcknowledge', messageId })
    this.#forget(messageId)
  }

  #forget(messageId: string): void {
    this.#held.delete(messageId)
    if (this.#retired && this.#held.size === 0) void this.#leave()
  }

  /** Resolves when the broker has heard all that was said before, on this connection. Rejects when that has ended. */
  async confirmed(): Promise<void> {
    if (this.#socket.ended !== null) throw this.#socket.ended
    await this.#confirm()
  }

  async #confirm(): Promise<void> {
    const asked = Promise.withResolvers<void>()
    this.#asked.push(asked)
    // The one question that is answered, in its turn.
    this.#socket.send({ type: 'isEndOfTopic' })
    using _late = this.#clock.after(answerMs, () => this.#socket.end(`no answer within ${answerMs} ms`))
    await asked.promise
  }

  /** Ends what nobody has asked for so long. */
  retireWhenIdle(idleMs: number): void {
    const idle = this.#takers === 0 && this.#clock.monotonicMs() - this.#idleSinceMs >= idleMs
    if (!idle || this.over || this.#permits + this.#arrived.length === 0) return
    this.#retired = true
    for (const { messageId } of this.#arrived.splice(0)) this.giveBack(messageId)
    if (this.#held.size === 0) void this.#leave()
  }

  /** Ends the connection once the broker has heard everything. What is held comes again. */
  async close(): Promise<void> {
    this.#retired = true
    await this.#leave()
  }

  #leave(): Promise<void> {
    this.#leaving ??= this.#leaveNow()
    return this.#leaving
  }

  async #leaveNow(): Promise<void> {
    try {
      // Others may have asked meanwhile, and what they asked about is not to be taken for lost.
      while (this.#socket.ended === null) {
        await this.#confirm()
        if (this.#asked.length === 0) break
      }
    } catch {
      // It has ended by itself: what was said is heard or not, and what is not heard comes again.
    }
    this.#socket.end('closed')
  }

  #heard(message: unknown): void {
    if (typeof message !== 'object' || message === null) return
    if ('endOfTopic' in message) return this.#asked.shift()?.resolve()
    if (!('messageId' in message) || typeof message.messageId !== 'string') return
    const delivery = { ...message, messageId: message.messageId } as PulsarDelivery
    this.#permits = Math.max(0, this.#permits - 1)
    if (this.#held.delete(delivery.messageId)) this.#onAgain(delivery.messageId)
    if (this.#retired) return this.#socket.send({ type: 'negativeAcknowledge', messageId: delivery.messageId })
    this.#arrived.push(delivery)
    this.#wake()
  }

  #wake(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }
}
