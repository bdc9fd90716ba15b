/**
 * Queues on SQS: one each, and one more for its dead letters, standard or FIFO. The server keeps the leases; they end later
 * there than here, so that a settlement that is too late is known before it is sent. A message is never deleted before its copy is where
 * it must be.
 */
import { createHash } from 'node:crypto'
import { assert, isSteadError, randomId } from '../../../base/index.ts'
import type { Clock, Random, SteadError } from '../../../base/index.ts'
import { unsupported } from '../../capability.ts'
import type { Capabilities } from '../../capability.ts'
import type {
  Counts,
  Durability,
  Held,
  Outgoing,
  QueueDriver,
  Seen,
  SendOutcome,
  SettleOutcome,
  Settlement,
  Shelf,
  Want,
} from '../../driver.ts'
import { failure, mayPass } from '../../errors.ts'
import { batchMax, leaseMsMax } from '../../limits.ts'
import type { DriverLimits } from '../../limits.ts'
import { Hands } from '../hands.ts'
import type { SqsClient } from './client.ts'
import { SqsBatches, stale } from './batches.ts'
import type { EntryResult } from './batches.ts'
import { attributeName, newText, openedText, sqsName, textOf } from './message.ts'
import type { SqsOpened, SqsReceived } from './message.ts'
import { SqsPolls } from './polls.ts'

/** The longest delay of the server, and how long it keeps what nobody takes: both its own limits. */
export const sqsDelayMsMax: number = 15 * 60_000
const retentionSeconds = 14 * 24 * 3600
/** How long dead messages are hidden while they are looked at. */
const lookSeconds = 30
/** Characters of the name of a queue on the server. */
const serverNameMax = 80

interface InHand {
  readonly url: string
  readonly handle: string
  readonly message: SqsOpened
  readonly attempt: number
}

export interface SqsOptions {
  readonly server: string
  readonly client: SqsClient
  readonly fifo: boolean
  readonly prefix: string
  readonly messageBytesMax: number
  readonly durability: Durability
  readonly pollSeconds: number
  readonly capabilities: Capabilities
  readonly clock: Clock
  readonly random: Random
}

export class SqsDriver implements QueueDriver {
  readonly name: string
  readonly server: string
  readonly capabilities: Capabilities
  readonly limits: DriverLimits
  readonly #options: SqsOptions
  readonly #batches: SqsBatches
  readonly #hands = new Hands<InHand>()
  /** The addresses of queues, by their names on the server. */
  readonly #urls = new Map<string, string>()
  readonly #polls: SqsPolls

  constructor(options: SqsOptions) {
    this.name = options.fifo ? 'sqs-fifo' : 'sqs'
    this.server = options.server
    this.capabilities = options.capabilities
    // What goes with a body is counted, too: `send` counts exactly.
    this.limits = { bodyBytesMax: options.messageBytesMax, delayMsMax: sqsDelayMsMax }
    this.#options = options
    this.#batches = new SqsBatches(options.client, options.messageBytesMax)
    this.#polls = new SqsPolls({ ...options, batches: this.#batches })
  }

  async declare(queue: string): Promise<void> {
    for (const name of [queue, `${queue}.dead`]) {
      try {
        await this.#url(name)
      } catch (error) {
        if (!isSteadError(error) || error.code !== 'queue.no-such-queue') throw error
        await this.#create(this.#there(name))
      }
    }
  }

  async #create(there: string): Promise<void> {
    const { client, fifo, messageBytesMax } = this.#options
    const attributes = {
      MessageRetentionPeriod: String(retentionSeconds),
      MaximumMessageSize: String(messageBytesMax),
      ...(fifo ? { FifoQueue: 'true' } : {}),
    }
    const { QueueUrl } = await client.call<{ QueueUrl: string }>('CreateQueue', {
      QueueName: there,
      Attributes: attributes,
    })
    this.#urls.set(there, QueueUrl)
  }

  async send(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    const { clock, durability, messageBytesMax } = this.#options
    const url = await this.#url(queue)
    const nowMs = clock.nowMs()
    const texts = messages.map((message) => newText(message, nowMs))
    const small = messages.flatMap(({ key, delayMs }, index) => {
      const text = texts[index]
      assert(text !== undefined, 'a text for each message')
      return text.bytes <= messageBytesMax
        ? [{ index, bytes: text.bytes, key, entry: this.#entry(text, key, delayMs) }]
        : []
    })
    const results = await this.#batches.send(url, small)
    // When nothing was sent, whoever waits for the server tries all of it again.
    const away = awayAll([...results.values()])
    if (away !== null && small.length === messages.length) throw away
    return messages.map(({ id }, index): SendOutcome => {
      const result = results.get(index)
      if (result === undefined) return { ok: false, error: tooLarge(queue, texts[index]?.bytes ?? 0, messageBytesMax) }
      if (result === 'done') return { ok: true, id, duplicate: false, durability }
      if (result.error.code === 'queue.no-such-queue') this.#urls.delete(this.#there(queue))
      return { ok: false, error: result.error }
    })
  }

  #entry(text: { readonly body: string; readonly attribute: string }, key: string | null, delayMs: number): object {
    const { fifo, random } = this.#options
    const own = { DataType: 'String', StringValue: text.attribute }
    const entry = { MessageBody: text.body, MessageAttributes: { [attributeName]: own } }
    if (!fifo) return { ...entry, DelaySeconds: Math.ceil(delayMs / 1000) }
    // The server would drop a second message of the same deduplication id: each is new to it.
    return { ...entry, MessageGroupId: groupOf(key, random), MessageDeduplicationId: randomId(random, 24) }
  }

  async receive(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    const url = await this.#url(queue)
    // Leases that are over take no room any more.
    this.#hands.overdue(this.#options.clock.monotonicMs())
    const received = await this.#polls.receive(url, want, signal)
    return received.map((one) => this.#hold(queue, url, one, want))
  }

  #hold(queue: string, url: string, received: SqsReceived, want: Want): Held {
    const message = openedText(received)
    const attempt = Number(received.Attributes?.['ApproximateReceiveCount'] ?? 1) + message.counted
    const inHand = { url, handle: received.ReceiptHandle ?? '', message, attempt }
    const receipt = this.#hands.hold(queue, inHand, want.leaseMs, 0, this.#options.clock.monotonicMs())
    const { id, body, headers, key, priority, sentAtMs } = message
    return { receipt, id, body, headers, key, priority, attempt, sentAtMs }
  }

  async settle(queue: string, settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    const nowMs = this.#options.clock.monotonicMs()
    const outcomes: SettleOutcome[] = settlements.map(() => 'lost')
    const held = settlements.flatMap(({ receipt, decision }, index) => {
      const inHand = this.#hands.get(queue, receipt, nowMs)
      return inHand === null ? [] : [{ index, receipt, decision, inHand }]
    })
    const going = await this.#copied(queue, held, outcomes)
    await Promise.all([
      this.#deleted(
        going.filter(({ decision }) => leaves(decision)),
        outcomes,
      ),
      this.#changed(
        going.filter(({ decision }) => !leaves(decision)),
        outcomes,
      ),
    ])
    // When nothing was done at all, whoever waits for the server tries all of it again.
    const [first] = outcomes
    if (typeof first === 'object' && outcomes.every(undone)) throw first.error
    return outcomes
  }

  /** Sends the copies of those that have to be elsewhere first. Answers those that can go on. */
  async #copied<Item extends Going>(
    queue: string,
    held: readonly Item[],
    outcomes: SettleOutcome[],
  ): Promise<readonly Item[]> {
    const copies = held.flatMap((item) => {
      const { decision, inHand } = item
      const { body, ...company } = inHand.message
      if (decision.kind === 'reject') {
        return [
          {
            item,
            to: `${queue}.dead`,
            delayMs: 0,
            text: textOf({ ...company, cause: decision.cause, attempts: inHand.attempt }, body),
          },
        ]
      }
      if (decision.kind !== 'retry' || decision.countAsFailure) return []
      // What the server counts cannot be turned back: a copy begins anew, and says what was counted before.
      return [
        { item, to: queue, delayMs: decision.delayMs, text: textOf({ ...company, counted: inHand.attempt - 1 }, body) },
      ]
    })
    const failed = new Set<Item>()
    for (const to of new Set(copies.map((copy) => copy.to))) {
      const group = copies.filter((copy) => copy.to === to)
      const entries = group.map(({ item: { inHand }, text, delayMs }, index) => {
        return {
          index,
          bytes: text.bytes,
          key: null,
          entry: this.#entry(text, to === queue ? inHand.message.key : null, delayMs),
        }
      })
      const results = await this.#batches.send(await this.#url(to), entries)
      for (const [index, { item }] of group.entries()) {
        const result = results.get(index)
        if (result === undefined || result === 'done') continue
        outcomes[item.index] = { error: result.error }
        failed.add(item)
      }
    }
    // The lease may have ended while the copy was made: then both are there, under one id.
    const nowMs = this.#options.clock.monotonicMs()
    return held.filter((item) => !failed.has(item) && this.#hands.get(queue, item.receipt, nowMs) !== null)
  }

  async #deleted(going: readonly Going[], outcomes: SettleOutcome[]): Promise<void> {
    const results = await this.#batches.each(
      'DeleteMessageBatch',
      going.map(({ inHand: { url, handle } }) => ({ url, entry: { ReceiptHandle: handle } })),
    )
    for (const [at, { index, receipt }] of going.entries()) {
      const result = results[at]
      if (result === undefined) continue
      outcomes[index] = result === 'done' ? 'done' : stale(result.refusal) ? 'lost' : { error: result.error }
      if (outcomes[index] === 'done' || outcomes[index] === 'lost') this.#hands.forget(receipt)
    }
  }

  /** Extends leases, and ends those of messages that are given back. */
  async #changed(going: readonly Going[], outcomes: SettleOutcome[]): Promise<void> {
    const asked = going.map(({ decision, inHand: { url, handle } }) => {
      const ms =
        decision.kind === 'extend'
          ? decision.leaseMs + this.#polls.marginMs
          : decision.kind === 'retry'
            ? decision.delayMs
            : 0
      return { url, entry: { ReceiptHandle: handle, VisibilityTimeout: Math.ceil(Math.min(ms, leaseMsMax) / 1000) } }
    })
    const nowMs = this.#options.clock.monotonicMs()
    const results = await this.#batches.each('ChangeMessageVisibilityBatch', asked)
    for (const [at, { index, receipt, decision }] of going.entries()) {
      const result = results[at]
      if (result === undefined) continue
      outcomes[index] = result === 'done' ? 'done' : stale(result.refusal) ? 'lost' : { error: result.error }
      if (outcomes[index] === 'done' && decision.kind === 'extend')
        this.#hands.extend(receipt, nowMs + decision.leaseMs)
      else if (outcomes[index] === 'done' || outcomes[index] === 'lost') this.#hands.forget(receipt)
    }
  }

  async counts(queue: string): Promise<Counts> {
    const [living, dead] = await Promise.all([this.#figures(queue), this.#figures(`${queue}.dead`)])
    return { ready: living.ready, delayed: living.delayed, held: living.held, dead: dead.ready + dead.held }
  }

  async #figures(name: string): Promise<{ readonly ready: number; readonly delayed: number; readonly held: number }> {
    const input = { QueueUrl: await this.#url(name), AttributeNames: ['All'] }
    const { Attributes: all = {} } = await this.#options.client.call<{ readonly Attributes?: Record<string, string> }>(
      'GetQueueAttributes',
      input,
    )
    const of = (what: string): number => Number(all[`ApproximateNumberOfMessages${what}`] ?? 0)
    return { ready: of(''), delayed: of('Delayed'), held: of('NotVisible') }
  }

  async peek(queue: string, shelf: Shelf, max: number): Promise<readonly Seen[]> {
    if (shelf === 'ready') throw unsupported(this.name, 'peek', this.capabilities.peek)
    const url = await this.#url(`${queue}.dead`)
    const received = await this.#all(url, max)
    await this.#polls.hide(url, received, 0)
    // In the order in which they died: that is when they came to this queue.
    const diedAt = ({ Attributes: all = {} }: SqsReceived): number => Number(all['SentTimestamp'] ?? 0)
    return received
      .toSorted((a, b) => diedAt(a) - diedAt(b))
      .map((one) => {
        const { id, body, headers, key, priority, sentAtMs, cause, attempts } = openedText(one)
        return { id, body, headers, key, priority, sentAtMs, attempt: attempts, cause }
      })
  }

  async redrive(queue: string, max: number, ids: readonly string[] | null): Promise<number> {
    const [url, back] = await Promise.all([this.#url(`${queue}.dead`), this.#url(queue)])
    const dead = (await this.#all(url, ids === null ? max : batchMax)).map((one) => ({ one, message: openedText(one) }))
    const chosen = dead.filter(({ message: { id } }) => ids === null || ids.includes(id)).slice(0, max)
    const entries = chosen.map(({ message: { body, ...company } }, index) => {
      const text = textOf({ ...company, counted: 0, cause: null, attempts: 0 }, body)
      return { index, bytes: text.bytes, key: company.key, entry: this.#entry(text, company.key, 0) }
    })
    const results = await this.#batches.send(back, entries)
    const moved = chosen.filter((_, index) => results.get(index) === 'done')
    await this.#gone(
      url,
      moved.map(({ one }) => one),
    )
    await this.#polls.hide(
      url,
      dead.filter((item) => !moved.includes(item)).map(({ one }) => one),
      0,
    )
    return moved.length
  }

  async purge(queue: string, shelf: Shelf): Promise<number> {
    const url = await this.#url(shelf === 'dead' ? `${queue}.dead` : queue)
    for (let count = 0; ;) {
      const received = await this.#all(url, batchMax)
      if (received.length === 0) return count
      count += await this.#gone(url, received)
    }
  }

  /** Up to `max` messages of a queue, hidden for a while. */
  #all(url: string, max: number): Promise<readonly SqsReceived[]> {
    return this.#polls.take(url, { max, leaseMs: lookSeconds * 1000 }, 1)
  }

  /** Deletes; answers how many. */
  async #gone(url: string, received: readonly SqsReceived[]): Promise<number> {
    const entries = received.map(({ ReceiptHandle }) => ({ url, entry: { ReceiptHandle } }))
    const results = await this.#batches.each('DeleteMessageBatch', entries)
    const failed = results.find((result) => result !== 'done')
    if (failed !== undefined) throw failed.error
    return results.length
  }

  async remove(queue: string): Promise<void> {
    for (const name of [queue, `${queue}.dead`]) {
      try {
        const url = await this.#url(name)
        this.#hands.drop((inHand) => inHand.url === url)
        await this.#options.client.call('DeleteQueue', { QueueUrl: url })
      } catch (error) {
        if (!isSteadError(error) || error.code !== 'queue.no-such-queue') throw error
      }
      this.#urls.delete(this.#there(name))
    }
  }

  async close(): Promise<void> {
    await this.#polls.idle()
    await this.#options.client.close()
  }

  #there(name: string): string {
    const { prefix, fifo } = this.#options
    const there = sqsName(prefix, name, fifo)
    if (there.length <= serverNameMax) return there
    const message = `the name ${there} has ${there.length} characters; the limit of SQS is ${serverNameMax}`
    throw failure('too-large', message, 'Give the queue or the prefix a shorter name.')
  }

  async #url(name: string): Promise<string> {
    const there = this.#there(name)
    const known = this.#urls.get(there)
    if (known !== undefined) return known
    const { QueueUrl } = await this.#options.client.call<{ QueueUrl: string }>('GetQueueUrl', { QueueName: there })
    this.#urls.set(there, QueueUrl)
    return QueueUrl
  }
}

/** The failure of all, if it may pass; null when one was carried out or will never be. */
function awayAll(results: readonly EntryResult[]): SteadError | null {
  const errors = results.flatMap((result) => (result === 'done' ? [] : [result.error]))
  const [first] = errors
  return first !== undefined && errors.length === results.length && errors.every(mayPass) ? first : null
}

function undone(outcome: SettleOutcome): boolean {
  return typeof outcome === 'object' && outcome.error.code === 'queue.unavailable'
}

interface Going extends Settlement {
  readonly index: number
  readonly inHand: InHand
}

/** Whether a decision ends with the original deleted. */
function leaves(decision: Settlement['decision']): boolean {
  return (
    decision.kind === 'ack' || decision.kind === 'reject' || (decision.kind === 'retry' && !decision.countAsFailure)
  )
}

/** The group of a key: the key where the server can take it, else its digest. A message without a key is a group by itself. */
function groupOf(key: string | null, random: Random): string {
  if (key === null) return `one-${randomId(random, 24)}`
  return /^[a-zA-Z0-9._-]{1,100}$/.test(key) ? `key-${key}` : `digest-${createHash('sha256').update(key).digest('hex')}`
}

function tooLarge(queue: string, bytes: number, bytesMax: number): ReturnType<typeof failure> {
  const message = `a message to the queue ${queue} has ${bytes} bytes with what goes with it; the limit is ${bytesMax}`
  return failure('too-large', message, 'Split it, or keep large data elsewhere and send a reference.')
}
