/**
 * Request and reply over any driver: the request names a queue for its answer, which belongs to this process alone and is
 * removed at its end. An answer that comes too late is dropped; a request is delivered at least once, as every message.
 */
import { randomId } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { Codec } from './codec.ts'
import type { Body, Held, QueueDriver } from './driver.ts'
import { failure, mayPass } from './errors.ts'
import { waitMsMax } from './limits.ts'
import { pauseMs } from './patience.ts'
import { sleep } from '../base/index.ts'

export const replyToHeader = 'stead-reply-to'
export const correlationHeader = 'stead-correlation'

/** Requests of one process that may wait for their answers. */
const pendingMax = 10_000
const repliesAtOnce = 100

/** The replies of one process. Nothing is made before the first request. */
export class Replies {
  readonly #driver: QueueDriver
  readonly #clock: Clock
  readonly #name: string
  readonly #pending = new Map<string, (held: Held | Error) => void>()
  readonly #stop = new AbortController()
  #started: Promise<void> | undefined
  #ended: Promise<void> = Promise.resolve()

  constructor(driver: QueueDriver, clock: Clock, random: Random) {
    this.#driver = driver
    this.#clock = clock
    this.#name = `reply-${randomId(random, 16)}`
  }

  /** The queue to answer to; it is there when this resolves. */
  async queue(): Promise<string> {
    this.#started ??= this.#start()
    await this.#started
    return this.#name
  }

  /** The answer to the request with this id. Throws `queue.no-reply` after `timeoutMs`. */
  async answer<Out>(id: string, codec: Codec<unknown, Out>, timeoutMs: number): Promise<Out> {
    if (this.#pending.size >= pendingMax) {
      throw failure('overloaded', `${pendingMax} requests wait for their answers already`, 'Await some of them first.')
    }
    const { promise, resolve } = Promise.withResolvers<Held | Error>()
    this.#pending.set(id, resolve)
    using _late = this.#clock.after(timeoutMs, () => resolve(noReply(timeoutMs)))
    try {
      const held = await promise
      if (held instanceof Error) throw held
      return await codec.decode(held.body)
    } finally {
      this.#pending.delete(id)
    }
  }

  async close(): Promise<void> {
    if (this.#started === undefined) return
    this.#stop.abort()
    await this.#ended
    for (const resolve of this.#pending.values()) {
      resolve(failure('closed', 'the queues were closed before the answer came', 'Await requests before closing.'))
    }
    await this.#driver.remove(this.#name)
  }

  async #start(): Promise<void> {
    await this.#driver.declare(this.#name)
    this.#ended = this.#run()
  }

  async #run(): Promise<void> {
    const want = { max: repliesAtOnce, waitMs: waitMsMax, leaseMs: 30_000, keepMs: 0 }
    for (let failures = 0; !this.#stop.signal.aborted;) {
      try {
        const held = await this.#driver.receive(this.#name, want, this.#stop.signal)
        const acks = held.map(({ receipt }) => ({ receipt, decision: { kind: 'ack' } as const }))
        for (const one of held) this.#pending.get(one.headers[correlationHeader] ?? '')?.(one)
        if (acks.length > 0) await this.#driver.settle(this.#name, acks)
        failures = 0
      } catch (error) {
        if (!mayPass(error)) throw error
        failures += 1
        await sleep(this.#clock, pauseMs(failures), this.#stop.signal).catch(() => {})
      }
    }
  }
}

/** The message that answers one with these headers. Throws `queue.bad-input` when nobody waits for an answer. */
export function answerTo(
  headers: Readonly<Record<string, string>>,
  id: string,
  body: Body,
): { readonly queue: string; readonly id: string; readonly body: Body; readonly headers: Record<string, string> } {
  const queue = headers[replyToHeader]
  const correlation = headers[correlationHeader]
  if (queue !== undefined && correlation !== undefined) {
    return { queue, id, body, headers: { [correlationHeader]: correlation } }
  }
  throw failure('bad-input', 'nobody waits for an answer to this message', 'Answer only what came from `request`.')
}

function noReply(timeoutMs: number): Error {
  return failure(
    'no-reply',
    `no answer came within ${timeoutMs} ms`,
    'See whether a consumer answers, and how long it takes.',
  )
}
